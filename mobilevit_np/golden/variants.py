"""What is near the right thing, beside the known mistakes: other numbers, other axes, a step left out.

Nobody is known to make these, so they have no names. If no known mistake gives a port's tensor, they are tried in the
same way, and the sentence of the one that gives it is what ``diagnose`` says.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from .. import model, ops
from ..config import NetworkConfig
from ..ops import ACTIVATIONS
from ..scope import Scope
from . import planting
from .description import EPS
from .mistakes import Mistake
from .network import Network
from .planting import Compute

_NUMBER = re.compile(r"\.\d+")
_SKIPPED = (".normalization", ".activation", ".intermediate_act_fn", ".layernorm_before", ".layernorm_after")
_LAYER = re.compile(r".*\.transformer\.layer\.\d+")
_SLOPES = (0.1, 0.2, 0.25, 0.3)  # 0.01 is among the activations; 0.3 is Keras'
_DILATIONS = (1, 2, 3, 4, 6, 9, 12, 18, 24, 36)
_BRANCHES, _PROJECT = 5, "segmentation_head.aspp.project"
_STAGE = "mobilevit.encoder.layer.?"
_EVERY_LAYER = "*.transformer.layer.?"
_ATTENTION, _WEIGHTS, _NORM = "*.attention.attention", "*.probabilities", "*.layernorm*"
_SCALES: dict[str, Callable[[int, int], float]] = {  # of a head's width and the model's
    "divided by the head's width, not by its root": lambda d, D: 1 / d,
    "divided by the model's width": lambda d, D: 1 / D,
    "multiplied by the root of the head's width": lambda d, D: math.sqrt(d),
}
_POOLS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # (B, C, H, W) -> (B, C)
    "the pooling is a sum over the pixels, not their mean": lambda x: x.sum(axis=(2, 3)),
    "the middle pixel is taken, not the mean over all": lambda x: x[:, :, x.shape[2] // 2, x.shape[3] // 2],
    "the first pixel is taken, not the mean over all": lambda x: x[:, :, 0, 0],
    "the pooled features are activated by SiLU": lambda x: ops.silu(_mean(x)),
    "the pooled features are scaled to length 1": lambda x: _mean(x) / np.linalg.norm(_mean(x), axis=1, keepdims=True),
    "the mean and the maximum are averaged": lambda x: ops.global_pool(x, "avgmax"),
}
Variant = tuple[Any, ...]  # its sentence, then pairs of a pattern and what is computed there


def variants(network: Network, reached: Collection[str]) -> Iterator[Mistake]:
    """Those that change one of the modules ``reached``."""
    config, reached = network.config, sorted(reached)
    yield from _made(
        *_activations(config, reached),
        *_left_out(reached),
        *_norms(),
        *_attention(config),
        *_convolutions(network, reached),
        *_layers(network, reached),
        *_patches(),
        *_pooling(network),
    )


def unlike(network: Network, paths: Collection[str]) -> Iterator[Mistake]:
    """Those that change so much that tensors without names are paired off wrongly: see ``supposing``."""
    layers = {path.rpartition(".")[2]: path for path in sorted(filter(_LAYER.fullmatch, paths))}
    yield from _made(*_over_tokens(), *_layers(network, layers.values()))


def embedded(added: Mapping[str, np.ndarray]) -> Mistake:
    """A position embedding added to the tokens. ``added``: each block's, by its path, (N, D): the same for every pixel
    of a patch.
    """

    def unfold(compute: Compute, x: np.ndarray, scope: Scope, *rest: Any) -> np.ndarray:
        return np.asarray(compute(x, scope, *rest) + added.get(scope.path.removesuffix(".unfolding"), 0))

    (made,) = _made(("a position embedding is added to the tokens, and MobileViT has none", ("*.unfolding", unfold)))
    return made


def _made(*found: Variant) -> Iterator[Mistake]:
    for sentence, *replacements in found:
        name = " ".join([sentence, *(pattern for pattern, _ in replacements)])  # no two are called the same
        yield Mistake(name, sentence, "", tuple(replacements), "", "")


def _activations(config: NetworkConfig, reached: Collection[str]) -> Iterator[Variant]:
    rights = {
        "relu" if path.startswith("segmentation_head.") else config.hidden_act
        for path in reached
        if path.endswith((".activation", ".intermediate_act_fn"))
    }
    for right in sorted(each for each in rights if isinstance(each, str)):
        others = {
            wrong: planting.activate_by(right, wrong)
            for wrong, (_, learned) in ACTIVATIONS.items()
            if not learned and wrong != right
        }
        others |= {f"a leaky ReLU of slope {slope:.2g}": _leaky(right, slope) for slope in _SLOPES}
        for wrong, activate in others.items():
            sentence = f"the activation is {wrong}, and should be {right}"
            yield sentence, ("*.activation", activate), ("*.intermediate_act_fn", activate)


def _leaky(right: str, slope: float) -> Compute:
    def activate(compute: Compute, x: np.ndarray, scope: Scope, name: str) -> np.ndarray:
        return np.where(x > 0, x, x.dtype.type(slope) * x) if name == right else compute(x, scope, name)

    return activate


def _left_out(reached: Collection[str]) -> Iterator[Variant]:
    for path in reached:
        if path.endswith(_SKIPPED) or _LAYER.fullmatch(path):
            yield f"{path} is left out", (_NUMBER.sub(".?", path), planting.skip)


# -- norms -------------------------------------------------------------------------------------------------------------


def _norms() -> Iterator[Variant]:
    for eps in EPS:
        yield f"its eps is {eps:.3g}", (_NORM, planting.with_eps(eps))
        yield f"its eps is {eps:.3g}", ("*.normalization", planting.with_eps(eps))
    yield from _over_tokens()
    yield "the layer norm doesn't subtract the mean", (_NORM, partial(_normalized, centered=False))
    yield "the layer norm adds its eps to the deviation, not to the variance", (_NORM, partial(_normalized, root=True))


def _over_tokens() -> Iterator[Variant]:
    yield "the layer norm is over the tokens, not the features", (_NORM, partial(_normalized, axis=1))
    yield "the layer norm is over tokens and features together", (_NORM, partial(_normalized, axis=(1, 2)))


def _normalized(
    compute: Compute,
    x: np.ndarray,
    scope: Scope,
    *,
    eps: float,
    axis: int | tuple[int, ...] = -1,
    centered: bool = True,
    root: bool = False,
) -> np.ndarray:
    centered_x = x - x.mean(axis, keepdims=True) if centered else x
    variance = np.square(centered_x).mean(axis, keepdims=True)
    deviation = np.sqrt(variance) + eps if root else np.sqrt(variance + eps)
    return np.asarray(centered_x / deviation * scope["weight"] + scope["bias"])


# -- attention ---------------------------------------------------------------------------------------------------------


def _attention(config: NetworkConfig) -> Iterator[Variant]:
    right = config.num_attention_heads
    for heads in (2, 3, 4, 5, 6, 10, 12, 16):
        if heads != right:
            yield (
                f"it attends with {heads} heads, and should with {right}",
                (_ATTENTION, planting.attend_with_heads(heads)),
            )
    for sentence, scale in _SCALES.items():
        yield f"the attention scores are {sentence}", (_WEIGHTS, _scaled_by(scale))
    yield "the softmax is over the heads, not the keys", (_WEIGHTS, _softmax_over_heads)
    yield "the softmax is taken twice", (_WEIGHTS, lambda compute, *rest, **_: ops.softmax(compute(*rest)))
    yield "each token attends to those before it alone: a causal mask", (_WEIGHTS, _causal)
    yield "keys and values are exchanged", (_ATTENTION, _in_roles(0, 2, 1))
    yield "queries and values are exchanged", (_ATTENTION, _in_roles(2, 1, 0))
    yield "each token attends to its own heads: a transpose is missing before", (_ATTENTION, _over_heads)
    yield "the features are split into heads as (d, heads), not (heads, d)", (_ATTENTION, _heads_last)
    for order in _rotations(right) + [list(range(right))[::-1]] * (right > 2):
        merged, values = (partial(_heads_ordered, order=order, values=values) for values in (False, True))
        yield f"the heads are put together in the order {order}", (_ATTENTION, merged)
        yield f"the values' heads are in the order {order}, the weights' are not", (_ATTENTION, values)


def _rotations(count: int) -> list[list[int]]:
    """Every rotation of 0, 1, ... that isn't the order itself."""
    whole = list(range(count))
    return [whole[turn:] + whole[:turn] for turn in whole[1:]]


def _scaled_by(scale: Callable[[int, int], float]) -> Compute:
    def weigh(compute: Compute, query: np.ndarray, scope: Scope, key: np.ndarray, heads: int, **_: Any) -> np.ndarray:
        width = query.shape[-1]
        return compute(query, scope, key, heads, scale=scale(width // heads, width))

    return weigh


def _scores(query: np.ndarray, key: np.ndarray, heads: int) -> np.ndarray:
    """(B*P, N, D), (B*P, N, D) -> (B*P, h, N, N)"""
    query, key = ops.split_heads(query, heads), ops.split_heads(key, heads)
    return query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1])


def _softmax_over_heads(
    compute: Compute, query: np.ndarray, scope: Scope, key: np.ndarray, heads: int, **_: Any
) -> np.ndarray:
    return np.moveaxis(ops.softmax(np.moveaxis(_scores(query, key, heads), 1, -1)), -1, 1)


def _causal(compute: Compute, query: np.ndarray, scope: Scope, key: np.ndarray, heads: int, **_: Any) -> np.ndarray:
    scores = _scores(query, key, heads)
    return ops.softmax(np.where(np.tri(scores.shape[-1], dtype=bool), scores, -1e30))


def _in_roles(*order: int) -> Compute:
    def attend(compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
        parts = planting.projections(x, scope, config)
        query, key, value = (parts[i] for i in order)
        weights = model.attention_probabilities(query, scope / "probabilities", key, config.num_attention_heads)
        return ops.attend(weights, value)

    return attend


def _over_heads(compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    heads = config.num_attention_heads
    query, key, value = (each.reshape(*x.shape[:2], heads, -1) for each in planting.projections(x, scope, config))
    weights = ops.softmax(query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1]))  # (B*P, N, h, h)
    return np.asarray(weights @ value).reshape(x.shape)


def _heads_last(compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    heads, D = config.num_attention_heads, x.shape[-1]
    order = np.arange(D).reshape(D // heads, heads).T.ravel()  # (d, heads) -> (heads, d)
    query, key, value = (each[..., order] for each in planting.projections(x, scope, config))
    gathered = ops.attend(ops.softmax(_scores(query, key, heads)), value)
    return gathered[..., np.argsort(order)]


def _heads_ordered(
    compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig, *, order: list[int], values: bool
) -> np.ndarray:
    def ordered(features: np.ndarray) -> np.ndarray:
        return ops.merge_heads(ops.split_heads(features, len(order))[:, order])

    if not values:
        return ordered(compute(x, scope, config))
    query, key, value = planting.projections(x, scope, config)
    weights = model.attention_probabilities(query, scope / "probabilities", key, config.num_attention_heads)
    return ops.attend(weights, ordered(value))


# -- convolutions, and what they're fed --------------------------------------------------------------------------------


def _convolutions(network: Network, reached: Collection[str]) -> Iterator[Variant]:
    for path in reached:
        weight = network.tensors.get(f"{path}.weight")
        if weight is not None and weight.ndim == 4 and weight.shape[-1] > 1:
            for dilation in _DILATIONS:
                yield f"its dilation is {dilation}", (path, partial(_dilated, rate=dilation))
    yield "the fusion's two inputs are interleaved, channel by channel", ("*.fusion", _changed(_interleaved))
    for half, name in enumerate(("residual", "projection")):
        yield f"the fusion is fed the {name} twice", ("*.fusion", _changed(partial(_doubled, half=half)))
    for branch in range(_BRANCHES):
        yield f"ASPP's branch {branch} is left out", (_PROJECT, _changed(partial(_without, branch=branch)))
    whole = range(_BRANCHES)
    exchanged = [[{i: j, j: i}.get(branch, branch) for branch in whole] for i, j in combinations(whole, 2)]
    for order in _rotations(_BRANCHES) + exchanged:
        yield f"ASPP's branches are in the order {order}", (_PROJECT, _changed(partial(_ordered, order=order)))


def _dilated(compute: Compute, x: np.ndarray, scope: Scope, *, rate: int, **kwargs: Any) -> np.ndarray:
    return compute(x, scope, **{**kwargs, "dilation": rate})


def _changed(change: Callable[[np.ndarray], np.ndarray]) -> Compute:
    def fed(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
        return compute(change(x), scope, **kwargs)

    return fed


def _interleaved(x: np.ndarray) -> np.ndarray:
    return np.stack(np.split(x, 2, axis=1), axis=2).reshape(x.shape)


def _doubled(x: np.ndarray, half: int) -> np.ndarray:
    return np.concatenate([np.split(x, 2, axis=1)[half]] * 2, axis=1)


def _without(x: np.ndarray, branch: int) -> np.ndarray:
    parts = np.split(x, _BRANCHES, axis=1)
    return np.concatenate([part * (i != branch) for i, part in enumerate(parts)], axis=1)


def _ordered(x: np.ndarray, order: list[int]) -> np.ndarray:
    parts = np.split(x, _BRANCHES, axis=1)
    return np.concatenate([parts[i] for i in order], axis=1)


# -- residuals ---------------------------------------------------------------------------------------------------------


def _layers(network: Network, reached: Collection[str]) -> Iterator[Variant]:
    twice = partial(_twice, network=network)
    for path in filter(_LAYER.fullmatch, reached):
        yield f"{path} is run twice", (_EVERY_LAYER, twice)
        itself = f"*.transformer.layer.{path.rpartition('.')[2]}"  # in every stage
        yield f"{path} is run twice", (itself, twice)
        yield f"{path} is left out", (itself, planting.skip)
    before_norm = ("mobilevit.encoder.layer.?.layer.?", _residual_before_norm)
    yield "the input is added before the batch norm, not after it", before_norm
    yield "the block's input is added to what it gives", (_STAGE, _added("*.downsampling_layer", ""))
    around_all = (_STAGE, _added("*.unfolding", "*.layernorm"))
    yield "the tokens before the transformer are added to those after it", around_all
    yield "attention and feed-forward run side by side, on the same input", (_EVERY_LAYER, _side_by_side)
    for attention, feed_forward in ((True, False), (False, True), (True, True)):
        where = " and ".join(["attention"] * attention + ["feed-forward"] * feed_forward)
        layer = partial(_normed_residuals, attention=attention, feed_forward=feed_forward)
        yield f"around the {where} it adds what was normalized, not the sum before", (_EVERY_LAYER, layer)


def _twice(compute: Compute, x: np.ndarray, scope: Scope, *args: Any, network: Network) -> np.ndarray:
    first = compute(x, scope, *args)
    return compute(first, network.scope(first.dtype) / scope.path, *args)  # not what the port's parts gave at first


def _residual_before_norm(
    compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig, out_channels: int, **kwargs: Any
) -> np.ndarray:
    if kwargs.get("stride", 1) != 1 or x.shape[1] != out_channels:
        return compute(x, scope, config, out_channels, **kwargs)

    def normalize(norm: Compute, y: np.ndarray, here: Scope, **options: Any) -> np.ndarray:
        return norm(y + x, here, **options)

    inside = scope.wrap("*.reduce_1x1.normalization", normalize)
    return compute(x, inside, config, out_channels, **kwargs) - x


def _added(heard: str, at: str) -> Compute:
    """What the module ``heard`` gives in a stage, added to what ``at`` gives, or, if that's empty, the stage itself."""

    def stage(compute: Compute, x: np.ndarray, scope: Scope, *args: Any, **kwargs: Any) -> np.ndarray:
        given: list[np.ndarray] = []

        def add(inner: Compute, y: np.ndarray, here: Scope, *rest: Any, **options: Any) -> np.ndarray:
            out = inner(y, here, *rest, **options)
            return out + given[-1] if given else out

        listening = scope.listen(lambda _, output: given.append(output), heard)
        if at:
            return compute(x, listening.wrap(at, add), *args, **kwargs)
        return add(compute, x, listening, *args, **kwargs)

    return stage


def _side_by_side(compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    eps = config.layer_norm_eps
    attended = model.attention(model.layer_norm(x, scope / "layernorm_before", eps=eps), scope / "attention", config)
    normed = model.layer_norm(x, scope / "layernorm_after", eps=eps)
    y = model.feed_forward_in(normed, scope / "intermediate", config)
    return model.feed_forward_out(y, scope / "output", x + attended)


def _normed_residuals(
    compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig, *, attention: bool, feed_forward: bool
) -> np.ndarray:
    normed = model.layer_norm(x, scope / "layernorm_before", eps=config.layer_norm_eps)
    x = (normed if attention else x) + model.attention(normed, scope / "attention", config)
    normed = model.layer_norm(x, scope / "layernorm_after", eps=config.layer_norm_eps)
    y = model.feed_forward_in(normed, scope / "intermediate", config)
    return model.feed_forward_out(y, scope / "output", normed if feed_forward else x)


# -- patches -----------------------------------------------------------------------------------------------------------


def _patches() -> Iterator[Variant]:
    yield "the tokens are multiplied by the root of their width", ("*.unfolding", _enlarged)
    for what, order in (
        ("a patch's pixels are taken column by column", _pixels_by_column),
        ("the patches are taken column by column", _patches_by_column),
        ("the map is cut into runs of pixels, not into patches", _runs),
    ):
        unfold, fold = ("*.unfolding", partial(_unfolded, order=order)), ("*.folding", partial(_folded, order=order))
        yield f"{what}, in the unfold and in the fold", unfold, fold
        yield f"{what}, in the unfold alone", unfold
        yield f"{what}, in the fold alone", fold


def _enlarged(compute: Compute, x: np.ndarray, scope: Scope, patch_size: int) -> np.ndarray:
    return compute(x, scope, patch_size) * math.sqrt(x.shape[1])


def _pixels_by_column(places: np.ndarray) -> np.ndarray:
    return places.swapaxes(0, 1)


def _patches_by_column(places: np.ndarray) -> np.ndarray:
    return places.swapaxes(2, 3)


def _runs(places: np.ndarray) -> np.ndarray:
    return places.transpose(2, 0, 3, 1).reshape(-1, places.shape[0] ** 2).T  # the map, row by row, in runs of p*p


def _order(order: Callable[[np.ndarray], np.ndarray], patch_size: int, size: tuple[int, int]) -> np.ndarray:
    """Which of the right tokens stands at each place: ``order`` turns the places, (p, p, rows, columns)."""
    rows, columns = (side // patch_size for side in model.whole_patches(size, patch_size))
    shape = patch_size, patch_size, rows, columns
    return order(np.arange(math.prod(shape)).reshape(shape)).ravel()


def _rearranged(tokens: np.ndarray, order: np.ndarray) -> np.ndarray:
    """(B*P, N, D) -> (B*P, N, D)"""
    return tokens.reshape(-1, len(order), tokens.shape[2])[:, order].reshape(tokens.shape)


def _unfolded(
    compute: Compute,
    x: np.ndarray,
    scope: Scope,
    patch_size: int,
    *,
    order: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    return _rearranged(compute(x, scope, patch_size), _order(order, patch_size, (x.shape[2], x.shape[3])))


def _folded(
    compute: Compute,
    patches: np.ndarray,
    scope: Scope,
    patch_size: int,
    size: tuple[int, int],
    *,
    order: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    places = np.argsort(_order(order, patch_size, size))
    return compute(_rearranged(patches, places), scope, patch_size, size)


# -- the classifier ----------------------------------------------------------------------------------------------------


def _pooling(network: Network) -> Iterator[Variant]:
    if network.task != "classifier" or not network.config.num_labels:
        return
    for sentence, pool in _POOLS.items():
        yield sentence, ("", partial(_pooled, pool=pool))


def _pooled(
    compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig, *, pool: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    return model.linear(pool(model.backbone(x, scope / "mobilevit", config)), scope / "classifier")


def _mean(x: np.ndarray) -> np.ndarray:
    return x.mean(axis=(2, 3))
