"""A real call of every public function of ops and model, at sizes that can be chosen.

``EXAMPLES`` maps a function's name to builders; a builder takes sizes by the names of axes and gives (arguments,
keywords). Used three ways: the shape lines of docstrings are held against the first builder's call (where different
symbols have different numbers), Python calls are counted as axes double, and dtypes are followed from the inputs to the
results.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from parameters import draw, photo

from mobilevit_np.config import NetworkConfig
from mobilevit_np.ops import ACTIVATIONS
from mobilevit_np.scope import Scope

Call = tuple[tuple[Any, ...], dict[str, Any]]
Builder = Callable[..., Call]


def array(*shape: int, dtype: object = np.float64) -> np.ndarray:
    """Drawn numbers around 0, of order 1, the same every time."""
    return (4 * np.random.RandomState(sum(shape)).random_sample(shape) - 2).astype(np.float32).astype(dtype)


def positive(*shape: int) -> np.ndarray:
    return np.abs(array(*shape)) + 0.5


def call(*arguments: Any, **keywords: Any) -> Call:
    return arguments, keywords


@dataclass
class Network:
    """A network small enough to build at every turn, its axes apart from each other, and scopes into its parameters."""

    config: NetworkConfig
    scope: Scope

    @classmethod
    def build(
        cls, head: str = "classifier", *, C: int = 3, D: int = 8, h: int = 2, K: int = 5, wide: int = 1
    ) -> "Network":
        config = NetworkConfig(
            num_channels=C,
            hidden_sizes=[D, 12 * wide, 16 * wide],
            neck_hidden_sizes=[n * wide for n in (4, 4, 6, 10, 14, 18, 22)],
            num_attention_heads=h,
            mlp_ratio=3.0,
            expand_ratio=4.0,
            atrous_rates=[1, 2, 3],
            aspp_out_channels=7 * wide,
            num_labels=K,
        )
        return cls(config, Scope(draw(config, head)))

    def at(self, path: str) -> Scope:
        scope = self.scope
        for name in path.split("."):
            scope = scope / name
        return scope

    def photo(self, B: int, H: int, W: int) -> np.ndarray:
        return photo(self.config, (H, W), B)


L3 = "mobilevit.encoder.layer.2"
LAYER = f"{L3}.transformer.layer.0"


# -- ops ---------------------------------------------------------------------------------------------------------------


def elementwise(*parameters: Any) -> Builder:
    return lambda B=2, C=3, H=5, W=7: call(array(B, C, H, W), *parameters)


def conv_grouped(B: int = 3, C: int = 4, H: int = 11, W: int = 13, O: int = 8) -> Call:  # noqa: E741
    return call(array(B, C, H, W), array(O, C // 2, 1, 5), array(O), stride=2, padding=1, groups=2)


def conv_dense(B: int = 2, C: int = 3, H: int = 5, W: int = 7, O: int = 4) -> Call:  # noqa: E741
    return call(array(B, C, H, W), array(O, C, 3, 3), padding=2, dilation=2)


def conv_pointwise(B: int = 2, C: int = 3, H: int = 5, W: int = 7, O: int = 4) -> Call:  # noqa: E741
    return call(array(B, C, H, W), array(O, C, 1, 1), array(O))


def conv_depthwise(B: int = 2, C: int = 3, H: int = 5, W: int = 7) -> Call:
    return call(array(B, C, H, W), array(C, 1, 3, 3), stride=2, padding=1, groups=C)


def conv_multiplied(B: int = 2, C: int = 3, H: int = 5, W: int = 7) -> Call:
    return call(array(B, C, H, W), array(2 * C, 1, 3, 3), padding=1, groups=C)


def batch_norm(B: int = 2, C: int = 3, H: int = 5, W: int = 7) -> Call:
    return call(array(B, C, H, W), array(C), array(C), array(C), positive(C))


def layer_norm(B: int = 2, N: int = 3, D: int = 5) -> Call:
    return call(array(B, N, D), array(D), array(D))


def linear(B: int = 2, N: int = 3, D: int = 5, O: int = 7) -> Call:  # noqa: E741
    return call(array(B, N, D), array(O, D), array(O))


def split_heads(B: int = 2, N: int = 5, h: int = 3, d: int = 4) -> Call:
    return call(array(B, N, h * d), h)


def merge_heads(B: int = 2, N: int = 5, h: int = 3, d: int = 4) -> Call:
    return call(array(B, h, N, d))


def attention(B: int = 2, N: int = 5, h: int = 3, d: int = 4) -> Call:
    return call(array(B, N, h * d), array(B, N, h * d) / 2, array(B, N, h * d) / 3, h)


def scores(B: int = 2, N: int = 5, h: int = 3, d: int = 4) -> Call:
    return call(array(B, N, h * d), array(B, N, h * d) / 2, h)


def attend(B: int = 2, N: int = 5, h: int = 3, d: int = 4) -> Call:
    return call(positive(B, h, N, N) / N, array(B, N, h * d))


def unfold(B: int = 3, D: int = 7, H: int = 6, W: int = 10) -> Call:
    return call(array(B, D, H, W), 2)


def fold(B: int = 3, D: int = 7, H: int = 6, W: int = 10) -> Call:
    return call(array(B * 4, H * W // 4, D), 2, (H, W))


def maps(B: int = 2, C: int = 3, H: int = 5, W: int = 7) -> Call:
    return call(array(B, C, H, W))


def resize(B: int = 2, C: int = 3, H: int = 5, W: int = 7) -> Call:
    return call(array(B, C, H, W), (2 * H + 1, 2 * W - 1))


def cross_entropy(B: int = 2, C: int = 3, H: int = 5, W: int = 7) -> Call:
    return call(array(B, C, H, W), np.arange(B * H * W).reshape(B, H, W) % 3)


def segmentation_loss(B: int = 2, C: int = 3, H: int = 5, W: int = 7) -> Call:
    labels = np.arange(B * (2 * H) * (W + 4)).reshape(B, 2 * H, W + 4) % 3
    return call(array(B, C, H, W), labels)


def pair(B: int = 2, C: int = 3) -> Call:
    return call(array(B, C), positive(B, C) / 3)


# -- layers and networks -----------------------------------------------------------------------------------------------


def of(path: str, *shape: str, head: str = "classifier", **keywords: Any) -> Builder:
    """A call of a layer that takes (x, scope), x's axes named by ``shape`` (numbers stand for themselves)."""

    def build(B: int = 2, H: int = 3, W: int = 9, N: int = 5, h: int = 2) -> Call:
        sizes = {"B": B, "H": H, "W": W, "N": N, "BP": 6 * B}
        x = array(*(sizes[name] if name in sizes else int(name) for name in shape))
        net = Network.build(head, h=h)
        extra = {k: net.config if k == "config" else v for k, v in keywords.items()}
        return call(x, net.at(path), **extra)

    return build


def folding(B: int = 3, D: int = 7, H: int = 6, W: int = 10) -> Call:
    return call(array(B * 4, H * W // 4, D), Scope({}), 2, (H, W))


def unfolding(B: int = 3, D: int = 7, H: int = 6, W: int = 10) -> Call:
    return call(array(B, D, H, W), Scope({}), 2)


def feed_forward_out(B: int = 2, N: int = 5) -> Call:
    return call(array(6 * B, N, 24), Network.build().at(f"{LAYER}.output"), array(6 * B, N, 8))


def encoder(B: int = 3, H: int = 96, W: int = 32, h: int = 2) -> Call:
    net = Network.build(h=h)
    return call(array(B, 4, H, W), net.at("mobilevit.encoder"), net.config)


def layer_probabilities(B: int = 2, N: int = 5, h: int = 2) -> Call:
    return call(array(6 * B, N, 8), Scope({}), array(6 * B, N, 8) / 2, h)


def network(head: str) -> Builder:
    def build(B: int = 1, C: int = 3, H: int = 64, W: int = 128, h: int = 2, wide: int = 1) -> Call:
        net = Network.build(head, C=C, D=8 * wide, h=h, wide=wide)
        return call(net.photo(B, H, W), net.scope, net.config)

    return build


def just_backbone(B: int = 1, C: int = 3, H: int = 64, W: int = 128, h: int = 2) -> Call:
    net = Network.build(C=C, h=h)
    return call(net.photo(B, H, W), net.at("mobilevit"), net.config)


_ACTIVATION_PARAMETERS = {"prelu": (1,), "xielu": (1, 1, 0, 0)}  # how many axes each learned parameter has


def activation_parameters(name: str) -> list[np.ndarray]:
    """Learned parameters for the activation of that name, as transformers initializes them or near."""
    values = {"weight": 0.25, "alpha_p": 0.3, "alpha_n": 0.4, "beta": 0.5, "eps": -1e-6}
    axes = _ACTIVATION_PARAMETERS.get(name, ())
    return [np.full((1,) * n, values[k]) for n, k in zip(axes, ACTIVATIONS[name][1], strict=True)]


EXAMPLES: dict[str, list[Builder]] = {
    **{
        f"ops.activation.{each.__name__}": [elementwise(*activation_parameters(name))]
        for name, (each, _) in ACTIVATIONS.items()
    },
    "ops.activation.softplus": [elementwise()],
    "ops.activation.softmax": [maps],
    "ops.error_function.erfc": [elementwise()],
    "ops.convolution.conv2d": [conv_grouped, conv_dense, conv_pointwise, conv_depthwise, conv_multiplied],
    "ops.normalization.batch_norm": [batch_norm],
    "ops.normalization.layer_norm": [layer_norm],
    "ops.linear.linear": [linear],
    "ops.attention.split_heads": [split_heads],
    "ops.attention.merge_heads": [merge_heads],
    "ops.attention.attention_probabilities": [scores],
    "ops.attention.attend": [attend],
    "ops.attention.multi_head_attention": [attention],
    "ops.patches.unfold_to_patches": [unfold],
    "ops.patches.fold_from_patches": [fold],
    "ops.resize.best_class_at_size": [resize],
    "ops.resize.resize_bilinear": [resize],
    "ops.pooling.global_average_pool": [maps],
    "ops.pooling.global_pool": [maps],
    "ops.losses.mean_squared_error": [pair],
    "ops.losses.binary_cross_entropy_with_logits": [pair],
    "ops.losses.cross_entropy": [cross_entropy],
    "ops.losses.semantic_segmentation_loss": [segmentation_loss],
    "model.convolution": [of("mobilevit.conv_stem.convolution", "B", "3", "11", "15", stride=2)],
    "model.batch_norm": [of("mobilevit.conv_stem.normalization", "B", "4", "H", "W")],
    "model.layer_norm": [of(f"{L3}.layernorm", "BP", "N", "8", eps=1e-5)],
    "model.linear": [of("classifier", "B", "N", "22")],
    "model.activation": [of("mobilevit.conv_stem.activation", "B", "4", "H", "W", name="silu")],
    "model.conv_layer": [of("mobilevit.conv_stem", "B", "3", "11", "15", act="silu", stride=2)],
    "model.inverted_residual": [
        of(f"{L3}.downsampling_layer", "B", "6", "11", "15", config=None, out_channels=10, stride=2),
        of("mobilevit.encoder.layer.0.layer.0", "B", "4", "H", "W", config=None, out_channels=4),
    ],
    "model.mobilevit_block": [
        of(L3, "B", "10", "3", "7", config=None, depth=2),
        of(L3, "B", "10", "H", "W", config=None, depth=2),
    ],
    "model.transformer": [of(f"{L3}.transformer", "BP", "N", "8", config=None, depth=2)],
    "model.unfolding": [unfolding],
    "model.folding": [folding],
    "model.whole_patches": [lambda: call((5, 9), 4)],
    "model.transformer_layer": [of(LAYER, "BP", "N", "8", config=None)],
    "model.attention": [of(f"{LAYER}.attention", "BP", "N", "8", config=None)],
    "model.self_attention": [of(f"{LAYER}.attention.attention", "BP", "N", "8", config=None)],
    "model.attention_probabilities": [layer_probabilities],
    "model.attention_out": [of(f"{LAYER}.attention.output", "BP", "N", "8")],
    "model.feed_forward_in": [of(f"{LAYER}.intermediate", "BP", "N", "8", config=None)],
    "model.feed_forward_out": [feed_forward_out],
    "model.aspp": [of("segmentation_head.aspp", "B", "18", "H", "W", head="segmenter", config=None)],
    "model.aspp_pooling": [of("segmentation_head.aspp.convs.4", "B", "18", "H", "W", head="segmenter")],
    "model.global_pool": [of("segmentation_head.aspp.convs.4.global_pool", "B", "18", "H", "W", head="segmenter")],
    "model.deeplabv3": [of("segmentation_head", "B", "18", "H", "W", head="segmenter", config=None)],
    "model.mobilenet_stage": [
        of("mobilevit.encoder.layer.1", "B", "4", "15", "19", config=None, out_channels=6, stride=2, depth=3)
    ],
    "model.mobilevit_stage": [
        of(L3, "B", "6", "15", "21", config=None, out_channels=10, stride=2, dilation=1, depth=2)
    ],
    "model.encoder": [encoder],
    "model.backbone": [just_backbone],
    "model.classifier": [network("classifier")],
    "model.segmenter": [network("segmenter")],
}


def function(name: str) -> Callable[..., Any]:
    """The function that an example calls."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(f"mobilevit_np.{module}"), attribute)
