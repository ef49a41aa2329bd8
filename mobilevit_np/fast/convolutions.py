"""The fast twins of the convolutional layers outside of the MobileViT block: stem, inverted residual, 1x1.

With channels last, a 1x1 convolution is one matrix product of a strip's pixels with the weights: nothing is copied. A
depthwise one isn't a matrix product; ``einsum`` sums its nine taps in one call, over views of the strip shifted against
each other.

Explained in tutorials/12-making-numpy-fast.md.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..config import NetworkConfig
from ..scope import Scope
from .activations import Activation, activation
from .folding import Affine, fold_convolution, fold_depthwise
from .plan import Function, Map, Plan, Strip, rows_of, tiled
from .products import product


class Stem:
    """Twin: ``conv_stem``, a ``model.conv_layer`` of stride 2 from the pixels (NCHW) to the first map."""

    def __init__(self, scope: Scope, config: NetworkConfig):
        self.name = scope.path
        self.act = activation(scope / "activation", config.hidden_act)
        weight, self.bias = fold_convolution(scope, scale=self.act.scale)
        self.weight = weight.reshape(3, 3, config.num_channels, -1).transpose(2, 0, 1, 3).reshape(len(weight), -1)

    def plan(self, plan: Plan, padded: np.ndarray) -> Map:
        """``padded``: the pixels with a border of zeros, (n, C, H+2, W+2) -> (n, ceil(H/2), ceil(W/2), O)"""
        n, channels, height, width = padded.shape
        rows, columns, taps = (height - 1) // 2, (width - 1) // 2, len(self.weight)
        out = plan.empty(n, rows, columns, len(self.bias))
        bias = tiled(self.bias, columns)

        def build(strip: Strip, taps_: np.ndarray, begun: np.ndarray) -> Function:
            image, top, bottom, _ = strip
            count = bottom - top
            pixels = padded[image, :, 2 * top :]
            plane, row, column = pixels.strides
            windows = as_strided(
                pixels, (channels, 3, 3, count, columns), (plane, row, column, 2 * row, 2 * column), writeable=False
            )
            gathered = taps_.reshape(-1)[: taps * count * columns].reshape(channels, 3, 3, count, columns)
            matrix = gathered.reshape(taps, -1).T
            target = out[image, top:bottom].reshape(count * columns, -1)
            u, e = target.reshape(count, -1), rows_of(begun, count, columns * len(self.bias))
            multiply = product(matrix, self.weight, target)

            def run() -> None:
                np.copyto(gathered, windows)
                multiply()
                np.add(u, bias, out=u)
                self.act(u, e)

            return run

        row_bytes = columns * taps * plan.dtype.itemsize
        plan.add(
            self.name,
            plan.strips(rows, row_bytes),
            lambda count: [(taps, count * columns), (count, columns * len(self.bias))],
            build,
        )
        return Map(out, self.act.factor)


class InvertedResidual:
    """Twin: ``model.inverted_residual``, a whole strip of it at a time: expand, filter, reduce.

    The widened map, the largest in the network, never exists: its strips live and die in the cache.
    """

    def __init__(
        self, scope: Scope, config: NetworkConfig, factor: float, in_channels: int, out_channels: int, stride: int,
        dilation: int,
    ):  # fmt: skip
        self.name = scope.path
        self.stride, self.dilation = stride, dilation
        self.adds_input = stride == 1 and in_channels == out_channels
        self.out_factor = factor if self.adds_input else 1.0
        first, middle = scope / "expand_1x1", scope / "conv_3x3"
        self.first_act = activation(first / "activation", config.hidden_act)
        self.middle_act = activation(middle / "activation", config.hidden_act)
        self.expand = fold_convolution(first, factors=factor, scale=self.first_act.scale)
        self.filter = fold_depthwise(middle, factor=self.first_act.factor, scale=self.middle_act.scale)
        self.reduce = fold_convolution(scope / "reduce_1x1", factors=self.middle_act.factor, scale=self.out_factor)

    def plan(self, plan: Plan, x: Map) -> Map:
        """(n, H, W, C) -> (n, ceil(H/stride), ceil(W/stride), O)"""
        n, height, width, channels = x.array.shape
        stride, dilation, wide = self.stride, self.dilation, len(self.filter.bias)
        rows, columns = -(-height // stride), -(-width // stride)
        out = plan.empty(n, rows, columns, len(self.reduce.bias))
        padded_row = (3 * columns if stride == 2 else width + 2 * dilation) * wide
        expand_bias, filter_bias = tiled(self.expand.bias, width), tiled(self.filter.bias, columns)
        reduce_bias = tiled(self.reduce.bias, columns)
        taps = np.tile(self.filter.weight.astype(plan.dtype, copy=False), columns)  # (3, 3, C) -> (3, 3, W'*C)

        def build(strip: Strip, u_: np.ndarray, e_: np.ndarray, padded_: np.ndarray) -> Function:
            image, top, bottom, _ = strip
            count = bottom - top
            needed, above, first, there = self._rows(count, top, height)
            source = x.array[image, first : first + there].reshape(there * width, channels)
            u, e = rows_of(u_, there, width * wide), rows_of(e_, there, width * wide)
            padded = rows_of(padded_, needed, padded_row)
            outside = [padded[:above], padded[above + there :]]
            write = self._writes(u, e, padded[above : above + there], width, columns)
            windows = self._windows(padded, count, columns * wide)
            filtered, begun = rows_of(u_, count, columns * wide), rows_of(e_, count, columns * wide)
            target = out[image, top:bottom].reshape(count * columns, -1)
            target_rows = target.reshape(count, -1)
            residual = x.array[image, top:bottom].reshape(count, -1) if self.adds_input else None
            expand = product(source, self.expand.weight, u.reshape(there * width, wide))
            reduce = product(filtered.reshape(count * columns, wide), self.reduce.weight, target)

            def run() -> None:
                expand()
                np.add(u, expand_bias, out=u)
                self.first_act.begin(u, e)
                write()
                for zeros in outside:
                    zeros.fill(0)
                np.einsum("ijhw,ijw->hw", windows, taps, out=filtered)
                np.add(filtered, filter_bias, out=filtered)
                self.middle_act(filtered, begun)
                reduce()
                np.add(target_rows, reduce_bias, out=target_rows)
                if residual is not None:
                    np.add(target_rows, residual, out=target_rows)

            return run

        def shapes(count: int) -> list[tuple[int, ...]]:
            tall = self._rows(count, 0, height)[0]
            return [(tall, width * wide), (tall, width * wide), (tall, padded_row)]

        row_bytes = stride * width * wide * plan.dtype.itemsize
        plan.add(self.name, plan.strips(rows, row_bytes), shapes, build)
        return Map(out, self.out_factor)

    def _rows(self, count: int, top: int, height: int) -> tuple[int, int, int, int]:
        """What ``count`` output rows from ``top`` on see of the padded map.

        Four numbers: how many rows they see, how many of these are padding above the map, the map's first row among
        them, and how many of the map's rows there are.
        """
        needed = (count - 1) * self.stride + 2 * self.dilation + 1
        start = top * self.stride - self.dilation
        above = max(0, -start)
        return needed, above, start + above, min(height, start + needed) - (start + above)

    def _writes(self, u: np.ndarray, e: np.ndarray, padded: np.ndarray, width: int, columns: int) -> Function:
        """Finish the activation into the padded strip: as it is for stride 1; for stride 2, once per column of taps."""
        wide, finish = len(self.filter.bias), self.first_act.finish
        if self.stride == 1:
            left, right = self.dilation * wide, (self.dilation + width) * wide
            borders = [padded[:, :left], padded[:, right:]]
            inner = padded[:, left:right]

            def write() -> None:
                finish(u, e, inner)
                for border in borders:
                    border.fill(0)

            return write
        return self._writes_by_parity(u, e, padded, width, columns)

    def _writes_by_parity(self, u: np.ndarray, e: np.ndarray, padded: np.ndarray, width: int, columns: int) -> Function:
        """Tap j of output column w sees column 2w + j - 1: three slots hold every other column, each from its own."""
        wide, finish = len(self.filter.bias), self.first_act.finish
        u, e = (each.reshape(len(each), width, wide) for each in (u, e))
        slots = padded.reshape(len(padded), 3, columns, wide)
        odd = width // 2  # how many columns 1, 3, 5, ... there are
        evens, odds = slots[:, 1], slots[:, 2, :odd]
        shifted, from_odds = slots[:, 0, 1 : 1 + odd][:, : columns - 1], slots[:, 2, : columns - 1]
        borders = [slots[:, 0, 0], slots[:, 2, odd:]]
        u_even, e_even, u_odd, e_odd = u[:, 0::2], e[:, 0::2], u[:, 1::2], e[:, 1::2]

        def write() -> None:
            finish(u_even, e_even, evens)
            finish(u_odd, e_odd, odds)
            np.copyto(shifted, from_odds)
            for border in borders:
                border.fill(0)

        return write

    def _windows(self, padded: np.ndarray, count: int, width: int) -> np.ndarray:
        """The nine taps of every output row, as a view: (3, 3, H', W'*C)"""
        row, item = padded.strides
        across = (width if self.stride == 2 else self.dilation * len(self.filter.bias)) * item
        return as_strided(
            padded, (3, 3, count, width), (self.dilation * row, across, self.stride * row, item), writeable=False
        )


def plan_pointwise(plan: Plan, name: str, x: np.ndarray, out: np.ndarray, affine: Affine, act: Activation) -> None:
    """A step: a 1x1 convolution and its activation, strip by strip: (n, H, W, C) -> (n, H, W, O)"""
    _, height, width, channels = x.shape
    wide, bias = len(affine.bias), tiled(affine.bias, width)

    def build(strip: Strip, begun: np.ndarray) -> Function:
        image, top, bottom, _ = strip
        source = x[image, top:bottom].reshape(-1, channels)
        target = out[image, top:bottom].reshape(-1, wide)
        u, e = target.reshape(bottom - top, -1), rows_of(begun, bottom - top, width * wide)
        multiply = product(source, affine.weight, target)

        def run() -> None:
            multiply()
            np.add(u, bias, out=u)
            act(u, e)

        return run

    strips = plan.strips(height, width * max(channels, wide) * plan.dtype.itemsize)
    plan.add(name, strips, lambda rows: [(rows, width * wide)], build)
