"""The fast twins of the dense convolution, in which every channel sees every other.

All that MobileViT has are 3x3. They're computed in tiles of 2x2 pixels, with 16 multiplications for 36
(``winograd.py``): what each tile sees is gathered, and three matrix products follow. Other kernels are computed as
``ops.conv2d`` does it, each pixel's k*k neighbors gathered side by side (im2col), then one matrix product. Both work
strip by strip, so that what was gathered is still in the cache when it's multiplied.

Explained in tutorials/12-making-numpy-fast.md.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..config import NetworkConfig
from ..scope import Scope
from .activations import activation
from .folding import fold_convolution, fold_tiles
from .plan import Function, Strip, rows_of, tiled
from .products import product
from .winograd import BIAS, INPUTS, OUTPUTS, PRODUCTS, SEEN, TILE, by_tile


class Convolved(NamedTuple):
    """``run`` convolves a strip and begins the activation, which needs ``u`` and ``begun`` to be finished.

    u, begun: (pixels, O), the pixels in the convolution's own order; ``places`` tells where each goes.
    """

    run: Function
    u: np.ndarray
    begun: np.ndarray


class TiledConvolution:
    """Twin: a ``model.conv_layer`` of 3x3, ungrouped, stride 1, on one or more maps seen as one."""

    multiple = TILE  # of rows, at which strips begin

    def __init__(self, scope: Scope, config: NetworkConfig, factors: np.ndarray | float):
        self.name = scope.path
        self.act = activation(scope / "activation", config.hidden_act)
        self.affine = fold_tiles(scope, factors=factors, scale=self.act.scale)
        _, self.channels, self.features = self.affine.weight.shape
        self.inputs, self.outputs = (each.astype(self.affine.weight.dtype) for each in (INPUTS, OUTPUTS))
        # of the widest array, per pixel of the map
        self.numbers = PRODUCTS // TILE**2 * max(self.channels, self.features)

    def pixels(self, rows: int, columns: int) -> int:
        """How many are computed for a strip: whole tiles."""
        return TILE * _tiles(rows) * TILE * _tiles(columns)

    def scratch(self, rows: int, columns: int) -> list[tuple[int, ...]]:
        """What a strip needs: the padded rows, and two arrays, each for what is computed from the other in turns."""
        down, across = _tiles(rows), _tiles(columns)
        widest = max(self.channels, self.features)
        padded = (TILE * down + 2, TILE * across + 2, self.channels)
        return [padded, (PRODUCTS * down * across, widest), (PRODUCTS * down * across, widest)]

    def function(
        self, sources: list[np.ndarray], strip: Strip, padded_: np.ndarray, one: np.ndarray, other: np.ndarray
    ) -> Convolved:
        """A strip of maps (n, H, W, C), their channels one after the other."""
        down, across, features = _tiles(strip.bottom - strip.top), _tiles(sources[0].shape[2]), self.features
        tiles = down * across
        padded = padded_[: TILE * down + 2]
        copy = padded_copy(sources, strip, 1, padded)
        row, column, item = padded.strides
        seen = as_strided(
            padded, (SEEN, SEEN, down, across, self.channels), (row, column, TILE * row, TILE * column, item),
            writeable=False,
        )  # fmt: skip
        gathered = rows_of(one, PRODUCTS, tiles * self.channels)
        factors = rows_of(other, PRODUCTS, tiles * self.channels)
        products = rows_of(one, PRODUCTS, tiles * features)
        pixels, begun = rows_of(other, TILE**2, tiles * features), rows_of(one, TILE**2, tiles * features)
        gathered_by_tile = gathered.reshape(seen.shape)
        factor_matrices = factors.reshape(PRODUCTS, tiles, self.channels)
        product_matrices = products.reshape(PRODUCTS, tiles, features)
        bias, biased = tiled(self.affine.bias, across), products[BIAS].reshape(down, across * features)
        transform = product(self.inputs, gathered, factors)
        multiply = product(factor_matrices, self.affine.weight, product_matrices)
        transform_back = product(self.outputs, products, pixels)

        def run() -> None:
            copy()
            np.copyto(gathered_by_tile, seen)
            transform()
            multiply()
            np.add(biased, bias, out=biased)
            transform_back()
            self.act.begin(pixels, begun)

        return Convolved(run, pixels.reshape(-1, features), begun.reshape(-1, features))

    def places(self, pixels: np.ndarray, out: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """A strip's pixels (pixels, D), and their places on its map (h, W, D) or rows of patches (nh, p, nw, p, D).

        Both are views, in pairs: a single one, unless a side is odd, and its last tiles only half on the map.
        """
        if out.ndim == 3:
            height, width, features = out.shape
            if height % TILE or width % TILE:
                tiles = pixels.reshape(TILE, TILE, _tiles(height), _tiles(width), features)
                return [
                    (tiles[i, j, : len(each), : each.shape[1]], each)
                    for i in range(TILE)
                    for j in range(TILE)
                    for each in [out[i::TILE, j::TILE]]
                ]
            out = out.reshape(height // TILE, TILE, width // TILE, TILE, features)
        out = by_tile(out)
        return [(pixels.reshape(out.shape), out)]


def _tiles(pixels: int) -> int:
    """How many cover a side."""
    return -(-pixels // TILE)


class GatheredConvolution:
    """Twin: a ``model.conv_layer`` of k x k, ungrouped, stride 1, on one or more maps seen as one."""

    multiple = 1

    def __init__(self, scope: Scope, config: NetworkConfig, factors: np.ndarray | float):
        self.name = scope.path
        self.kernel = config.conv_kernel_size
        self.act = activation(scope / "activation", config.hidden_act)
        self.affine = fold_convolution(scope, factors=factors, scale=self.act.scale)
        taps, self.features = self.affine.weight.shape
        self.channels = taps // self.kernel**2
        self.numbers = taps

    def pixels(self, rows: int, columns: int) -> int:
        """How many are computed for a strip."""
        return rows * columns

    def scratch(self, rows: int, columns: int) -> list[tuple[int, ...]]:
        """What a strip needs: the padded rows, the gathered taps (and later what is begun), the pixels."""
        k = self.kernel
        widest = max(k * k * self.channels, self.features)
        padded = (rows + k - 1, columns + k - 1, self.channels)
        return [padded, (rows * columns, widest), (rows * columns, self.features)]

    def function(
        self, sources: list[np.ndarray], strip: Strip, padded_: np.ndarray, one: np.ndarray, other: np.ndarray
    ) -> Convolved:
        """A strip of maps (n, H, W, C), their channels one after the other."""
        rows, columns, k = strip.bottom - strip.top, sources[0].shape[2], self.kernel
        padded = padded_[: rows + k - 1]
        copy = padded_copy(sources, strip, (k - 1) // 2, padded)
        row, column, item = padded.strides
        seen = as_strided(padded, (rows, columns, k, k * self.channels), (row, column, row, item), writeable=False)
        matrix = rows_of(one, rows * columns, k * k * self.channels)
        gathered = matrix.reshape(seen.shape)  # a row of taps is contiguous: k*C numbers are copied at a time
        pixels, begun = (rows_of(each, rows * columns, self.features) for each in (other, one))
        bias, u = tiled(self.affine.bias, columns), pixels.reshape(rows, -1)
        multiply = product(matrix, self.affine.weight, pixels)

        def run() -> None:
            copy()
            np.copyto(gathered, seen)
            multiply()
            np.add(u, bias, out=u)
            self.act.begin(pixels, begun)

        return Convolved(run, pixels, begun)

    def places(self, pixels: np.ndarray, out: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """A strip's pixels (pixels, D) and their places on its map (h, W, D) or rows of patches (nh, p, nw, p, D)."""
        return [(pixels.reshape(out.shape), out)]


DenseConvolution = TiledConvolution | GatheredConvolution


def dense_convolution(scope: Scope, config: NetworkConfig, factors: np.ndarray | float) -> DenseConvolution:
    """The one that the kernel's size asks for. ``factors``: those that the input's channels hold."""
    kind = TiledConvolution if config.conv_kernel_size == SEEN - 1 else GatheredConvolution
    return kind(scope, config, factors)


def padded_copy(sources: list[np.ndarray], strip: Strip, pad: int, padded: np.ndarray) -> Function:
    """Copy a strip of maps, their channels one after the other, between zeros: -> (h + 2p, W + 2p, sum of C)"""
    height, width = sources[0].shape[1:3]
    first, last = max(0, strip.top - pad), min(height, strip.bottom + pad)
    above = first - (strip.top - pad)
    borders = [padded[:above], padded[above + last - first :], padded[:, :pad], padded[:, pad + width :]]
    copies, start = [], 0
    for source in sources:
        channels = source.shape[3]
        inner = padded[above : above + last - first, pad : pad + width, start : start + channels]
        copies.append((inner, source[strip.image, first:last]))
        start += channels

    def copy() -> None:
        for border in borders:
            border.fill(0)
        for inner, source in copies:
            np.copyto(inner, source)

    return copy
