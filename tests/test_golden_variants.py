"""What no known mistake gives, but something near the right thing does: said in a sentence, once for all its layers."""

from dataclasses import replace

import numpy as np
import pytest
from golden_ports import golden_and_network, port

from mobilevit_np.golden import diagnose
from mobilevit_np.golden.tables import diagnosis_lines
from mobilevit_np.golden.variants import variants

HIDDEN = ("attention", "layernorm_before", "layernorm_after", "unfolding", "folding", "probabilities", "activation")
SENTENCES = (
    "the activation is mish, and should be silu",
    "its eps is 1e-12",
    "its dilation is 2",
    "it attends with 2 heads, and should with 4",
    "the attention scores are multiplied by the root of the head's width",
    "each token attends to those before it alone: a causal mask",
    "keys and values are exchanged",
    "each token attends to its own heads: a transpose is missing before",
    "the layer norm doesn't subtract the mean",
    "the fusion's two inputs are interleaved, channel by channel",
    "the input is added before the batch norm, not after it",
    "around the attention it adds what was normalized, not the sum before",
    "attention and feed-forward run side by side, on the same input",
    "the activation is a leaky ReLU of slope 0.1, and should be silu",
    "the pooling is a sum over the pixels, not their mean",
    "the heads are put together in the order [3, 2, 1, 0]",
    "the values' heads are in the order [1, 2, 3, 0], the weights' are not",
    "the softmax is taken twice",
    "the fusion is fed the projection twice",
    "the block's input is added to what it gives",
    "the tokens before the transformer are added to those after it",
    "the tokens are multiplied by the root of their width",
)
SHOWN = (  # those that are first seen in what the others' ports don't show
    "its eps is 1e-12",
    "it attends with 2 heads, and should with 4",
    "the attention scores are multiplied by the root of the head's width",
    "each token attends to those before it alone: a causal mask",
    "keys and values are exchanged",
)


def planted(sentence, setting="classifier"):
    golden, network = golden_and_network(setting)
    paths = {path for path in golden.tensors if path not in ("image", "logits")}
    return next(variant for variant in variants(network, paths) if variant.sentence == sentence)


def unexplained_of(sentence, setting="classifier", without=()):
    golden, network = golden_and_network(setting)
    found = port(golden, network, [planted(sentence, setting)])
    shown = {path: tensor for path, tensor in found.items() if path.rpartition(".")[2] not in without}
    return diagnose(golden, shown, network)


@pytest.mark.parametrize(
    ("sentence", "without"),
    [*((sentence, HIDDEN) for sentence in SENTENCES), *((sentence, ()) for sentence in SHOWN)],
)
def test_a_variant_is_said_once_for_all_the_layers_it_explains(sentence, without):
    diagnosis = unexplained_of(sentence, without=without)
    assert [each.hint for each in diagnosis.unexplained] == [sentence]
    assert not diagnosis.findings
    assert not diagnosis.still_wrong
    if "exchanged" not in sentence:
        assert len(diagnosis.unexplained[0].also) == len(diagnosis.comparison.bad) - 1


@pytest.mark.parametrize(
    "sentence",
    [
        "ASPP's branch 2 is left out",
        "ASPP's branches are in the order [1, 2, 3, 4, 0]",
        "the activation is a leaky ReLU of slope 0.1, and should be relu",
    ],
)
def test_the_pyramid(sentence):
    assert [each.hint for each in unexplained_of(sentence, "segmenter").unexplained] == [sentence]


@pytest.mark.parametrize("setting", ["classifier", "segmenter"])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_no_two_variants_have_one_name(setting, heads):
    golden, network = golden_and_network(setting)
    network = replace(network, config=replace(network.config, num_attention_heads=heads))
    names = [variant.name for variant in variants(network, golden.tensors)]
    assert len(set(names)) == len(names)


def test_a_layer_that_is_left_out_is_named_by_what_comes_after():
    golden, network = golden_and_network()
    layer = "mobilevit.encoder.layer.3.conv_kxk.normalization"
    found = {}
    scope = network.scope(np.float32).wrap(layer, lambda compute, x, scope: x)
    pixels = golden.tensors["pixel_values"].astype(np.float32)
    network.run(pixels, scope.listen(lambda path, x: found.__setitem__(path or "logits", x.copy())))
    del found[layer]
    (unexplained,) = diagnose(golden, found, network).unexplained
    assert unexplained.hint == f"{layer} is left out"


def test_patches_in_another_order_both_ways_leave_the_logits_right_which_is_said_first():
    sentence = "the patches are taken column by column, in the unfold and in the fold"
    diagnosis = unexplained_of(sentence, without=HIDDEN)
    assert [each.hint for each in diagnosis.unexplained] == [sentence]
    first, second, *_ = diagnosis_lines(diagnosis)
    assert first.startswith("the logits are right, to ")
    assert second.startswith("change first: look at ")
    assert second.endswith(sentence)


def test_a_layer_of_the_transformer_that_is_left_out_in_every_block():
    layer = "mobilevit.encoder.layer.2.transformer.layer.1"
    golden, network = golden_and_network()
    found = {}
    scope = network.scope(np.float32).wrap("*.transformer.layer.1", lambda compute, x, *_: x)
    pixels = golden.tensors["pixel_values"].astype(np.float32)
    network.run(pixels, scope.listen(lambda path, x: found.__setitem__(path or "logits", x.copy())))
    shown = {path: x for path, x in found.items() if not path.endswith("transformer.layer.1")}
    (unexplained,) = diagnose(golden, shown, network).unexplained
    assert unexplained.hint == f"{layer} is left out"


@pytest.mark.parametrize("recorded", [True, False])
def test_a_position_embedding_is_told_by_what_holds_it_alone(recorded):
    golden, network = golden_and_network()
    rng = np.random.default_rng(0)
    added = {}  # of each block

    def embed(compute, x, scope, patch_size):
        tokens = compute(x, scope, patch_size)
        return tokens + added.setdefault(scope.path, rng.normal(size=tokens.shape[1:]).astype(tokens.dtype))

    found = {}
    pixels = golden.tensors["pixel_values"].astype(np.float32)
    scope = network.scope(np.float32).wrap("*.unfolding", embed)
    network.run(pixels, scope.listen(lambda path, x: found.__setitem__(path or "logits", x.copy())))
    shown = {path: x for path, x in found.items() if recorded or not path.endswith("unfolding")}
    diagnosis = diagnose(golden, shown, network)
    assert [each.hint for each in diagnosis.unexplained] == [
        "a position embedding is added to the tokens, and MobileViT has none"
    ]
    assert not diagnosis.findings
