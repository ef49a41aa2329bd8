"""The fast twin of the MobileViT block, in three steps.

1. *Local*: the dense and the 1x1 convolution of a strip, whose pixels go straight to their places among the tokens.
2. *Global*: a few sequences (positions in the patch) at a time, through all transformer layers. The projection after
   them is a 1x1 convolution, so it's done on tokens; only then do they go back to their places on the map.
3. *Fusion*: a dense convolution of the block's input and the projected map, strip by strip.

A map whose sides aren't multiples of the patch is stretched before step 2 and shrunk after it; projecting must then
wait until after the shrinking, and takes a step of its own. Patches of an odd side, which no tiles of 2x2 pixels fit,
go the same way.

Explained in tutorials/12-making-numpy-fast.md.
"""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..config import NetworkConfig
from ..scope import Scope
from .activations import activation
from .attention import Transformer
from .convolutions import plan_pointwise
from .dense import dense_convolution
from .folding import fold_convolution, fold_projection
from .plan import Function, Map, Plan, Strip, rows_of, shared
from .products import product

TOKENS_TOGETHER = 512  # in all the sequences worked on at a time: few enough for the cache


class MobileViTBlock:
    """Twin: ``model.mobilevit_block``."""

    def __init__(self, scope: Scope, config: NetworkConfig, factor: float, depth: int):
        self.name, self.patch = scope.path, config.patch_size
        self.local = dense_convolution(scope / "conv_kxk", config, factor)
        local = self.local.act.factor
        self.widen = fold_convolution(scope / "conv_1x1", factors=local, normalize=False, centered=True).weight
        self.transformer = Transformer(scope / "transformer", config, depth)
        self.project_act = activation(scope / "conv_projection" / "activation", config.hidden_act)
        self.project = fold_projection(scope / "conv_projection", scope / "layernorm", scale=self.project_act.scale)
        channels = len(self.project.bias)
        factors = np.repeat([factor, self.project_act.factor], channels)  # the residual's channels come first
        self.fusion = dense_convolution(scope / "fusion", config, factors)

    def plan(self, plan: Plan, x: Map) -> Map:
        """(n, H, W, C) -> (n, H, W, C)"""
        n, height, width, channels = x.array.shape
        p, features = self.patch, self.widen.shape[1]
        whole = (-(-height // p), -(-width // p))  # patches down and across
        tokens = plan.empty(n, p * p, whole[0] * whole[1], features)
        projected = plan.empty(n, height, width, channels)
        if (whole[0] * p, whole[1] * p) == (height, width) and p % self.local.multiple == 0:
            self._plan_local(plan, x.array, _places(tokens, p, whole))
            self._plan_global(plan, tokens, _places_on_map(projected, p))
        else:
            local, wide = plan.empty(n, height, width, features), (whole[0] * p, whole[1] * p)
            folded = plan.empty(n, p * p, whole[0] * whole[1], features)
            self._plan_local(plan, x.array, local)
            _plan_resize(plan, f"{self.name}.unfolding", local, _places(tokens, p, whole), wide)
            self._plan_global(plan, tokens, folded)
            shrunk = plan.empty(n, height, width, features)
            _plan_resize(plan, f"{self.name}.folding", _places(folded, p, whole), shrunk, (height, width))
            plan_pointwise(plan, f"{self.name}.conv_projection", shrunk, projected, self.project, self.project_act)
        return self._plan_fusion(plan, [x.array, projected])

    def _plan_local(self, plan: Plan, x: np.ndarray, out: np.ndarray) -> None:
        """Step 1. ``out``: the tokens' places as rows of patches (n, nh, p, nw, p, D), or a map (n, H, W, D)."""
        _, height, width, _ = x.shape
        convolution, features = self.local, self.widen.shape[1]
        patch = out.shape[2] if out.ndim == 6 else 1

        def build(strip: Strip, widened_: np.ndarray, *scratch: np.ndarray) -> Function:
            convolve, u, begun = convolution.function([x], strip, *scratch)
            widened = rows_of(widened_, len(u), features)
            widen = product(u, self.widen, widened)
            places = convolution.places(widened, out[strip.image, strip.top // patch : strip.bottom // patch])

            def run() -> None:
                convolve()
                convolution.act.finish(u, begun, u)
                widen()
                for pixels, place in places:
                    np.copyto(place, pixels)

            return run

        def shapes(rows: int) -> list[tuple[int, ...]]:
            return [(convolution.pixels(rows, width), features), *convolution.scratch(rows, width)]

        row_bytes = width * convolution.numbers * plan.dtype.itemsize
        strips = plan.strips(height, row_bytes, multiple=math.lcm(patch, convolution.multiple))
        plan.add(f"{self.name}.conv_1x1", strips, shapes, build)

    def _plan_global(self, plan: Plan, tokens: np.ndarray, out: np.ndarray) -> None:
        """Step 2. ``out``: where the projected pixels go, (n, p, p, nh, nw, C), or, not projected, (n, P, N, D)."""
        n, places, count, features = tokens.shape
        sequences = tokens.reshape(n * places, count, features)
        projecting = out.ndim == 6

        def build(strip: Strip, pixels_: np.ndarray, *scratch: np.ndarray) -> Function:
            some = slice(strip.top, strip.bottom)
            rows = (strip.bottom - strip.top) * count
            transform = self.transformer.function(sequences[some], *scratch)
            normed = rows_of(scratch[0], rows, features)
            u, e = rows_of(pixels_, rows, len(self.project.bias)), rows_of(scratch[1], rows, len(self.project.bias))
            if not projecting:
                target = out.reshape(n * places, count, features)[some]
                source = normed.reshape(target.shape)

                def keep() -> None:
                    transform()
                    np.copyto(target, source)

                return keep
            targets = [
                out[i // places, i % places // self.patch, i % self.patch] for i in range(strip.top, strip.bottom)
            ]
            pixels, begun = u.reshape(-1, *out.shape[3:]), e.reshape(-1, *out.shape[3:])
            project = product(normed, self.project.weight, u)

            def run() -> None:
                transform()
                project()
                np.add(u, self.project.bias, out=u)
                self.project_act.begin(u, e)
                for i, target in enumerate(targets):
                    self.project_act.finish(pixels[i], begun[i], target)

            return run

        def shapes(some: int) -> list[tuple[int, ...]]:
            needed = self.transformer.scratch(some, count, features, plan.dtype.itemsize)
            rows, wide = needed[1]
            needed[1] = (rows, max(wide, len(self.project.bias)))
            return [(rows, len(self.project.bias)), *needed]

        plan.add(f"{self.name}.transformer", _sequences(plan, n * places, count, width=3 * features), shapes, build)

    def _plan_fusion(self, plan: Plan, maps: list[np.ndarray]) -> Map:
        """Step 3."""
        n, height, width, _ = maps[0].shape
        convolution = self.fusion
        out = plan.empty(n, height, width, convolution.features)

        def build(strip: Strip, *scratch: np.ndarray) -> Function:
            convolve, u, begun = convolution.function(maps, strip, *scratch)
            target = out[strip.image, strip.top : strip.bottom]
            places = zip(convolution.places(u, target), convolution.places(begun, target), strict=True)
            finishes = [(pixels, others, place) for (pixels, place), (others, _) in places]

            def run() -> None:
                convolve()
                for pixels, others, place in finishes:
                    convolution.act.finish(pixels, others, place)

            return run

        row_bytes = width * convolution.numbers * plan.dtype.itemsize
        strips = plan.strips(height, row_bytes, multiple=convolution.multiple)
        plan.add(convolution.name, strips, lambda rows: convolution.scratch(rows, width), build)
        return Map(out, convolution.act.factor)


def _sequences(plan: Plan, count: int, tokens: int, *, width: int) -> list[Strip]:
    """Groups of sequences ``width`` wide at most, the same number for every worker; all are "rows" of image 0."""
    together = max(1, TOKENS_TOGETHER // tokens)
    workers = plan.workers_for(count * tokens * width * plan.dtype.itemsize)
    groups = -(-max(1, -(-count // together)) // workers) * workers
    return [Strip(0, first, last, worker) for first, last, worker in shared(count, groups, workers)]


def _places(tokens: np.ndarray, p: int, whole: tuple[int, int]) -> np.ndarray:
    """(n, P, N, D) -> (n, nh, p, nw, p, D), a view: where a map's pixels are among the tokens."""
    n, _, _, features = tokens.shape
    return tokens.reshape(n, p, p, *whole, features).transpose(0, 3, 1, 4, 2, 5)


def _places_on_map(pixels: np.ndarray, p: int) -> np.ndarray:
    """(n, H, W, C) -> (n, p, p, nh, nw, C), a view: where each position's pixels are on the map."""
    n, height, width, channels = pixels.shape
    return pixels.reshape(n, height // p, p, width // p, p, channels).transpose(0, 2, 4, 1, 3, 5)


def _plan_resize(plan: Plan, name: str, source: np.ndarray, out: np.ndarray, size: tuple[int, int]) -> None:
    """A step that resizes maps to ``size``; ``source`` and ``out`` are maps, or tokens seen as rows of patches.

    It's rare, so it's done the plain way: an image is one part, and ``ops.resize_bilinear`` makes new arrays.
    """

    def build(strip: Strip) -> Function:
        image, target = source[strip.image], out[strip.image]
        features = image.shape[-1]
        shape = (
            image.shape[:2] if image.ndim == 3 else (image.shape[0] * image.shape[1], image.shape[2] * image.shape[3])
        )

        def run() -> None:
            pixels = image.reshape(1, *shape, features).transpose(0, 3, 1, 2)  # -> (1, D, H, W)
            resized = ops.resize_bilinear(pixels, size)[0].transpose(1, 2, 0)  # -> (H', W', D)
            np.copyto(target, resized.reshape(target.shape))

        return run

    plan.add(name, [Strip(image, 0, 1, 0) for image in range(plan.images)], lambda _: [], build)
