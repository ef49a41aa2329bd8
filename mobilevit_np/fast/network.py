"""A network compiled for speed: its folded layers, and plans for the input sizes it has seen.

Explained in tutorials/12-making-numpy-fast.md.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from ..config import STAGE_2_DEPTH, TRANSFORMER_DEPTHS, NetworkConfig, check_pixel_values
from ..errors import InputError
from ..scope import Scope
from .block import MobileViTBlock
from .convolutions import InvertedResidual, Stem
from .crew import run_plans, threads
from .heads import DeepLabV3, Expansion, Pooling
from .plan import Map, Plan
from .products import uses_pieces

IMAGES_TOGETHER = 4  # of a batch, in one plan: small maps become larger matrices
MAX_PLANS = 8  # kept: those last used
MAX_PLAN_BYTES = 32 << 20  # of all of them; what the last call used is kept whatever its size
_mutex = threading.Lock()  # held while plans are taken and given back, in any network
if hasattr(os, "register_at_fork"):  # a fork while another thread holds it would leave the child waiting forever
    os.register_at_fork(before=_mutex.acquire, after_in_parent=_mutex.release, after_in_child=_mutex.release)


class Backbone:
    """Twin: ``model.backbone``. Its layers, with their weights folded."""

    def __init__(self, scope: Scope, config: NetworkConfig, *, expand_output: bool):
        self.config = config
        self.stem = Stem(scope / "conv_stem", config)
        self.stages: list[list[InvertedResidual | MobileViTBlock]] = []
        self._factor, self._channels = self.stem.act.factor, config.neck_hidden_sizes[0]
        layers, widths = scope / "encoder" / "layer", config.neck_hidden_sizes
        for stage, (stride, depth) in enumerate(((1, 1), (2, STAGE_2_DEPTH))):
            names = [layers / stage / "layer" / i for i in range(depth)]
            self.stages.append(
                [self._residual(name, widths[stage + 1], stride if i == 0 else 1) for i, name in enumerate(names)]
            )
        for i, (depth, (stride, dilation)) in enumerate(zip(TRANSFORMER_DEPTHS, config.downsampling, strict=True)):
            name = layers / (2 + i)
            down = self._residual(name / "downsampling_layer", widths[3 + i], stride, dilation)
            block = MobileViTBlock(name, config, self._factor, depth)
            self._factor = block.fusion.act.factor
            self.stages.append([down, block])
        self.expansion = Expansion(scope / "conv_1x1_exp", config, self._factor) if expand_output else None
        self.factor = self.expansion.act.factor if self.expansion else self._factor

    def _residual(self, scope: Scope, channels: int, stride: int, dilation: int = 1) -> InvertedResidual:
        layer = InvertedResidual(scope, self.config, self._factor, self._channels, channels, stride, dilation)
        self._factor, self._channels = layer.out_factor, channels
        return layer

    def plan(self, plan: Plan, padded: np.ndarray) -> tuple[Map, list[Map]]:
        """The last map, and those after L1 to L5."""
        x, states = self.stem.plan(plan, padded), []
        for stage in self.stages:
            for layer in stage:
                x = layer.plan(plan, x)
            states.append(x)
        return (self.expansion.plan(plan, x) if self.expansion else x), states


class SizedPlan:
    """A plan and its ends: where the pixels go in, and where the answer and the five maps come out."""

    def __init__(self, network: FastNetwork, images: int, height: int, width: int, workers: int):
        self.plan = Plan(images, workers, network.backbone.stem.weight.dtype)
        channels = network.config.num_channels
        padded = self.plan.empty(images, channels, height + 2, width + 2)  # the border stays 0
        self.pixels = padded[:, :, 1:-1, 1:-1]
        last, self.states = network.backbone.plan(self.plan, padded)
        self.output = Map(network.head.plan(self.plan, last)) if network.head else last
        self.plan.finish()

    def answer(self, output: np.ndarray, states: list[np.ndarray]) -> None:
        """Copy the answer, and the maps if asked for, channels first and without their factor."""
        for out, each in zip([output, *states], [self.output, *self.states], strict=False):
            moved = np.moveaxis(each.array, -1, 1)
            np.divide(moved, each.factor, out=out)

    def shapes(self, images: int) -> list[tuple[int, ...]]:
        """The shapes of the answer and the maps, of a whole batch."""
        return [(images, each.array.shape[-1], *each.array.shape[1:-1]) for each in (self.output, *self.states)]


class FastNetwork:
    """A task's network: call it with a batch, from as many threads as you like.

    On one machine a photo's answer depends, to the last bit, on nothing but the photo, the number of threads, the size
    of the batch and the photo's place in it.
    """

    def __init__(self, task: str, scope: Scope, config: NetworkConfig, *, expand_output: bool = True):
        if scope.watched:
            raise InputError(
                "the fast engine computes strips of several layers at once, so nothing inside can be listened to or "
                "replaced; use engine='reference'"
            )
        self.config = config
        body = scope if task == "backbone" else scope / "mobilevit"
        self.backbone = Backbone(body, config, expand_output=expand_output and task != "segmenter")
        self.dtype = (body / "conv_stem" / "convolution")["weight"].dtype.newbyteorder("=")  # of the answers
        self.head: Pooling | DeepLabV3 | None = None
        if task == "classifier":
            linear = scope / "classifier" if config.num_labels > 0 else None
            self.head = Pooling(linear, self.backbone.factor, config.global_pool)
        elif task == "segmenter":
            self.head = DeepLabV3(scope / "segmentation_head", config, self.backbone.factor)
        self._plans: OrderedDict[tuple[int, ...], list[SizedPlan]] = OrderedDict()  # free ones, by size

    def __call__(self, pixel_values: np.ndarray, *, hidden_states: bool = False) -> Any:
        """The output, and with ``hidden_states`` the five maps. Raises InputError unless the batch fits the network.

        (B, C, H, W) -> (B, K) or (B, K, H', W'), five of (B, Ci, Hi, Wi)

        dtype: that of the stem's weights, whatever that of ``pixel_values`` (the reference takes the wider). A float16
        network is computed in float32 from end to end, and only its answers are rounded to float16.
        """
        check_pixel_values(pixel_values, self.config)
        count, _, height, width = pixel_values.shape
        done: list[np.ndarray] = []

        def run(plans: list[SizedPlan], images: list[slice]) -> None:
            for plan, some in zip(plans, images, strict=True):
                np.copyto(plan.pixels, pixel_values[some], casting="same_kind")
            run_plans([plan.plan for plan in plans])
            if not done:
                shapes = plans[0].shapes(count)
                done.extend(np.empty(shape, self.dtype) for shape in (shapes if hidden_states else shapes[:1]))
            for plan, some in zip(plans, images, strict=True):
                plan.answer(done[0][some], [state[some] for state in done[1:]])

        way = uses_pieces()  # other plans have other last digits
        portions = [((images, height, width, workers, way), pieces) for images, workers, pieces in _portions(count)]
        for key, pieces in portions:
            self._with_plans(run, key, pieces)
        self._forget(len({key for key, _ in portions}))
        return (done[0], done[1:]) if hidden_states else done[0]

    def _with_plans(self, run: Any, key: tuple[int, int, int, int, bool], pieces: list[slice]) -> None:
        """Run plans of one size, free or new ones, one for each piece. An interrupted plan isn't used again."""
        plans: list[SizedPlan] = []
        with _mutex:
            free = self._plans.get(key, [])
            while free and len(plans) < len(pieces):
                plans.append(free.pop())
        plans += [SizedPlan(self, *key[:4]) for _ in range(len(pieces) - len(plans))]
        run(plans, pieces)
        with _mutex:
            free = self._plans.setdefault(key, [])
            room = max(MAX_PLANS, len(pieces)) - len(free)  # many calls at once may have made many
            free += plans[: max(0, room)]
            self._plans.move_to_end(key)

    def _forget(self, used: int) -> None:
        """Drop plans of the sizes used longest ago until the bounds hold, but none of the last ``used`` sizes."""
        dropped = []  # freed on return, without the lock, since that takes a while
        with _mutex:
            while len(self._plans) > used:
                kept = [plan for plans in self._plans.values() for plan in plans]
                if len(kept) <= MAX_PLANS and sum(plan.plan.nbytes for plan in kept) <= MAX_PLAN_BYTES:
                    return
                dropped.append(self._plans.popitem(last=False))


def _portions(count: int) -> list[tuple[int, int, list[slice]]]:
    """Divide a batch: ``(images, workers, pieces)``; each piece is so many images, for a plan with so many workers.

    First every thread gets the same number of photos, a few at a time in a plan of its own; the photos left over are
    computed one after the other, by all threads together.
    """
    workers = threads()
    share = count // workers
    portions = []
    for start in range(0, share, IMAGES_TOGETHER):
        images = min(IMAGES_TOGETHER, share - start)
        firsts = [i * share + start for i in range(workers)]
        portions.append((images, 1, [slice(first, first + images) for first in firsts]))
    return portions + [(1, workers, [slice(i, i + 1)]) for i in range(share * workers, count)]


def compile_network(task: str, scope: Scope, config: NetworkConfig, **options: Any) -> FastNetwork:
    """A network of the fast engine. The tasks are "backbone" (option ``expand_output``), "classifier", "segmenter".

    Raises InputError if ``scope`` is wrapped, ConfigError, MissingTensorError. Weights that overflow when they're
    folded show in the answers, as they do with the reference, without a warning.
    """
    with np.errstate(all="ignore"):
        return FastNetwork(task, scope, config, **options)
