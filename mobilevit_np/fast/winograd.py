"""Winograd's F(2x2, 3x3): four pixels of a 3x3 convolution for 16 multiplications instead of 36.

In one dimension, two neighboring outputs of three taps g see four inputs d, and

    y0 = d0*g0 + d1*g1 + d2*g2        y1 = d1*g0 + d2*g1 + d3*g2

are six multiplications. Made of sums and differences they are four, since what depends on the taps alone is computed
when the weights are loaded:

    m0 = (d0 - d2) * g0               m1 = (d1 + d2) * (g0 + g1 + g2) / 2
    m3 = (d1 - d3) * g2               m2 = (d2 - d1) * (g0 - g1 + g2) / 2

    y0 = m0 + m1 + m2                 y1 = m1 - m2 - m3

In two dimensions rows and columns both are treated so: a *tile* of 2x2 outputs sees 4x4 inputs, in 16 products. Over
channels, a product of two numbers becomes one of two matrices. And sums and differences are products with matrices of
-1, 0 and 1, so that all is three calls of ``matmul``.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, arXiv 1509.09308.

Explained in tutorials/12-making-numpy-fast.md.
"""

from __future__ import annotations

import numpy as np

TILE = 2  # pixels on a tile's side
SEEN = 4  # pixels on the side of what a tile sees
PRODUCTS = SEEN * SEEN
BIAS = 5  # of the 16, the product that all four pixels contain with a plus: a bias may be added to it

_INPUTS = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
_TAPS = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_OUTPUTS = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])

INPUTS = np.kron(_INPUTS, _INPUTS)  # (16, 16): of what a tile sees, row by row, to the factors of the 16 products
OUTPUTS = np.kron(_OUTPUTS, _OUTPUTS)  # (4, 16): of the products to the tile's pixels, row by row


def transformed(weight: np.ndarray) -> np.ndarray:
    """The taps' share of the 16 products: (3, 3, C, O) -> (16, C, O)"""
    return np.einsum("ai,bj,ijco->abco", _TAPS, _TAPS, weight).reshape(PRODUCTS, *weight.shape[2:])


def by_tile(pixels: np.ndarray) -> np.ndarray:
    """A view of rows of patches, each pixel by its place in the tile, then by its tile.

    (nh, p, nw, p, D) -> (2, 2, nh, p/2, nw, p/2, D)
    """
    nh, p, nw, _, features = pixels.shape
    split = pixels.reshape(nh, p // TILE, TILE, nw, p // TILE, TILE, features)
    return split.transpose(2, 5, 0, 1, 3, 4, 6)
