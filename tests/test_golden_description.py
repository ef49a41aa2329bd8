"""What a wrong tensor is said to be, where no known mistake gives it: each description on what it describes, and none
on what it doesn't.
"""

import re

import numpy as np
import pytest
from golden_ports import golden_and_network, port

from mobilevit_np.golden import diagnose
from mobilevit_np.golden.description import describe
from mobilevit_np.golden.mistakes import Mistake
from mobilevit_np.golden.tables import diagnosis_lines
from mobilevit_np.ops import softmax

RNG = np.random.default_rng(0)
MAP, TOKENS, VECTOR = (RNG.standard_normal(shape) for shape in ((1, 8, 10, 12), (4, 16, 6), (2, 20)))
CHANNEL = RNG.standard_normal((1, 8, 1, 1))
GIVEN = RNG.standard_normal(MAP.shape)


def but(array, where, value):
    changed = array.copy()
    changed[where] = value
    return changed


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        (MAP, np.zeros_like(MAP), "all zeros"),
        (MAP, GIVEN, "the layer is left out"),
        (MAP, MAP + GIVEN, "one residual too many"),
        (MAP, MAP - GIVEN, "a residual is missing"),
        (MAP, MAP + 0.5, "off by the constant 0.5"),
        (MAP, MAP * 255, "255 times the right tensor"),
        (TOKENS, -TOKENS, "-1 times the right tensor"),
        (MAP, MAP + CHANNEL, "off by a constant for each channel: a bias"),
        (TOKENS, TOKENS + np.arange(6.0), "off by a constant for each feature: a bias"),
        (MAP, MAP * CHANNEL, "off by a factor for each channel"),
        (MAP, MAP * CHANNEL + 2 * CHANNEL**2, "off by a factor and a constant for each channel"),
        (MAP, MAP[:, ::-1], "its channels are reversed"),
        (MAP, MAP[:, :, ::-1], "its rows are reversed"),
        (MAP, np.roll(MAP, 1, 3), "its columns are in the order 11, 0, 1, 2, 3, 4, ..."),
        (TOKENS, TOKENS[[0, 2, 1, 3]], "its pixels of the patch are in the order 0, 2, 1, 3"),
        (VECTOR, softmax(VECTOR), "it's the softmax of the right tensor"),
        (VECTOR, np.log(softmax(VECTOR)), "it's the logarithm of the softmax of the right tensor"),
        (MAP, np.moveaxis(softmax(np.moveaxis(MAP, 1, -1)), -1, 1), "it's the softmax of the right tensor"),
        (MAP, 1 / (1 + np.exp(-MAP)), "it's the sigmoid of the right tensor"),
        (VECTOR, VECTOR[:, ::-1], "its entries are reversed"),
        (MAP[:, :, :, :10], MAP[:, :, :, :10].swapaxes(2, 3), "its rows and columns are exchanged"),
        (MAP, np.pad(MAP[:, :, 1:-1, 1:-1], ((0, 0), (0, 0), (1, 1), (1, 1))), "right except for a border of 1"),
        (MAP, but(MAP, (0, [1, 4]), 7), "2 of its 8 channels are off (1, 4), the others right"),
        (TOKENS, but(TOKENS, (slice(None), 5), 0), "1 of its 16 tokens are off (5), the others right"),
        (MAP, np.sort(MAP, axis=None).reshape(MAP.shape), "the right numbers in another order"),
        (MAP, MAP**2, ""),
        (1e4 * MAP, 2e4 * MAP, "2 times the right tensor"),  # of such logits the softmax has zeros
        (np.maximum(MAP, 0), np.maximum(-MAP, 0), ""),  # what isn't zero is zero, and the other way round
        (MAP, MAP + RNG.standard_normal(MAP.shape), ""),
        (MAP, but(MAP, (0, 0, 0, 0), np.nan), ""),
    ],
)
@pytest.mark.parametrize("noise", [0, 1e-7])
def test_descriptions(right, wrong, words, noise):
    given = GIVEN if right is MAP else None
    noisy = wrong + noise * np.abs(right).max() * np.sin(np.arange(right.size)).reshape(right.shape)
    found = describe(noisy, right, given, 1e-5)
    assert words in found
    assert bool(words) == bool(found)


def test_nothing_is_said_beside_a_tensor_that_is_not_finite():
    assert describe(MAP, but(MAP, (0, 0, 0, 0), np.inf), None, 1e-5) == ""


def test_heads_are_no_channels():
    probabilities = RNG.random((4, 2, 6, 6))
    assert "its heads are reversed" in describe(probabilities[:, ::-1], probabilities, None, 1e-6, heads=True)
    assert "its queries and keys are exchanged" in describe(
        probabilities.swapaxes(2, 3), probabilities, None, 1e-6, heads=True
    )


def test_the_diagnosis_describes_what_nothing_names_and_names_what_comes_after():
    """A bias missing in every block, which no mistake of the list makes, and one of the list far behind it."""
    golden, network = golden_and_network()
    last = "mobilevit.encoder.layer.4.fusion.convolution"

    def without_bias(compute, x, here, **kwargs):
        return compute(x, here.with_tensors({"bias": np.zeros_like(here["bias"])}), **kwargs)

    mistake = Mistake("", "", "", (("*.attention.output.dense", without_bias),), "", "")
    found = port(golden, network, [mistake])
    diagnosis = diagnose(golden, found, network)
    assert not diagnosis.findings
    (unexplained,) = diagnosis.unexplained
    assert "off by a constant for each feature: a bias" in unexplained.hint
    assert len(unexplained.also) > 5
    assert not diagnosis.still_wrong
    doubled = Mistake("", "", "", ((last, lambda compute, *given, **options: 2 * compute(*given, **options)),), "", "")
    found = port(golden, network, [mistake, doubled])
    text = "\n".join(diagnosis_lines(diagnose(golden, found, network)))
    assert f"?  {last} is off by" in text
    assert "it's 2 times the right tensor" in text


@pytest.mark.parametrize("eps", [1e-2, 3.7e-3, 0.25])
@pytest.mark.parametrize("kind", ["normalization", "layernorm_before"])
def test_the_eps_of_a_norm_is_solved_for(kind, eps):
    golden, network = golden_and_network()
    found = {}
    scope = network.scope(np.float32).wrap(f"*.{kind}", lambda f, x, s, **k: f(x, s, **{**k, "eps": eps}))
    pixels = golden.tensors["pixel_values"].astype(np.float32)
    network.run(pixels, scope.listen(lambda path, x: found.__setitem__(path or "logits", x.copy())))
    for unexplained in diagnose(golden, found, network).unexplained:
        assert unexplained.path.endswith(kind)
        said = re.fullmatch(r"its eps is (\S+)", unexplained.hint)
        assert float(said[1]) == pytest.approx(eps, rel=0.02)


def test_dropout_left_on_is_recognized():
    golden, network = golden_and_network()
    path = "mobilevit.encoder.layer.2.transformer.layer.0.attention.output.dense"
    found = port(golden, network)
    kept = np.random.default_rng(0).random(found[path].shape) >= 0.1
    found[path] = np.where(kept, found[path] / np.float32(0.9), 0)
    unexplained = next(each for each in diagnose(golden, found, network).unexplained if each.path == path)
    assert re.fullmatch(
        r"(9|10|11)% of it is zero, and the rest 1.11 times what it should be: dropout is on", unexplained.hint
    )
