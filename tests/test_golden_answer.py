"""What a port hands out as its answer is judged, under whatever name, even if the right logits stand before it."""

import numpy as np
import pytest
from golden_ports import BY_NAME, golden_and_network, port

from mobilevit_np.golden import compare, diagnose
from mobilevit_np.golden.identity import parameter_name
from mobilevit_np.ops import sigmoid, softmax

LAST = {"classifier": "classifier", "segmenter": "segmentation_head.classifier.convolution"}
ECHOES = ("segmentation_head.classifier", "segmentation_head", "logits")


def over_classes(logits):
    return np.moveaxis(softmax(np.moveaxis(logits, 1, -1)), -1, 1)


def handing_out(setting, more, *, shuffled=False, weights=True, mistakes=()):
    """A port of invented names, in order of execution or in none; what comes after the last layer is ``more``'s."""
    golden, network = golden_and_network(setting)
    found = port(golden, network, [BY_NAME[name] for name in mistakes])
    logits = found[LAST[setting]]
    found = {path: tensor for path, tensor in found.items() if path not in ECHOES}
    numbers = np.random.RandomState(0).permutation(len(found)) if shuffled else range(len(found))
    names = {path: f"t{number:04}" for path, number in zip(found, numbers, strict=True)}
    names["pixel_values"] = "pixel_values"
    theirs = {names[path]: tensor for path, tensor in found.items()}
    theirs |= {name: make(logits) for name, make in more.items()}
    for name, tensor in network.tensors.items() if weights else ():
        module, _, leaf = name.rpartition(".")
        theirs[parameter_name(names[module], leaf)] = tensor
    return golden, dict(sorted(theirs.items())) if shuffled else theirs, network


def named(*case):
    return diagnose(*case).names


@pytest.mark.parametrize(
    ("setting", "how"),
    [
        ("classifier", {"mistakes": ("concat_order",)}),
        ("classifier", {"weights": False}),
        ("segmenter", {"shuffled": True}),
    ],
)
def test_a_softmax_that_is_handed_out_is_named(setting, how):
    """Also after the logits were handed on once more, by a reshape or the like."""
    more = {"t8": np.copy, "t9": over_classes}
    assert named(*handing_out(setting, more, **how)) == (*how.get("mistakes", ()), "softmaxed_logits")


def test_a_softmax_in_the_last_layer_itself_is_named():
    golden, theirs, network = handing_out("segmenter", {})
    last = list(theirs)[len(theirs) - len(network.tensors) - 1]
    theirs[last] = over_classes(theirs[last])
    assert named(golden, theirs, network) == ("softmaxed_logits",)
    golden, network = golden_and_network()
    by_name = {path: x for path, x in port(golden, network).items() if path not in ECHOES}
    by_name[LAST["classifier"]] = over_classes(by_name[LAST["classifier"]])
    assert named(golden, by_name, network) == ("softmaxed_logits",)


def test_half_precision_sums_to_one_as_well():
    golden, theirs, network = handing_out("classifier", {"t9": over_classes}, shuffled=True)
    halves = {name: tensor.astype(np.float16).astype(np.float32) for name, tensor in theirs.items()}
    assert named(golden, halves, network) == ("softmaxed_logits",)


def test_probabilities_beside_the_logits_are_nobodys():
    """If their name says what they are, or the logits are called so."""
    for setting, how, more in (
        ("classifier", {}, {"head.Softmax": over_classes}),
        ("segmenter", {"shuffled": True}, {"logits": np.copy, "t9": over_classes}),
        ("classifier", {}, {"probabilities": over_classes}),
    ):
        golden, theirs, network = handing_out(setting, more, **how)
        comparison = compare(golden, theirs, network=network)
        assert comparison.ok
        assert comparison.unknown[-1] in more
    comparison = compare(golden, theirs, network=network, mapping={"probabilities": "logits"})
    assert comparison.answer.name == "probabilities"
    assert not comparison.ok


def test_a_name_excuses_nothing_that_stands_alone():
    golden, theirs, network = handing_out("classifier", {})
    last = list(theirs)[len(theirs) - len(network.tensors) - 1]
    probabilities = over_classes(theirs.pop(last))
    theirs = {name.replace(last, "softmax"): tensor for name, tensor in theirs.items()}
    assert named(golden, {**theirs, "softmax": probabilities}, network) == ("softmaxed_logits",)


def test_what_comes_last_is_the_answer():
    golden, theirs, network = handing_out("segmenter", {"t8": np.copy, "t9": sigmoid})
    (unexplained,) = diagnose(golden, theirs, network).unexplained
    assert (unexplained.path, unexplained.hint) == ("logits", "it's the sigmoid of the right tensor")
    golden, theirs, network = handing_out("classifier", {"t8": np.copy, "t9": np.copy})
    comparison = compare(golden, theirs, network=network)
    assert comparison.ok
    assert comparison.answer.name == "t9"
