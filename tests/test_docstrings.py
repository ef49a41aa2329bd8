"""The shape line in every public docstring of ops and model, held against a real call.

A shape line reads ``(B, C, H, W), (O) -> (B, O, H', W')``: what goes in, an arrow, what comes out, in order.

- ``(B, C)`` is an array of that shape, or a tuple of those numbers; ``()`` is a scalar.
- ``h``, outside parentheses, is a whole number.
- ``...`` stands for any axes; the same ones wherever it appears.
- ``H'`` is a symbol of its own; ``2C``, ``B*P``, ``C/groups`` and ``ceil(H/stride)`` are computed. Where not all their
  symbols are known, they stand for themselves. Whole-number arguments of the call are known by their names.

The same symbol is the same number, and, so that an example can tell symbols apart, another symbol another number.
"""

import importlib
import inspect
import math
import pkgutil
import re

import numpy as np
import pytest
from examples import EXAMPLES, function

NO_OPERATIONS = ("arguments",)  # modules of checks, without shapes of their own


def public_functions() -> list[str]:
    """Every function without an underscore, by the module that defines it."""
    found = []
    operations = pkgutil.iter_modules(importlib.import_module("mobilevit_np.ops").__path__)
    for home in ("model", *(f"ops.{each.name}" for each in operations if each.name not in NO_OPERATIONS)):
        module = importlib.import_module(f"mobilevit_np.{home}")
        for name, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_"):
                found.append(f"{home}.{name}")
    return found


# -- the parser --------------------------------------------------------------------------------------------------------


def shape_line(docstring: str | None) -> str:
    lines = [line.strip() for line in (docstring or "").splitlines() if re.match(r"\s*\(.* -> ", line)]
    assert len(lines) == 1, f"one shape line expected, found {lines}"
    return lines[0]


def split(text: str) -> list[str]:
    """The parts between commas that stand in no parentheses."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    assert depth == 0, f"parentheses don't match in {text!r}"
    return [part.strip() for part in parts if part.strip()]


class Symbols:
    """What each symbol stands for in one call."""

    def __init__(self, known: dict[str, int]) -> None:
        self.arguments = known  # whole-number arguments, by name
        self.axes: dict[str, object] = {}
        self.computed: list[tuple[str, int]] = []

    def bind(self, symbol: str, value: object) -> None:
        """This is what ``symbol`` stands for; raises AssertionError if it already stands for something else."""
        if re.fullmatch(r"\d+", symbol):
            assert value == int(symbol), f"{symbol} is {value}"
        elif re.fullmatch(r"[A-Za-z_]\w*'*|\.\.\.", symbol):
            expected = self.axes.setdefault(symbol, self.arguments.get(symbol, value))
            assert value == expected, f"{symbol} is {value} here, {expected} before"
        else:
            assert isinstance(value, int)
            self.computed.append((symbol, value))

    def check(self) -> None:
        """What is computed comes out as it should, and different symbols have different numbers."""
        for expression, value in self.computed:
            python = re.sub(r"(\d)([A-Za-z])", r"\1*\2", expression).replace("'", "_prime")
            known = {k.replace("'", "_prime"): v for k, v in {**self.arguments, **self.axes}.items()}
            try:
                result = eval(python, {"ceil": math.ceil, "__builtins__": {}}, known)
            except NameError:
                self.bind_whole(expression, value)
                continue
            assert result == value, f"{expression} is {value}, not {result}"
        numbers = {k: v for k, v in self.axes.items() if k != "..."}
        assert len(set(numbers.values())) == len(numbers), f"the example can't tell these apart: {numbers}"

    def bind_whole(self, expression: str, value: int) -> None:
        expected = self.axes.setdefault(expression, value)
        assert value == expected, f"{expression} is {value} here, {expected} before"


def hold(spec: str, value: object, symbols: Symbols) -> None:
    """Hold one part of a shape line against what was given or came out."""
    if not spec.startswith("("):
        assert isinstance(value, int), f"{spec} is no whole number but {value!r}"
        symbols.bind(spec, value)
    else:
        shape = list(value) if isinstance(value, tuple) else list(np.shape(value))
        names = split(spec[1:-1])
        if "..." in names:
            at = names.index("...")
            rest = len(shape) - (len(names) - 1)
            assert rest >= 0, f"{tuple(shape)} is no {spec}"
            names, shape = (
                names[:at] + names[at + 1 :] + ["..."],
                [
                    *shape[:at],
                    *shape[at + rest :],
                    tuple(shape[at : at + rest]),
                ],
            )
        assert len(names) == len(shape), f"{tuple(shape)} is no {spec}"
        for name, length in zip(names, shape, strict=True):
            symbols.bind(name, length)


def hold_line(line: str, run, arguments: tuple, keywords: dict) -> None:
    """Hold a shape line against the call ``run(*arguments, **keywords)``."""
    before, after = line.split(" -> ")
    bound = inspect.signature(run).bind(*arguments, **keywords)
    bound.apply_defaults()
    integers = {k: v for k, v in bound.arguments.items() if isinstance(v, int) and not isinstance(v, bool)}
    symbols = Symbols(integers)
    waiting = [a for a in arguments if isinstance(a, (np.ndarray, tuple))]
    whole = [a for a in arguments if isinstance(a, int)]
    for spec in split(before):
        queue = waiting if spec.startswith("(") else whole
        assert queue, f"the call has nothing for {spec}"
        hold(spec, queue.pop(0), symbols)
    assert not waiting, f"the line says nothing of {[np.shape(a) for a in waiting]}"
    results = run(*arguments, **keywords)
    specs = split(after)
    if len(specs) == 1:
        results = (results,)
    assert len(results) == len(specs), f"{len(results)} results, the line has {len(specs)}"
    for spec, result in zip(specs, results, strict=True):
        hold(spec, result, symbols)
    symbols.check()


# -- the tests ---------------------------------------------------------------------------------------------------------


def test_every_public_function_has_an_example_and_every_example_a_function():
    assert set(EXAMPLES) == set(public_functions())


@pytest.mark.parametrize("name", EXAMPLES)
def test_shape_line_holds(name):
    run = function(name)
    arguments, keywords = EXAMPLES[name][0]()
    hold_line(shape_line(run.__doc__), run, arguments, keywords)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("ops.convolution.conv2d", "(B, C, H, W), (O, C/groups, kh, kw), (O) -> (B, C, H', W')"),
        ("ops.convolution.conv2d", "(B, C, H, W), (O, C/groups, kh, kw), (O) -> (B, O, H, W)"),
        ("ops.convolution.conv2d", "(B, C, H, W), (O, C/groups, kw, kh), (O) -> (B, O, W', kh)"),
        ("ops.convolution.conv2d", "(B, C, H, W), (O, C, kh, kw), (O) -> (B, O, H', W')"),
        ("ops.convolution.conv2d", "(B, C, H, W), (O, C/groups, kh, kw) -> (B, O, H', W')"),
        ("ops.linear.linear", "(..., D), (D, O), (O) -> (..., O)"),
        ("ops.linear.linear", "(..., D), (O, D), (O) -> (..., D)"),
        ("ops.linear.linear", "(..., D), (O, D), (O) -> (O, ...)"),
        ("ops.attention.split_heads", "(B, N, D), h -> (B, N, h, d)"),
        ("ops.attention.split_heads", "(B, N, D), h -> (B, d, N, h)"),
        ("ops.attention.multi_head_attention", "(B, N, D), (B, N, D), (B, N, D), h -> (B, N, D)"),
        ("ops.patches.unfold_to_patches", "(B, D, H, W), p -> (B*p, N, D)"),
        ("ops.patches.unfold_to_patches", "(B, D, H, W), p -> (B*P, D, N)"),
        ("ops.resize.resize_bilinear", "(B, C, H, W), (H', W') -> (B, C, W', H')"),
        ("ops.losses.cross_entropy", "(B, C, ...), (B, C) -> ()"),
        ("ops.losses.cross_entropy", "(B, C, ...), (B, ...) -> (B)"),
        ("model.inverted_residual", "(B, C, H, W) -> (B, out_channels, H/stride, ceil(W/stride))"),
        ("model.mobilevit_block", "(B, C, H, W) -> (B, 2C, H, W)"),
        ("model.feed_forward_out", "(B*P, N, F) -> (B*P, N, D)"),
        ("model.backbone", "(B, C, H, W) -> (E, B, H', W')"),
        ("model.classifier", "(B, C, H, W) -> (B, C)"),
    ],
)
def test_wrong_shape_line_is_noticed(name, wrong):
    arguments, keywords = EXAMPLES[name][0]()
    with pytest.raises(AssertionError):
        hold_line(wrong, function(name), arguments, keywords)


@pytest.mark.parametrize("docstring", [None, "Adds.", "Adds.\n\n(B) -> (B)\n\n(C) -> (C)"])
def test_missing_or_doubled_shape_line_is_noticed(docstring):
    with pytest.raises(AssertionError):
        shape_line(docstring)
