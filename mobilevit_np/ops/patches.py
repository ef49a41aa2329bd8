"""Unfold a feature map to patches, and fold it back.

A convolution is unfold, matrix product, fold; MobileViT puts transformer layers in place of the product (arXiv
2110.02178, section 3.1, "relationship to convolutions"). A map of D features is cut into N patches of P pixels, and the
transformer runs P times, once for each position in the patch. So a token attends to the same position in all patches,
never to the other pixels of its own patch: the convolutions before have already mixed those in.

Explained in tutorials/06-unfold-and-fold.md, and as dilated attention in tutorials/15-why-mobilevit.md.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .arguments import check_axes, check_size, check_whole_number


def unfold_to_patches(x: np.ndarray, patch_size: int) -> np.ndarray:
    """Gather the pixels that share a position in their patch.

    (B, D, H, W), p -> (B*P, N, D)

    P = p*p positions in a patch, N = H/p * W/p patches, both counted row by row. The batch is the outer index of B*P: a
    plain reshape has the same shape and mixes everything up (a known port mistake).

    dtype: that of ``x``. Raises InputError unless p divides H and W: resize first. Source: transformers'
    ``MobileViTLayer.unfolding``.
    """
    check_axes("unfold_to_patches", "x", x, "B, D, H, W")
    check_whole_number("patch_size", patch_size, at_least=1)
    B, D, H, W = x.shape
    p, N = patch_size, H // patch_size * (W // patch_size)
    if H % p or W % p:
        raise InputError(f"a {H}x{W} map has no whole number of {p}x{p} patches; resize it first")
    x = x.reshape(B, D, H // p, p, W // p, p)
    return x.transpose(0, 3, 5, 2, 4, 1).reshape(B * p * p, N, D)  # (B, D, nh, p, nw, p) -> (B, p, p, nh, nw, D)


def fold_from_patches(patches: np.ndarray, patch_size: int, size: tuple[int, int]) -> np.ndarray:
    """Put the pixels back: the inverse of ``unfold_to_patches``, ``size`` = (H, W) being the map's.

    (B*P, N, D), p, (H, W) -> (B, D, H, W)

    dtype: that of ``patches``. Raises InputError if the patches don't make up that map. Source: transformers'
    ``MobileViTLayer.folding``.
    """
    check_axes("fold_from_patches", "patches", patches, "B*P, N, D")
    check_whole_number("patch_size", patch_size, at_least=1)
    check_size(size)
    p, (H, W) = patch_size, size
    BP, N, D = patches.shape
    if H % p or W % p or BP % (p * p) or (H // p) * (W // p) != N:
        raise InputError(f"patches of shape {patches.shape} can't be folded to maps of {H}x{W} by {p}x{p}")
    x = patches.reshape(len(patches) // (p * p), p, p, H // p, W // p, D)
    return x.transpose(0, 5, 3, 1, 4, 2).reshape(len(x), D, H, W)  # (B, p, p, nh, nw, D) -> (B, D, nh, p, nw, p)
