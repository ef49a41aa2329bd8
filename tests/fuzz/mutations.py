"""Ways to spoil bytes and JSON, each from a seeded generator, so that any case can be made again."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np

Random = np.random.Generator


def truncate(data: bytes, random: Random) -> bytes:
    """Cut off: a download that broke."""
    return data[: random.integers(0, len(data) + 1)]


def flip_bits(data: bytes, random: Random) -> bytes:
    """One to eight bits turned."""
    spoiled = bytearray(data)
    for _ in range(random.integers(1, 9)):
        if spoiled:
            spoiled[random.integers(len(spoiled))] ^= 1 << random.integers(8)
    return bytes(spoiled)


def flip_early_bits(data: bytes, random: Random) -> bytes:
    """Bits turned among the first bytes, where headers are."""
    return flip_bits(data[:200], random) + data[200:]


def flip_late_bits(data: bytes, random: Random) -> bytes:
    """Bits turned among the last bytes, where a zip's directory is."""
    return data[:-400] + flip_bits(data[-400:], random)


def splice(data: bytes, random: Random) -> bytes:
    """A stretch of the file put elsewhere in it, over what's there or between it."""
    start, end = sorted(random.integers(0, len(data) + 1, 2))
    place = random.integers(0, len(data) + 1)
    keep = place if random.integers(2) else min(len(data), place + end - start)
    return data[:place] + data[start:end] + data[keep:]


def delete(data: bytes, random: Random) -> bytes:
    """A stretch of the file missing."""
    start, end = sorted(random.integers(0, len(data) + 1, 2))
    return data[:start] + data[end:]


def overwrite(data: bytes, random: Random) -> bytes:
    """A few bytes replaced by ones that often matter: extremes, and what pickles and headers are made of."""
    token = TOKENS[random.integers(len(TOKENS))]
    place = random.integers(0, len(data) + 1)
    return data[:place] + token + data[place + len(token) :]


def insert(data: bytes, random: Random) -> bytes:
    """The same between the bytes that are there."""
    token = TOKENS[random.integers(len(TOKENS))]
    place = random.integers(0, len(data) + 1)
    return data[:place] + token + data[place:]


def noise(data: bytes, random: Random) -> bytes:
    """Bytes at random, as many as the file has at most."""
    return random.bytes(int(random.integers(0, min(len(data), 2000) + 1)))


TOKENS = (
    b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\xff" * 8, b"\x00" * 8, b"\x00\x00\x00\x80", b"\xff\xff\xff\x7f", b"{",
    b"}", b"[", b"]", b"(", b")", b".", b"q\x00", b"h\x00", b"h\xff", b"R", b"b", b"t", b"u", b"e", b"0", b"1", b"2",
    b"\x93", b"\x81", b"\x92", b"\x85", b"\x86", b"\x87", b"Q", b"P\n", b"N", b"}", b"]", b"s", b"a", b"\x94",
    b"\x95" + b"\xff" * 8, b"\x8a\x01\xff", b"cos\nsystem\n", b"cbuiltins\neval\n", b"cnumpy\ndtype\n",
    b"ctorch\nSize\n", b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"K\xff",
    b"\x8b\x00\x08\x00\x00" + b"\x01" * 2048, b"\x8b\xff\xff\xff\x7f", b"\x8a\x0f" + b"\x7f" * 15, b"\x89", b"\x88",
    b"X\x03\x00\x00\x00\xed\xa0\x80", b"\x8c\x03\xed\xb0\x80", b"X\xd0\x07\x00\x00" + b"module." * 285 + b"name.",
    b"G\x7f\xf0" + bytes(6), b"B\x04\x00\x00\x00abcd", b"c__main__\nModel\n", b"I1\n", b"L1L\n", b"F1.5\n", b"S'a'\n",
    b"\x8d" + b"\xff" * 8, b"\x96" + b"\xff" * 8, b"\x97", b"\x98", b"\x8f", b"\x90", b"\x91", b"d", b"l", b"o", b"i",
    b"J\xff\xff\xff\xff", b"X\xff\xff\xff\xff", b"-1", b"1e999", b"null", b'"', b"\\", b"\n", b"PK\x03\x04",
    b"PK\x01\x02", b"PK\x05\x06", b"F32", b"BF16", b"9" * 30,
)  # fmt: skip
ON_BYTES = (truncate, flip_bits, flip_early_bits, flip_late_bits, splice, delete, overwrite, insert, noise)


def spoil(data: bytes, random: Random) -> bytes:
    """One or two of the above."""
    for _ in range(random.integers(1, 3)):
        data = ON_BYTES[random.integers(len(ON_BYTES))](data, random)
    return data


VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 8, 16, 255, 1 << 20, 1 << 31, 1 << 63, 1 << 200, 0.5, -0.0, 1e-300, 1e300,
    float("inf"), float("nan"), "", "x", "2", "silu", "xielu", "prelu", "relu", "bilinear", "center", "\0", "ü" * 50,
    [], {}, [0], [1, 2], [[]], [None] * 3, [8, 8, 8], [1.5, 2, 3], ["8", 8, 8], [1 << 40] * 3, {"a": 1},
    {"height": 1}, {"shortest_edge": -5}, {"0": "a"}, {"0": None}, {"x": "y"}, "mobilevit", "mobilevitv2",
    "mobilevit_xxs", {"0": "a", "00": "b"}, "\ud800", {"\udfff": 1}, "module." * 1500, "x" * 100_000, 10**4000,
    functools.reduce(lambda inner, _: [inner], range(600), []),
    functools.reduce(lambda inner, _: {"a": inner}, range(40), {}),
)  # fmt: skip


def spoil_values(values: dict[str, Any], random: Random) -> dict[str, Any]:
    """An object with one to three fields dropped, renamed, replaced, or spoiled inside."""
    values = dict(values)
    for _ in range(random.integers(1, 4)):
        name = list(values)[random.integers(len(values))] if values else "x"
        action = random.integers(5)
        if action == 0:
            values.pop(name, None)
        elif action == 1:
            values[name + "_"] = values.pop(name, None)
        elif action == 2 and isinstance(values.get(name), dict):
            values[name] = spoil_values(values[name], random)
        elif action == 3 and isinstance(values.get(name), list) and values[name]:
            values[name] = [*values[name][1:], VALUES[random.integers(len(VALUES))]]
        else:
            values[name] = VALUES[random.integers(len(VALUES))]
    return values


def spoil_json(values: dict[str, Any], random: Random) -> bytes:
    """The text of such an object; one time in four it's the text that is spoiled."""
    if random.integers(4) == 0:
        return spoil(json.dumps(values).encode(), random)
    return json.dumps(spoil_values(values, random)).encode()
