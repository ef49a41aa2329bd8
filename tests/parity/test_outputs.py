"""Outputs and configurations in transformers' shape: keys, order, positions, JSON, for all combinations of flags."""

import itertools
import json

import drawing
import numpy as np
import pytest
import torch
import transformers
from hooks import of_transformers, outputs_of
from oracle import CLASSES, LIMITS, Case, error

from mobilevit_np import huggingface
from mobilevit_np.errors import MobileViTError

OURS = {
    "backbone": huggingface.MobileViTModel,
    "classifier": huggingface.MobileViTForImageClassification,
    "segmenter": huggingface.MobileViTForSemanticSegmentation,
}
LABELS = {"classifier": np.array([1, 0]), "segmenter": np.zeros((2, 32, 32), np.int64)}
FLAGS = (None, False, True)


def pair(task: str, expand_output: bool = True, **values):
    case = Case(task, expand_output=expand_output, **drawing.CUT_DOWN, num_labels=3, **values)
    options = {"expand_output": expand_output} if task == "backbone" else {}
    config = huggingface.MobileViTConfig(**drawing.CUT_DOWN, num_labels=3, **values)
    case.load(case.model.double())
    return case.model, OURS[task](config, tensors=case.tensors, **options)


def same(theirs, ours) -> bool:
    if isinstance(theirs, tuple):
        return isinstance(ours, tuple) and len(theirs) == len(ours) and all(map(same, theirs, ours))
    return error(theirs.numpy(), np.asarray(ours)) <= LIMITS[np.float64]


@pytest.mark.parametrize(
    ("task", "expand_output"), [("backbone", True), ("backbone", False), ("classifier", True), ("segmenter", True)]
)
@pytest.mark.parametrize("configured", list(itertools.product((False, True), repeat=2)))
def test_keys_and_order(task, expand_output, configured):
    defaults = dict(zip(("output_hidden_states", "return_dict"), configured, strict=True))
    theirs, ours = pair(task, expand_output, **defaults)
    pixel_values = drawing.draw_pixels((2, 3, 32, 32))
    for output_hidden_states, return_dict, labeled in itertools.product(FLAGS, FLAGS, (False, True)):
        flags = {"output_hidden_states": output_hidden_states, "return_dict": return_dict}
        labels = LABELS.get(task) if labeled else None
        given = {} if labels is None else {"labels": labels}
        with torch.no_grad():
            expected = theirs(
                torch.from_numpy(pixel_values), **flags, **{name: torch.from_numpy(v) for name, v in given.items()}
            )
        answer = ours(pixel_values, **flags, **given)
        assert isinstance(answer, tuple) == isinstance(expected, tuple)
        if isinstance(expected, tuple):
            assert same(expected, answer)
        else:
            assert list(answer.keys()) == list(expected.keys())
            assert same(expected.to_tuple(), answer.to_tuple())
            assert all(same(expected[i], answer[i]) for i in range(len(expected)))
            assert same(expected[1:], answer[1:])
            assert all(same(getattr(expected, key), getattr(answer, key)) for key in expected)


def test_positional_arguments_stand_in_the_same_order():
    pixel_values = drawing.draw_pixels((2, 3, 32, 32))
    for task, arguments in {
        "backbone": (True, False),
        "classifier": (True, LABELS["classifier"], False),
        "segmenter": (LABELS["segmenter"], True, False),
    }.items():
        theirs, ours = pair(task)
        tensors = [torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in (pixel_values, *arguments)]
        with torch.no_grad():
            assert same(theirs(*tensors), ours(pixel_values, *arguments))


def test_attentions_are_the_probabilities():
    theirs, ours = pair("classifier")
    pixel_values = drawing.draw_pixels((2, 3, 64, 48))
    seen = outputs_of(theirs, pixel_values, of_transformers)
    expected = [torch.from_numpy(each) for name, each in seen.items() if name.endswith("probabilities")]
    attentions = ours(pixel_values, output_attentions=True).attentions
    assert len(attentions) == 9
    assert same(tuple(expected), attentions)


def test_errors_are_errors_in_both():
    for task, given in (
        ("backbone", {}),
        ("classifier", {"pixel_values": np.ones((1, 4, 32, 32))}),
        ("segmenter", {"pixel_values": np.ones((1, 3, 32, 32)), "labels": np.zeros((1, 32, 32, 1), np.int64)}),
    ):
        theirs, ours = pair(task)
        with pytest.raises((ValueError, RuntimeError)):
            theirs(**{name: torch.from_numpy(array) for name, array in given.items()})
        with pytest.raises(MobileViTError):
            ours(**given)


def test_configuration_has_every_field_and_default():
    theirs = transformers.MobileViTConfig().to_dict()
    ours = huggingface.MobileViTConfig().to_dict()
    theirs_only = {"_name_or_path", "chunk_size_feed_forward", "dtype", "is_encoder_decoder", "transformers_version"}
    assert theirs.keys() - ours.keys() <= theirs_only, theirs.keys() - ours.keys()
    for name in ours.keys() & theirs.keys():
        value = list(theirs[name]) if isinstance(theirs[name], tuple) else theirs[name]
        assert ours[name] == value, name


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"num_labels": 3},
        {"id2label": {0: "cat", 1: "dog", 2: "fox"}, "label2id": {"cat": 0, "dog": 1, "fox": 2}},
        {"hidden_sizes": [8, 16, 24], "problem_type": "regression", "house_number": 7},
    ],
)
def test_configuration_files_are_read_both_ways(values, tmp_path):
    transformers.MobileViTConfig(**values).save_pretrained(tmp_path / "theirs")
    ours = huggingface.MobileViTConfig.from_pretrained(tmp_path / "theirs" / "config.json")
    assert ours == huggingface.MobileViTConfig(
        **values,
        transformers_version=json.loads((tmp_path / "theirs" / "config.json").read_text())["transformers_version"],
    )
    ours.save_pretrained(tmp_path / "ours")
    theirs = transformers.MobileViTConfig.from_pretrained(tmp_path / "ours")
    for name in ("hidden_sizes", "num_labels", "id2label", "label2id", "problem_type", "atrous_rates"):
        assert getattr(theirs, name) == getattr(ours, name), name
    assert getattr(theirs, "house_number", None) == values.get("house_number")


@pytest.mark.parametrize("task", CLASSES)
def test_folders_are_read_both_ways(task, tmp_path):
    theirs, ours = pair(task)
    pixel_values = drawing.draw_pixels((1, 3, 32, 32))
    expected = ours(pixel_values)[0]
    theirs.save_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    assert error(expected, OURS[task].from_pretrained(tmp_path / "theirs")(pixel_values)[0]) == 0
    again, notes = CLASSES[task].from_pretrained(tmp_path / "ours", dtype=torch.float64, output_loading_info=True)
    assert not any(notes.values()), notes
    with torch.no_grad():
        assert error(again.eval()(torch.from_numpy(pixel_values))[0].numpy(), expected) <= LIMITS[np.float64]
