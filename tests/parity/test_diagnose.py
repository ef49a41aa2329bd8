"""Each known mistake, made in transformers' own model or image processor, is named; alone and by pairs.

``python tests/parity/plants.py 20 --ways --full`` does it for 20 seeds, also where names say nothing, and on the full
xx_small, and prints caught / total.
"""

import pytest
from golden_ports import BY_NAME, SETTINGS, golden_and_network, setting_of
from plants import WAYS, diagnosed, right, torch_port, tries

from mobilevit_np.golden import diagnose

PAIRS = [(names, setting) for names, setting in tries() if len(names) == 2]


@pytest.mark.parametrize("name", BY_NAME)
def test_a_mistake_made_in_pytorch_is_named(name):
    diagnosis = diagnosed((name,), setting_of(name))
    assert right(diagnosis, (name,)), (diagnosis.names, diagnosis.unexplained)


@pytest.mark.parametrize(("names", "setting"), PAIRS[::3])
def test_two_mistakes_made_in_pytorch_are_both_named(names, setting):
    diagnosis = diagnosed(names, setting)
    assert right(diagnosis, names), (diagnosis.names, diagnosis.unexplained)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_right_model_is_called_clean(setting):
    assert diagnosed((), setting).clean


@pytest.mark.parametrize("name", ["concat_order", "plain_reshape", "scale_by_width"])
def test_the_logits_and_the_names_change_nothing(name):
    golden, network = golden_and_network()
    port = torch_port(golden, network, (name,))
    nameless = {f"tensor_{i}": port[path] for i, path in enumerate(path for path in golden.tensors if path in port)}
    for found in (nameless, {path: tensor for path, tensor in port.items() if path != "logits"}):
        assert right(diagnose(golden, found, network), (name,))


@pytest.mark.parametrize("way", [way for way in WAYS if way != "names"])
@pytest.mark.parametrize(
    "names", [("plain_reshape",), ("max_pooling",), ("no_norm_before_feed_forward",), ("softmaxed_logits",), ()]
)
def test_names_that_say_nothing_hide_nothing(names, way):
    diagnosis = diagnosed(names, "classifier", way=way)
    assert right(diagnosis, names), (diagnosis.names, diagnosis.unexplained)


@pytest.mark.parametrize(
    ("name", "seed", "way"),
    [("post_norm", 0, "weightless"), ("no_feed_forward_residual", 2, "weightless")]
    + [("no_norm_before_feed_forward", 1, way) for way in ("shuffled", "nameless")],
)
def test_a_mistake_that_leads_the_pairing_astray_is_named(name, seed, way):
    diagnosis = diagnosed((name,), "classifier", seed, way=way)
    assert right(diagnosis, (name,)), (diagnosis.names, diagnosis.unexplained)
