"""Every activation of every network against transformers', on drawn parameters: float64 to 1e-12, float32 to 1e-5.

The three published sizes run at a few photo sizes; drawn configurations of a cut-down network run in combinations in
which every pair of values of any two settings occurs. Oracle: transformers' PyTorch classes, through forward hooks.
"""

import itertools

import drawing
import numpy as np
import pytest
from oracle import CLASSES, LIMITS, Case, assert_same, compare
from transformers import MobileViTConfig

from mobilevit_np import ops
from mobilevit_np.checkpoints import parameter_shapes
from mobilevit_np.config import VARIANTS, NetworkConfig

PUBLISHED = [  # (variant, task, output stride, batch, height, width)
    ("small", "classifier", 32, 1, 256, 256),
    ("small", "segmenter", 16, 1, 97, 131),
    ("small", "segmenter", 8, 3, 64, 48),
    ("x_small", "classifier", 32, 1, 300, 211),
    ("x_small", "segmenter", 16, 3, 32, 32),
    ("x_small", "backbone", 8, 1, 97, 131),
    ("xx_small", "classifier", 32, 3, 97, 131),
    ("xx_small", "classifier", 16, 1, 7, 5),
    ("xx_small", "segmenter", 16, 1, 256, 256),
    ("xx_small", "segmenter", 8, 1, 300, 211),
]
SETTINGS = {  # what a drawn configuration chooses from
    "task": ("classifier", "segmenter", "backbone", "backbone without expansion"),
    "size": ((64, 48), (32, 32), (7, 5), (97, 131)),  # the larger ones are for the published sizes
    "batch": (1, 3),
    "output_stride": (32, 16, 8),
    "patch_size": (2, 1, 4),
    "conv_kernel_size": (3, 1, 5),
    "num_channels": (3, 1, 4),
    "num_attention_heads": (4, 1, 8),
    "mlp_ratio": (2.0, 1.0, 3.3),
    "expand_ratio": (2.0, 1.0, 4.6),
    "qkv_bias": (True, False),
    "hidden_act": ("silu", "gelu", "relu"),
    "atrous_rates": ((6, 12, 18), (1, 2, 3), (12, 24, 36)),
    "aspp_out_channels": (16, 8),
    "layer_norm_eps": (1e-5, 1e-3),
    "num_labels": (7, 1, 2),
    "neck_hidden_sizes": ((8, 8, 16, 16, 24, 24, 32), (8, 16, 8, 20, 12, 28, 40)),
}


def pairwise(settings: dict[str, tuple]) -> list[dict]:
    """Few combinations in which every pair of values of any two settings occurs; greedy, the same every time."""
    open_pairs = {
        ((a, i), (b, j))
        for a, b in itertools.combinations(settings, 2)
        for i in range(len(settings[a]))
        for j in range(len(settings[b]))
    }
    found = []
    while open_pairs:
        (a, i), (b, j) = min(open_pairs)
        chosen = {a: i, b: j}
        for name in settings:
            if name not in chosen:
                chosen[name] = max(
                    range(len(settings[name])), key=lambda k: (len(_pairs({**chosen, name: k}) & open_pairs), -k)
                )
        open_pairs -= _pairs(chosen)
        found.append({name: settings[name][chosen[name]] for name in settings})
    return found


def _pairs(chosen: dict[str, int]) -> set:
    ordered = [(name, chosen[name]) for name in SETTINGS if name in chosen]
    return set(itertools.combinations(ordered, 2))


DRAWN = pairwise(SETTINGS)


def published(variant, task, output_stride, batch, height, width) -> tuple[Case, np.ndarray]:
    case = Case(task, **VARIANTS[variant], output_stride=output_stride, num_labels=21)
    return case, drawing.draw_pixels((batch, 3, height, width))


def drawn(number: int) -> tuple[Case, np.ndarray]:
    values = dict(DRAWN[number])
    task, _, without = values.pop("task").partition(" ")
    size, batch = values.pop("size"), values.pop("batch")
    case = Case(task, seed=number, expand_output=not without, hidden_sizes=[16, 24, 32], **values)
    return case, drawing.draw_pixels((batch, values["num_channels"], *size), seed=number)


@pytest.mark.parametrize("chosen", PUBLISHED, ids=str)
@pytest.mark.parametrize("dtype", LIMITS)
def test_published_sizes(chosen, dtype):
    compare(*published(*chosen), dtype)


@pytest.mark.parametrize("number", range(len(DRAWN)))
@pytest.mark.parametrize("dtype", LIMITS)
def test_drawn_configurations(number, dtype):
    compare(*drawn(number), dtype)


def test_drawn_configurations_cover_all_pairs():
    for a, b in itertools.combinations(SETTINGS, 2):
        assert {(values[a], values[b]) for values in DRAWN} == set(itertools.product(SETTINGS[a], SETTINGS[b]))


@pytest.mark.parametrize("task", CLASSES)
@pytest.mark.parametrize("hidden_act", ["silu", "prelu", "xielu"])
def test_parameter_shapes(task, hidden_act):
    values = {"hidden_act": hidden_act, "num_labels": 5, "qkv_bias": hidden_act != "prelu"}
    theirs = {
        name: tuple(tensor.shape) for name, tensor in CLASSES[task](MobileViTConfig(**values)).state_dict().items()
    }
    assert parameter_shapes(NetworkConfig(**values), task, counters=True) == theirs


# Broken on purpose: the comparison must notice, at its limits, in both dtypes.


def residual_last(compute, x, scope, **options):
    """The fusion's input the other way round."""
    return compute(np.concatenate(np.split(x, 2, axis=1)[::-1], axis=1), scope, **options)


def larger_eps(compute, x, scope, *, eps):
    """TensorFlow's default epsilon in batch norm has a relative in layer norm."""
    return compute(x, scope, eps=1e-3)


def plain_reshape(compute, x, scope, patch_size):
    """The unfolded shape, by reshape alone: right where the map is one patch."""
    patches = compute(x, scope, patch_size)
    return patches if patches.size != x.size else x.transpose(0, 2, 3, 1).reshape(patches.shape)


def tanh_gelu(compute, x, scope, name):
    """Another activation than the one named."""
    return ops.ACTIVATIONS["gelu_tanh" if name == "gelu" else "gelu"][0](x)


@pytest.mark.parametrize(
    ("pattern", "mistake"),
    [
        ("*.fusion", residual_last),
        ("*.layernorm*", larger_eps),
        ("*.unfolding", plain_reshape),
        ("*.activation", tanh_gelu),
    ],
)
@pytest.mark.parametrize("dtype", LIMITS)
def test_comparison_notices_mistakes(pattern, mistake, dtype):
    case = Case("classifier", **drawing.CUT_DOWN)
    pixel_values = drawing.draw_pixels((1, 3, 64, 64))
    theirs = case.theirs(pixel_values, dtype)
    assert_same(theirs, case.ours(pixel_values, dtype), LIMITS[dtype])
    with pytest.raises(AssertionError, match="exceeds"):
        assert_same(theirs, case.ours(pixel_values, dtype, (pattern, mistake)), LIMITS[dtype])


def test_comparison_notices_a_missing_activation():
    case = Case("segmenter", **drawing.CUT_DOWN)
    pixel_values = drawing.draw_pixels((1, 3, 32, 32))
    ours = case.ours(pixel_values, np.float64)
    del ours["mobilevit.encoder.layer.2.folding"]
    with pytest.raises(AssertionError, match="folding"):
        assert_same(case.theirs(pixel_values, np.float64), ours, LIMITS[np.float64])
