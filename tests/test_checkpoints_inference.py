"""The configuration from the shapes alone: every variant and task, and widths that nobody published."""

import pytest
from fuzz.samples import TINY
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilevit_np.checkpoints import parameter_shapes
from mobilevit_np.checkpoints.inference import infer_config, infer_task, infer_variant
from mobilevit_np.config import VARIANTS, NetworkConfig
from mobilevit_np.errors import CheckpointError

TASKS = {"classifier": {}, "segmenter": {"output_stride": 16, "image_size": 512}, "backbone": {}}


def _shapes(config, task):
    shapes = parameter_shapes(config, task)
    return {name if task != "backbone" else f"mobilevit.{name}": shape for name, shape in shapes.items()}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("labels", [3, 21, 1000])
def test_published_networks_are_told_exactly(variant, task, labels):
    labels = 1000 if task == "backbone" else labels  # a bare model's file doesn't say
    config = NetworkConfig(**VARIANTS[variant], **TASKS[task], num_labels=labels)
    shapes = _shapes(config, task)
    assert infer_task(shapes) == task
    fields, notes = infer_config(shapes, task)
    assert NetworkConfig(**{"num_labels": labels, **fields}) == config
    assert infer_variant(fields) == variant
    assert "convention" in notes[0]


@settings(max_examples=60)
@given(st.data())
def test_other_widths_are_told_so_that_the_shapes_come_out_again(data):
    draw = data.draw
    widths = st.integers(1, 40)
    config = NetworkConfig(
        num_channels=draw(st.integers(1, 4)),
        hidden_sizes=[4 * draw(st.integers(1, 30)) for _ in range(3)],
        neck_hidden_sizes=[draw(widths) for _ in range(7)],
        mlp_ratio=draw(st.sampled_from([0.5, 1, 1.5, 2, 2.7, 3, 4])),
        expand_ratio=draw(st.sampled_from([0.5, 1, 1.5, 2, 3, 4, 6])),
        conv_kernel_size=draw(st.sampled_from([1, 3, 5, 7])),
        qkv_bias=draw(st.booleans()),
        hidden_act=draw(st.sampled_from(["silu", "prelu", "xielu"])),
        aspp_out_channels=draw(widths),
        num_labels=draw(widths),
    )
    task = draw(st.sampled_from(list(TASKS)))
    shapes = _shapes(config, task)
    fields, _ = infer_config(shapes, task)
    assert _shapes(NetworkConfig(**fields), task) == shapes
    assert fields["hidden_act"] == config.hidden_act


STEM = "mobilevit.conv_stem.convolution.weight"
REDUCE = "mobilevit.encoder.layer.0.layer.0.expand_1x1.convolution.weight"
MIDDLE = "mobilevit.encoder.layer.3.transformer.layer.0.intermediate.dense.weight"


@pytest.mark.parametrize(
    ("name", "shape", "says"),
    [
        (STEM, None, "lacks the tensor"),
        (STEM, (8, 3), "which no MobileViT has"),
        (STEM, (0, 3, 3, 3), "which no MobileViT has"),
        (STEM, (1 << 40, 3, 3, 3), "which no MobileViT has"),
        (REDUCE, (9, 8, 1, 1), "no expand_ratio does that"),
        (MIDDLE, (99, 8), "no mlp_ratio does that"),
    ],
)
def test_shapes_of_no_mobilevit_are_an_error(name, shape, says):
    shapes = _shapes(NetworkConfig(**TINY), "classifier")
    shapes = {key: value if key != name else shape for key, value in shapes.items() if key != name or shape is not None}
    with pytest.raises(CheckpointError, match=says):
        infer_config(shapes, "classifier")
