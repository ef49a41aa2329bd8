"""NetworkConfig: what it accepts, what it refuses by name, and the derived numbers, against the paper's table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parameters import shapes

from mobilevit_np.config import VARIANTS, NetworkConfig, make_divisible
from mobilevit_np.errors import ConfigError

PARAMETERS = {  # transformers' own counts; running statistics aren't parameters
    ("xx_small", "classifier", 1000): 1_272_024,
    ("x_small", "classifier", 1000): 2_317_848,
    ("small", "classifier", 1000): 5_578_632,
    ("xx_small", "segmenter", 21): 1_854_853,
    ("x_small", "segmenter", 21): 2_944_069,
    ("small", "segmenter", 21): 6_357_941,
}


@pytest.mark.parametrize(("key", "expected"), PARAMETERS.items())
def test_parameter_counts(key, expected):
    variant, head, num_labels = key
    config = NetworkConfig(**VARIANTS[variant], num_labels=num_labels)
    count = 0
    for name, shape in shapes(config, head).items():
        size = 1
        for length in shape:
            size *= length
        count += 0 if "running" in name else size
    assert count == expected


def test_defaults_are_the_small_variant():
    assert NetworkConfig() == NetworkConfig(**VARIANTS["small"])


@given(st.floats(0.1, 5000), st.sampled_from([1, 4, 8, 16]))
def test_make_divisible(value, divisor):
    """The nearest multiple, halves up, at least one, but the next where that took off more than a tenth."""
    found = make_divisible(value, divisor)
    assert found % divisor == 0
    assert found >= divisor
    assert found >= 0.9 * value
    assert found <= max(value + divisor, divisor)
    if found > divisor and found - divisor >= 0.9 * value:  # then it's no rescue from the tenth, but the nearest
        assert found - value <= divisor / 2


def test_make_divisible_by_hand():
    assert [make_divisible(v) for v in (1, 8, 11, 12, 13, 20, 36, 64)] == [8, 8, 16, 16, 16, 24, 40, 64]


@pytest.mark.parametrize(
    ("stride", "expected"),
    [(32, ((2, 1), (2, 1), (2, 1))), (16, ((2, 1), (2, 1), (1, 1))), (8, ((2, 1), (1, 1), (1, 2)))],
)
def test_downsampling(stride, expected):
    assert NetworkConfig(output_stride=stride).downsampling == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_channels", 0),
        ("num_channels", True),
        ("num_channels", 3.0),
        ("patch_size", -1),
        ("patch_size", "2"),
        ("patch_size", 257),
        ("atrous_rates", [6, 12, 257]),
        ("hidden_sizes", [144, 192]),
        ("hidden_sizes", 144),
        ("hidden_sizes", [144, 192, 241]),
        ("hidden_sizes", [144, 192, None]),
        ("neck_hidden_sizes", [16, 32, 64, 96, 128, 160]),
        ("neck_hidden_sizes", [16, 32, 64, 96, 128, 160, 1 << 40]),
        ("num_attention_heads", 5),
        ("num_attention_heads", 0),
        ("mlp_ratio", 0),
        ("mlp_ratio", float("nan")),
        ("mlp_ratio", float("inf")),
        ("mlp_ratio", 0.001),
        ("expand_ratio", -1.0),
        ("expand_ratio", True),
        ("layer_norm_eps", "1e-5"),
        ("hidden_act", None),
        ("conv_kernel_size", 2),
        ("output_stride", 4),
        ("output_stride", 32.5),
        ("aspp_out_channels", 0),
        ("atrous_rates", [6, 12]),
        ("atrous_rates", "6,12,18"),
        ("num_labels", -1),
        ("num_labels", True),
        ("num_labels", "many"),
        ("num_labels", 1 << 40),
        ("image_size", 0),
        ("image_size", True),
        ("image_size", 256.0),
        ("image_size", "256"),
        ("image_size", None),
        ("image_size", 1 << 40),
        ("image_size", {"height": 256, "width": 256}),
        ("image_size", []),
        ("image_size", [256]),
        ("image_size", [256, 256, 3]),
        ("image_size", [256, -1]),
        ("image_size", (256, "256")),
    ],
)
def test_impossible_values_are_named(field, value):
    mentioned = {"hidden_sizes": "hidden.size", "num_attention_heads": "num_attention_heads"}.get(field, field)
    with pytest.raises(ConfigError, match=mentioned):
        NetworkConfig(**{field: value})


@pytest.mark.parametrize("size", [1, 256, [256, 192], (192, 256)])
def test_an_image_size_is_one_side_or_height_and_width(size):
    assert NetworkConfig(image_size=size).image_size == size


def test_later_changes_are_checked_by_validate():
    config = NetworkConfig()
    config.output_stride = 12
    with pytest.raises(ConfigError, match="output_stride"):
        config.validate()
