"""Weights and inputs by formula, the same bits on every machine and in any language.

It takes only +, *, ^ and >> on 32-bit unsigned integers (which wrap), and a scaling by powers of two, which is exact.
For element ``i`` (counted through the whole tensor, the last axis fastest) of the tensor called ``name``::

    h = FNV-1a of the name's bytes:  h = 2166136261;  for each byte b:  h = (h ^ b) * 16777619
    u = mix(mix(h + seed * 2654435769) + i)
        mix(x):  x = (x ^ x >> 16) * 2146121005;  x = (x ^ x >> 15) * 2221713035;  x ^ x >> 16
    k = (u >> 16) - 32768        a whole number in -32768..32767; below, u16 is u >> 16

    name ends in                        value                         range
    running_var, or weight of one axis  (98304 + u16) / 2^17          0.75..1.25
    bias, running_mean                  k / 2^17                      -0.25..0.25
    weight of several axes              k * m / 2^23                  where m is the largest with
                                                                      m * m * fan <= 2^18, from 1 to 255,
                                                                      and fan the product of all axes but the first
    pixel_values                        u16 / 2^16                    0..1
    anything else                       k / 2^14                      -2..2

Every value is exact in float32. Activations stay of order 1 from the stem to the logits. tests/golden_reader.c has
the same in C. (The constants of mix are those of "lowbias32", found by Chris Wellons' hash prospector.)

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints import open_checkpoint, parameter_shapes
from ..checkpoints.inference import OUTPUT_STRIDE
from ..checkpoints.parameter_names import HUGGING_FACE
from ..checkpoints.saving import save_untrained
from ..config import VARIANTS, NetworkConfig
from ..errors import InputError, MobileViTError
from ..labels import LABEL_COUNTS
from .file import OPERATOR, PIXELS, Golden
from .network import Network, check_memory, digest, network_for, network_of
from .tracing import trace

VERSION = 1


def make(
    variant: str,
    *,
    task: str = "classifier",
    seed: int = 0,
    size: int = 256,
    dtype: str = "float64",
    only: str | None = None,
    depth: int | None = None,
) -> Golden:
    """A golden that needs no download: the trace of a variant with weights and an input of size x size by formula.

    Raises InputError for an unknown variant or task, or an impossible size or seed.
    """
    config = config_of(variant, task)
    if not 1 <= size <= 4096:
        raise InputError(f"size must be in 1..4096, not {size}")
    shape = (1, config.num_channels, size, size)
    check_memory(shape, config)
    network = network_by_formula(config, task, seed)
    pixels = tensor(PIXELS, shape, seed)
    return trace(pixels, network, dtype=dtype, only=only, depth=depth)


def save_weights(
    out: str | Path,
    variant: str,
    *,
    task: str = "classifier",
    seed: int = 0,
    scheme: str = HUGGING_FACE,
    also: Mapping[Path, bytes] | None = None,
) -> list[Path]:
    """Write the weights of ``make``'s golden as a checkpoint: ``out`` is one .safetensors file or a folder.

    Under any scheme's names (``huggingface``, ``timm``, ``ml-cvnets``) the numbers are the same, the stem's input axis
    included: the golden's ``pixel_values`` fit them all. ``also`` are other files, written together with them or not at
    all. Returns the paths written. Raises as ``make``; CheckpointError if the scheme has no such network, OutputError.
    """
    config = config_of(variant, task)
    return save_untrained(out, network_by_formula(config, task, seed).tensors, config, task, scheme=scheme, also=also)


def config_of(variant: str, task: str) -> NetworkConfig:
    """The network that ``make`` builds: the variant with the task's published classes and output stride.

    Raises InputError for an unknown variant or task.
    """
    if variant not in VARIANTS or task not in LABEL_COUNTS:
        raise InputError(
            f"there is no {variant!r} {task!r}; variants are {', '.join(VARIANTS)}, tasks {', '.join(LABEL_COUNTS)}"
        )
    return NetworkConfig(**VARIANTS[variant], num_labels=LABEL_COUNTS[task], output_stride=OUTPUT_STRIDE[task])


def check_seed(seed: int) -> None:
    """Raise InputError unless the seed fits the formula's 32 bits."""
    if not 0 <= seed < 2**32:
        raise InputError(f"seed must be in 0..2^32-1, not {seed}")


def network_by_formula(config: NetworkConfig, task: str, seed: int) -> Network:
    """The network with weights by formula, each by its Hugging Face name. Raises InputError for an impossible seed."""
    check_seed(seed)
    shapes = parameter_shapes(config, task)
    tensors = {name: tensor(name, shape, seed).astype(np.float64) for name, shape in shapes.items()}
    about = {"name": f"formula {VERSION}, seed {seed}", "formula": VERSION, "seed": seed, "sha256": digest(tensors)}
    return Network(task, config, tensors, task != "segmenter", None, about)


def remake(golden: Golden, weights: str | Path | None = None, *, prefix: str | None = None) -> Network:
    """The network that a golden was made with: from ``weights``; else by formula, if it was made so; else from the
    checkpoint that it names, if that's here (nothing is downloaded).

    Raises InputError if weights are needed and none are given, and for an operator's golden, which has no network;
    CheckpointError if they're other weights.
    """
    if golden.task == OPERATOR:
        raise InputError("the golden file is an operator's, with no network to replay: compare without --replay")
    if weights is not None:
        return network_for(golden, network_of(open_checkpoint(weights, dtype="float64", prefix=prefix)).tensors)
    if golden.weights.get("formula") == VERSION and isinstance(golden.weights.get("seed"), int):
        made = network_by_formula(NetworkConfig(**golden.config), golden.task, golden.weights["seed"])
        return network_for(golden, made.tensors)
    name = golden.weights.get("name", "weights that it doesn't name")
    try:
        checkpoint = open_checkpoint(str(name), dtype="float64", local_files_only=True)
        return network_for(golden, network_of(checkpoint).tensors)
    except (MobileViTError, OSError):
        raise InputError(f"the golden file was made with {name}: give them with --weights") from None


def find(golden: Golden, weights: str | Path | None = None, *, prefix: str | None = None) -> Network | None:
    """As ``remake``, but None if no ``weights`` are given and none are found."""
    try:
        return remake(golden, weights, prefix=prefix)
    except MobileViTError:
        if weights is not None:
            raise
        return None


def tensor(name: str, shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """The float32 tensor of that name and shape."""
    upper = (_bits(name, math.prod(shape), seed) >> np.uint32(16)).astype(np.int64)  # u16
    return _values(name, tuple(shape), upper).astype(np.float32).reshape(shape)


def tensors(shapes: Mapping[str, Sequence[int]], seed: int = 0, prefix: str = "") -> dict[str, np.ndarray]:
    """Several tensors by name; ``prefix`` comes before their names in the formula."""
    return {name: tensor(f"{prefix}{name}", shape, seed) for name, shape in shapes.items()}


def _values(name: str, shape: tuple[int, ...], upper: np.ndarray) -> Any:
    """The tensor's values, flat, in float64, from its ``upper`` numbers, u16 above."""
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "running_var" or (leaf == "weight" and len(shape) == 1):
        return (98304 + upper) / 2.0**17
    if leaf in ("bias", "running_mean"):
        return (upper - 32768) / 2.0**17
    if leaf == "weight":
        return (upper - 32768) * max(1, min(math.isqrt(2**18 // math.prod(shape[1:])), 255)) / 2.0**23
    if leaf == PIXELS:
        return upper / 2.0**16
    return (upper - 32768) / 2.0**14


def _bits(name: str, count: int, seed: int) -> np.ndarray:
    """u for every element of the tensor."""
    h = 2166136261
    for byte in name.encode("utf-8"):
        h = (h ^ byte) * 16777619 % 2**32
    start = _mix(np.array([(h + seed * 2654435769) % 2**32], np.uint32))
    return _mix(start + np.arange(count, dtype=np.uint32))


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint32(16))) * np.uint32(2146121005)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(2221713035)
    return x ^ (x >> np.uint32(16))
