"""Who a port's module is by its weights, in the forms and layouts that ports have, and what became of each weight.

Oracle: the names under which the same numbers are handed over.
"""

import re

import numpy as np
import pytest
from golden_ports import BY_NAME, golden_and_network, port

from mobilevit_np.config import BATCH_NORM_EPS
from mobilevit_np.golden import compare, diagnose
from mobilevit_np.golden.identity import identify, parameter_name, split
from mobilevit_np.golden.rounding import is_quantized
from mobilevit_np.golden.tables import remarks

BLOCK = "mobilevit.encoder.layer.2"
ATTENTION = f"{BLOCK}.transformer.layer.0.attention.attention"
STEM = "mobilevit.conv_stem.convolution"
KERAS = {4: (2, 3, 1, 0), 2: (1, 0)}
TFLITE = {4: (0, 2, 3, 1)}
OUTPUTS, CLASS = "outputs for 7,", "perhaps a background class"
TURNED = "as o i, unlike the others, which are i o"  # what lies transposed where the others are Keras'


def parameters(change=lambda path, leaves: leaves, dtype=np.float32):
    """Ours by module and leaf, each module changed and under an invented name; and who they are."""
    modules = {}
    for name, tensor in golden_and_network()[1].tensors.items():
        path, _, leaf = name.rpartition(".")
        modules.setdefault(path, {})[leaf] = tensor.astype(dtype)
    changed = {path: change(path, leaves) for path, leaves in modules.items()}
    return {f"m{i}": leaves for i, leaves in enumerate(changed.values())}, {f"m{i}": p for i, p in enumerate(changed)}


def identity_of(given):
    return identify(golden_and_network()[1].tensors, given)


def in_steps_of(weight, step):
    return np.rint(weight / step) * step


def turned(axes):
    return lambda path, leaves: {
        leaf: tensor.transpose(axes[tensor.ndim]) if tensor.ndim in axes else tensor for leaf, tensor in leaves.items()
    }


@pytest.mark.parametrize("axes", [{}, KERAS, TFLITE])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_every_module_is_known_in_every_layout_and_precision(axes, dtype):
    given, who = parameters(turned(axes), dtype)
    identity = identity_of(given)
    assert identity.modules == {module: (path,) for module, path in who.items()}
    assert (identity.misplaced, identity.never_loaded, identity.unknown) == ((), (), ())


def test_eight_bits_are_enough():
    def rounded(path, leaves):
        return {leaf: np.rint(t / (np.abs(t).max() / 127)) * (np.abs(t).max() / 127) for leaf, t in leaves.items()}

    given, who = parameters(rounded)
    assert identity_of(given).modules == {module: (path,) for module, path in who.items()}


def test_queries_keys_and_values_in_one():
    whole = {leaf: [golden_and_network()[1].tensors[f"{ATTENTION}.{part}.{leaf}"] for part in ("query", "key", "value")]
             for leaf in ("weight", "bias")}  # fmt: skip
    fused = {leaf: np.concatenate(parts) for leaf, parts in whole.items()}
    paths = tuple(f"{ATTENTION}.{part}" for part in ("query", "key", "value"))
    assert identity_of({"qkv": fused}).modules == {"qkv": paths}
    assert identity_of({"qkv": {leaf: x.T for leaf, x in fused.items()}}).modules == {"qkv": paths}
    assert identity_of({"kv": {leaf: x[len(x) // 3 :] for leaf, x in fused.items()}}).modules == {"kv": paths[1:]}


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda q, k, v: [k, q, v], "holds key, query, value in this order, where query, key, value belong"),
        (lambda q, k, v: [x for each in zip(*(np.split(part, 4) for part in (q, k, v)), strict=True) for x in each],
         "holds query, key, value interleaved head by head, not all of each at once"),
        (lambda q, k, v: [np.stack([q, k, v], 1).reshape(-1, *q.shape[1:])],
         "holds query, key, value interleaved row by row, not all of each at once"),
        (lambda q, k, v: [np.concatenate([q, k, v])[i::3] for i in range(3)],
         "holds query, key, value taken apart as if they were interleaved row by row"),
        (lambda q, k, v: [np.concatenate(np.split(part, 4)[::-1]) for part in (q, k, v)],
         "has its outputs in another order, 4 at a time (3, 2, 1, 0, 7, 6, ...)"),
        (lambda q, k, v: [q.T, k, v.T], "holds query, value transposed, each by itself"),
    ],
)  # fmt: skip
def test_the_order_in_a_fused_weight_is_said_in_words(change, how):
    tensors = golden_and_network()[1].tensors
    parts = [tensors[f"{ATTENTION}.{part}.weight"] for part in ("query", "key", "value")]
    (weight,) = identity_of({"qkv": {"weight": np.concatenate(change(*parts))}}).misplaced
    assert weight.how == how


def test_an_order_that_is_said_whole_has_no_dots():
    weight = golden_and_network()[1].tensors[f"{ATTENTION}.query.weight"]
    (found,) = identity_of({"q": {"weight": np.concatenate(np.split(weight, 2)[::-1])}}).misplaced
    assert found.how == f"has its outputs in another order, {len(weight) // 2} at a time (1, 0)"


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda x: np.concatenate([x[:1] * 0.9, x]), f"8 {OUTPUTS} 1 more at the start, {CLASS}"),
        (lambda x: np.concatenate([x, x[:1] * 0.9]), f"8 {OUTPUTS} 1 more at the end, {CLASS}"),
        (lambda x: x[1:], f"6 {OUTPUTS} 1 fewer at the start"),
    ],
)  # fmt: skip
def test_a_label_too_many_or_too_few_is_said_first(change, how):
    golden, network = golden_and_network()
    found = port(golden, network)
    parts = {leaf: change(network.tensors[f"classifier.{leaf}"]) for leaf in ("weight", "bias")}
    found["classifier"] = found["logits"] = found["mobilevit"].mean((2, 3)) @ parts["weight"].T + parts["bias"]
    for name, tensor in network.tensors.items():
        path, _, leaf = name.rpartition(".")
        found[parameter_name(path, leaf)] = parts[leaf] if path == "classifier" else tensor
    diagnosis = diagnose(golden, found, network)
    assert [each.how for each in diagnosis.misloaded] == [f"has {how}: the port's classifier/weight and 1 more"]
    assert not diagnosis.unexplained
    assert not diagnosis.findings


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda w: in_steps_of(w, np.abs(w).max() / 127), "int8"),
        (lambda w: in_steps_of(w, np.abs(w).max((1, 2, 3), keepdims=True) / 127), "int8"),
        (lambda w: w.astype(np.float16), "float16"),
    ],
)  # fmt: skip
def test_one_weight_in_a_coarser_precision_is_said(change, how):
    path = f"{BLOCK}.fusion.convolution"
    given, _ = parameters(
        lambda where, leaves: {leaf: change(w) for leaf, w in leaves.items()} if where == path else leaves
    )
    (found,) = identity_of(given).misplaced
    assert (found.parameter, found.how) == (f"{path}.weight", f"is rounded to {how}, unlike the others")


def test_an_int8_ports_weights_are_unlike_none():
    """It keeps the biases, and the small weights, in float32: most of its parameters."""
    given, _ = parameters(
        lambda _, leaves: {
            leaf: in_steps_of(w, np.abs(w).max() / 127) if is_quantized(w) else w for leaf, w in leaves.items()
        }
    )
    assert not identity_of(given).misplaced


def test_batch_norm_folded_into_the_convolution_or_as_scale_and_offset():
    tensors = golden_and_network()[1].tensors
    norm = {leaf: tensors[f"mobilevit.conv_stem.normalization.{leaf}"] for leaf in
            ("weight", "bias", "running_mean", "running_var")}  # fmt: skip
    scale = norm["weight"] / np.sqrt(norm["running_var"] + BATCH_NORM_EPS)
    offset = norm["bias"] - norm["running_mean"] * scale
    folded = {"w": tensors[f"{STEM}.weight"] * scale[:, None, None, None], "b": offset}
    path = ("mobilevit.conv_stem.normalization",)
    assert identity_of({"m": folded}).modules == {"m": path}
    assert identity_of({"m": {"scale": scale, "offset": offset}}).modules == {"m": path}
    assert identity_of({"product": {"a": scale}, "sum": {"a": offset}}).modules == {
        "sum": path
    }  # the last one gives it
    assert not set(identity_of({"m": folded}).never_loaded) & {f"{path[0]}.weight", f"{STEM}.weight", f"{path[0]}.bias"}


@pytest.mark.parametrize(
    ("layer", "norm"),
    [("attention.attention.key", "layernorm_before"), ("intermediate.dense", "layernorm_after")],
)
def test_layer_norm_multiplied_into_the_linear_layer_after_it(layer, norm):
    tensors = golden_and_network()[1].tensors
    names = [f"{BLOCK}.transformer.layer.1.{part}.{leaf}" for part in (layer, norm) for leaf in ("weight", "bias")]
    weight, bias, scale, offset = (tensors[name] for name in names)
    identity = identity_of({"m": {"w": (weight * scale).T, "b": weight @ offset + bias}})
    assert identity.modules == {"m": (f"{BLOCK}.transformer.layer.1.{layer}",)}
    assert not identity.misplaced
    assert not set(names) & set(identity.never_loaded)


@pytest.mark.parametrize(
    ("path", "leaf", "change", "words"),
    [
        (f"{ATTENTION}.query", "weight", lambda w: w.T, "is stored as i o, unlike the others, which are o i"),
        (STEM, "weight", lambda w: w[:, :, ::-1], "kernels flipped upside down"),
        (STEM, "weight", lambda w: w[:, :, :, ::-1], "kernels mirrored"),
        (STEM, "weight", lambda w: w[:, :, ::-1, ::-1], "kernels turned by half a turn"),
        (STEM, "weight", lambda w: w.swapaxes(2, 3), "kernels' height and width exchanged"),
        (STEM, "weight", lambda w: w[:, ::-1], "input channels reversed"),
        (f"{BLOCK}.fusion.convolution", "weight", lambda w: np.roll(w, w.shape[1] // 2, 1), "inputs in another order"),
        (f"{BLOCK}.layernorm", "bias", lambda b: b[::-1], "outputs in another order"),
        (STEM, "weight", lambda w: np.sort(w, axis=None).reshape(w.shape), "the right numbers in another order"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("axes", [{}, KERAS])
def test_a_weight_that_lies_otherwise_than_the_others_is_said(path, leaf, change, words, axes):
    def one(where, leaves):
        leaves = {**leaves, leaf: change(leaves[leaf])} if where == path else leaves
        return turned(axes)(where, leaves)

    given, who = parameters(one)
    identity = identity_of(given)
    assert identity.modules == {module: (each,) for module, each in who.items()}
    (found,) = identity.misplaced
    assert found.parameter == f"{path}.{leaf}"
    assert (words if not axes else words.replace("as i o, unlike the others, which are o i", TURNED)) in found.how


def test_a_change_of_axes_that_are_equally_long_is_told_apart():
    """The shape fits several layouts, and the numbers are ours in none."""
    expected = np.random.default_rng(0).standard_normal((8, 8, 3, 3))
    found = {"conv": {"weight": expected.transpose(1, 0, 3, 2)}}
    (misplaced,) = identify({"conv.weight": expected}, found).misplaced
    assert misplaced.how == "has its kernels' height and width exchanged"  # in the layout i o h w
    found["conv"]["weight"] = expected.transpose(2, 0, 3, 1)
    (misplaced,) = identify({"conv.weight": expected}, found).misplaced
    assert misplaced.how == "has its axes in the order (1, 3, 0, 2)"


def test_a_weight_never_loaded_and_one_in_the_wrong_place():
    fresh = np.random.default_rng(0).standard_normal

    def one(path, leaves):
        if path == f"{BLOCK}.layernorm":
            return {leaf: fresh(tensor.shape) for leaf, tensor in leaves.items()}
        if path == "mobilevit.conv_stem.normalization":
            return {**leaves, "running_mean": leaves["running_var"], "running_var": leaves["running_mean"]}
        return leaves

    given, who = parameters(one)
    identity = identity_of(given)
    lost = next(module for module, path in who.items() if path == f"{BLOCK}.layernorm")
    assert identity.never_loaded == (f"{BLOCK}.layernorm.weight", f"{BLOCK}.layernorm.bias")
    assert set(identity.unknown) == {f"{lost}/weight", f"{lost}/bias"}
    assert [(each.parameter.rpartition(".")[2], each.how.rpartition(".")[2]) for each in identity.misplaced] == [
        ("running_var", "running_mean belongs"),
        ("running_mean", "running_var belongs"),
    ]


def test_what_is_one_number_all_over_is_no_weight():
    """A graph has its eps and scales, and biases of zeros that a converter adds."""
    given, _ = parameters()
    given["norm"] = {"eps": np.array([1e-5]), "zeros": np.zeros(16), "other": np.arange(16.0)}
    assert identity_of(given).unknown == ("norm/other",)


def test_names_that_are_known_say_where_a_weight_belongs():
    golden, network = golden_and_network()
    swapped = {f"{ATTENTION}.query": f"{ATTENTION}.key", f"{ATTENTION}.key": f"{ATTENTION}.query"}
    theirs = {}
    for name in network.tensors:
        path, _, leaf = name.rpartition(".")
        theirs[parameter_name(path, leaf)] = network.tensors[f"{swapped.get(path, path)}.{leaf}"]
    comparison = compare(golden, {**theirs, **port(golden, network)}, network=network)
    assert comparison.how == "transformers' names"
    text = "\n".join(remarks(comparison))
    assert f"weights: {ATTENTION}.key is stored where {ATTENTION}.query belongs" in text
    right = {parameter_name(*name.rpartition(".")[::2]): tensor for name, tensor in network.tensors.items()}
    assert f"weights: all {len(network.tensors)} are in the port" in "\n".join(
        remarks(compare(golden, {**right, **port(golden, network)}, network=network))
    )


@pytest.mark.parametrize(
    ("mistake", "thinned"),
    [("concat_order", True), ("gelu_for_silu", False)],
)
def test_activations_are_found_by_their_modules_under_invented_names(mistake, thinned):
    """Without the tensors that no weights tell apart (sums, activations) what the others are doesn't change."""
    golden, network = golden_and_network()
    found = port(golden, network, [BY_NAME[mistake]])
    modules = {name.rpartition(".")[0] for name in network.tensors}
    modules |= {"pixel_values", "logits"}
    kept = {path: x for path, x in found.items() if not thinned or path in modules}
    names = {path: f"x{i * 7919 % 1000}" for i, path in enumerate(kept)} | {"pixel_values": "pixel_values"}
    places = {name: name.rpartition(".") for name in network.tensors}
    weights = {parameter_name(names[places[name][0]], places[name][2]): x for name, x in network.tensors.items()}
    comparison = compare(golden, {**weights, **{names[path]: x for path, x in kept.items()}}, network=network)
    by_name = compare(golden, kept, network=network)
    assert comparison.how.startswith("weights")
    assert [row.path for row in comparison.bad] == [row.path for row in by_name.bad]
    for row in comparison.rows:
        np.testing.assert_array_equal(kept[row.path], found[row.path])
    assert len(comparison.rows) == len(by_name.rows)


def test_parameters_are_told_from_activations():
    activations, weights = split({"a": 1, "parameters/m.n/w": 2, "parameters/m.n/b": 3, "parameters//w": 4})
    assert (activations, weights) == ({"a": 1}, {"m.n": {"w": 2, "b": 3}, "": {"w": 4}})


def test_a_wrong_output_that_is_like_nothing_is_taken_for_what_its_kind_gives():
    """Fed otherwise, a feed-forward's first layer resembles its activation as much as itself."""
    golden, network = golden_and_network(seed=1)
    left_out = re.compile(r".*\.layernorm_after\b.*")
    found = port(golden, network, [BY_NAME["no_norm_before_feed_forward"]])
    names = {path: f"x{i * 7919 % 1000}" for i, path in enumerate(found)} | {"pixel_values": "pixel_values"}
    theirs = {names[path]: x for path, x in found.items() if not left_out.match(path)}
    for name, tensor in network.tensors.items():
        if not left_out.match(name):
            module, _, leaf = name.rpartition(".")
            theirs[parameter_name(names[module], leaf)] = tensor
    comparison = compare(golden, theirs, network=network)
    assert {row.path.rpartition(".")[2] for row in comparison.bad} == {"dense"}
    assert {row.name: row.path for row in comparison.rows}.items() >= {
        (names[path], path) for path in found if path.endswith("intermediate.dense")
    }
