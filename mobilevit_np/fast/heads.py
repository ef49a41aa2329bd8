"""The fast twins of a network's end: expansion, pooling, classifier, DeepLabV3.

Explained in tutorials/12-making-numpy-fast.md.
"""

from __future__ import annotations

import numpy as np

from ..config import NetworkConfig
from ..scope import Scope
from .activations import activation
from .convolutions import plan_pointwise
from .folding import Affine, fold_convolution, fold_linear
from .plan import Function, Map, Plan, Strip, rows_of
from .products import product


class Expansion:
    """Twin: ``conv_1x1_exp``, a ``model.conv_layer`` of 1x1, which widens the last map for the classifier."""

    def __init__(self, scope: Scope, config: NetworkConfig, factor: float):
        self.name = scope.path
        self.act = activation(scope / "activation", config.hidden_act)
        self.affine = fold_convolution(scope, factors=factor, scale=self.act.scale)

    def plan(self, plan: Plan, x: Map) -> Map:
        """(n, H, W, C) -> (n, H, W, E)"""
        out = plan.empty(*x.array.shape[:3], len(self.affine.bias))
        plan_pointwise(plan, self.name, x.array, out, self.affine, self.act)
        return Map(out, self.act.factor)


class Pooling:
    """Twin: ``ops.global_pool``, and the classifier's linear layer if there is one."""

    def __init__(self, linear: Scope | None, factor: float, kind: str):
        self.factor = factor
        self.kind = kind
        self.linear = None if linear is None else fold_linear(linear, factor=factor)

    def plan(self, plan: Plan, x: Map) -> np.ndarray:
        """(n, H, W, E) -> (n, K), or (n, E) without a linear layer"""
        n, height, width, features = x.array.shape
        pixels = x.array.reshape(n, height * width, features)
        pooled = plan.empty(n, features)
        pool = self._pool(plan, pixels, pooled)
        out = pooled if self.linear is None else plan.empty(n, len(self.linear.bias))

        def build(strip: Strip) -> Function:
            def run() -> None:
                pool()
                if self.linear is not None:
                    np.matmul(pooled, self.linear.weight, out=out)
                    np.add(out, self.linear.bias, out=out)
                elif self.factor != 1:
                    np.divide(pooled, self.factor, out=pooled)

            return run

        plan.add("classifier", [Strip(0, 0, 1, 0)], lambda _: [], build)
        return out

    def _pool(self, plan: Plan, pixels: np.ndarray, pooled: np.ndarray) -> Function:
        """(n, P, E) -> (n, E), both with the map's factor: if that's negative, the largest value is the least here."""
        n, places, features = pixels.shape
        average = np.full((1, places), 1 / places, plan.dtype)
        largest = np.maximum if self.factor > 0 else np.minimum
        peaks = plan.empty(n, features) if self.kind == "avgmax" else pooled

        def run() -> None:
            if self.kind != "max":
                np.matmul(average, pixels, out=pooled[:, None])
            if self.kind != "avg":
                largest.reduce(pixels, axis=1, out=peaks)
            if self.kind == "avgmax":
                np.add(pooled, peaks, out=pooled)
                np.multiply(pooled, 0.5, out=pooled)

        return run


class DeepLabV3:
    """Twin: ``model.deeplabv3``: four views of a strip side by side, the pooled one as a part of the bias.

    The pooled branch is the same for every pixel, so its share of the projection is computed once per image. Many taps
    of the atrous convolutions miss the map (at a rate of 18 on a 32x32 map, six of ten do), so each tap is a matrix
    product of its own, of the pixels where it's on the map.
    """

    def __init__(self, scope: Scope, config: NetworkConfig, factor: float):
        self.name = scope.path
        convs = scope / "aspp" / "convs"
        self.point = fold_convolution(convs / 0, factors=factor)
        self.rates = list(config.atrous_rates)
        self.atrous = [fold_convolution(convs / (1 + i), factors=factor) for i in range(len(self.rates))]
        self.pooled = fold_convolution(convs / (1 + len(self.rates)) / "conv_1x1", factors=factor)
        weight, bias = fold_convolution(scope / "aspp" / "project")
        views = (1 + len(self.rates)) * len(self.point.bias)
        self.project = Affine(np.ascontiguousarray(weight[:views]), bias)
        self.project_pooled = np.ascontiguousarray(weight[views:])
        self.classify = fold_convolution(scope / "classifier", normalize=False, bias=True)

    def plan(self, plan: Plan, x: Map) -> np.ndarray:
        """(n, H, W, C) -> (n, H, W, K)"""
        n, height, width, channels = x.array.shape
        out = plan.empty(n, height, width, len(self.classify.bias))
        shift = self._plan_pooled(plan, x.array)
        branch, wide = len(self.point.bias), len(self.project.bias)
        views_width = (1 + len(self.rates)) * branch

        def build(strip: Strip, views_: np.ndarray, projected_: np.ndarray, *scratch: np.ndarray) -> Function:
            image, top, bottom, _ = strip
            pixels = (bottom - top) * width
            views = rows_of(views_, pixels, views_width)
            source = x.array[image, top:bottom].reshape(pixels, channels)
            branches = [_point(source, self.point, views[:, :branch])] + [
                _atrous(x.array[image], strip, rate, affine, views[:, (1 + i) * branch : (2 + i) * branch], *scratch)
                for i, (rate, affine) in enumerate(zip(self.rates, self.atrous, strict=True))
            ]
            projected = rows_of(projected_, pixels, wide)
            target = out[image, top:bottom].reshape(pixels, -1)
            project = product(views, self.project.weight, projected)
            classify = product(projected, self.classify.weight, target)

            def run() -> None:
                for each in branches:
                    each()
                project()
                np.add(projected, shift[image], out=projected)
                np.maximum(projected, 0, out=projected)
                classify()
                np.add(target, self.classify.bias, out=target)

            return run

        def shapes(rows: int) -> list[tuple[int, ...]]:
            pixels = rows * width
            return [(pixels, views_width), (pixels, wide), (pixels, channels), (pixels, branch), (pixels, branch)]

        strips = plan.strips(height, width * views_width * plan.dtype.itemsize)
        plan.add(self.name, strips, shapes, build)
        return out

    def _plan_pooled(self, plan: Plan, x: np.ndarray) -> np.ndarray:
        """What the pooled branch and the bias add to every pixel of the projection: (n, A)"""
        n, height, width, channels = x.shape
        average = np.full((1, height * width), 1 / (height * width), plan.dtype)
        shift = plan.empty(n, len(self.project.bias))

        def build(strip: Strip) -> Function:
            pixels, target = x[strip.image].reshape(-1, channels), shift[strip.image]

            def run() -> None:
                pooled = np.maximum(average @ pixels @ self.pooled.weight + self.pooled.bias, 0)
                np.add((pooled @ self.project_pooled)[0], self.project.bias, out=target)

            return run

        plan.add(f"{self.name}.aspp_pooling", [Strip(i, 0, 1, 0) for i in range(n)], lambda _: [], build)
        return shift


def _point(source: np.ndarray, affine: Affine, target: np.ndarray) -> Function:
    """A 1x1 convolution and ReLU into some columns of the views."""
    multiply = product(source, affine.weight, target)

    def run() -> None:
        multiply()
        np.add(target, affine.bias, out=target)
        np.maximum(target, 0, out=target)

    return run


def _atrous(
    x: np.ndarray, strip: Strip, rate: int, affine: Affine, target: np.ndarray, moved_: np.ndarray,
    added_: np.ndarray, sum_: np.ndarray,
) -> Function:  # fmt: skip
    """A 3x3 convolution with taps ``rate`` pixels apart, and ReLU, into some columns of the views."""
    width, channels = x.shape[1:]
    count, features = strip.bottom - strip.top, len(affine.bias)
    total = rows_of(sum_, count * width, features)
    weights = affine.weight.reshape(3, 3, channels, features)
    center = x[strip.top : strip.bottom].reshape(-1, channels)
    taps = []
    for i, j in np.ndindex(3, 3):
        rows, source_rows = _on_map(strip.top, strip.bottom, (i - 1) * rate, x.shape[0])
        columns, source_columns = _on_map(0, width, (j - 1) * rate, width)
        source, place = x[source_rows, source_columns], total.reshape(count, width, features)[rows, columns]
        if source.size and (i, j) != (1, 1):
            pixels = source.shape[0] * source.shape[1]
            moved, added = rows_of(moved_, pixels, channels), rows_of(added_, pixels, features)
            multiply = product(moved, weights[i, j], added)
            taps.append((moved.reshape(source.shape), source, multiply, added.reshape(place.shape), place))
    multiply_center = product(center, weights[1, 1], total)

    def run() -> None:
        multiply_center()
        for moved, source, multiply, added, place in taps:
            np.copyto(moved, source)
            multiply()
            np.add(place, added, out=place)
        np.add(total, affine.bias, out=total)
        np.maximum(total, 0, out=target)

    return run


def _on_map(first: int, last: int, shift: int, size: int) -> tuple[slice, slice]:
    """Which of the places first..last have a neighbor ``shift`` places on, counted from ``first``; and the neighbors.

    Both are empty if none has.
    """
    start = min(max(first + shift, 0), size)
    stop = max(min(last + shift, size), start)
    return slice(start - shift - first, stop - shift - first), slice(start, stop)
