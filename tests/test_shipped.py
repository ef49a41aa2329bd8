"""The shipped models: they're what their cards say, and they answer well on the example photo.

Each card states the sha256 of its model.safetensors: weights that changed without their card are a mistake.
"""

import json

import numpy as np
import pytest
from commands import run
from PIL import Image
from tiny import CHELSEA, REPOSITORY

from mobilevit_np import Classifier, Segmenter
from mobilevit_np.checkpoints import info
from mobilevit_np.checkpoints.shipped import DEFAULTS

CLASSIFIER, SEGMENTER = DEFAULTS["classifier"], DEFAULTS["segmenter"]
CATS = {
    "abyssinian", "bengal", "birman", "bombay", "british shorthair", "egyptian mau", "maine coon", "persian", "ragdoll",
    "russian blue", "siamese", "sphynx", "other cat",
}  # fmt: skip


def plain(label: str) -> str:
    return label.lower().replace("_", " ")


@pytest.fixture(scope="module")
def segmentation():
    return Segmenter.from_pretrained()(CHELSEA)


def card(name: str) -> str:
    return (REPOSITORY / "weights" / name / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [CLASSIFIER, SEGMENTER])
def test_the_file_is_the_one_recorded(name):
    assert info(name)["sha256"] in card(name)


@pytest.mark.parametrize(("name", "task", "classes"), [(CLASSIFIER, "classifier", 40), (SEGMENTER, "segmenter", 3)])
def test_it_is_what_its_card_says(name, task, classes):
    facts = info(name)
    assert (facts["task"], facts["variant"], facts["classes"]) == (task, "xx_small", classes)
    assert (facts["names"], facts["channel_order"]) == ("huggingface", "BGR")
    for word in ("Oxford-IIIT Pet", "license", "Limits", "cats and dogs"):
        assert word in card(name)


def test_labels():
    labels = [plain(label) for label in Classifier.from_pretrained().labels]
    assert len(set(labels)) == 40
    assert set(labels) > CATS
    assert labels[-3:] == ["other cat", "other dog", "neither cat nor dog"]
    assert Segmenter.from_pretrained().labels == ("background", "cat", "dog")
    assert Segmenter.from_pretrained().checkpoint.config.output_stride == 16


def test_it_says_that_it_knows_cats_and_dogs_only():
    for model in (Classifier.from_pretrained(), Segmenter.from_pretrained()):
        assert "cat" in model.knows
        assert "dog" in model.knows


def test_chelsea_is_a_cat():
    assert plain(Classifier.from_pretrained()(CHELSEA).label) in CATS


def test_float64_gives_the_same_answer():
    narrow, wide = (Classifier.from_pretrained(dtype=dtype)(CHELSEA).logits for dtype in ("float32", "float64"))
    np.testing.assert_allclose(narrow, wide, atol=1e-4 * np.abs(wide).max(), rtol=0)


def test_chelsea_is_found(segmentation):
    """She fills three quarters of the photo."""
    assert segmentation.areas["cat"] >= 0.6
    assert "dog" not in segmentation.areas


def test_chelsea_where_a_hand_drew_her(segmentation):
    """The hand-drawn mask, of her photo's size: 0 is background. Its IoU was 0.92."""
    with Image.open(CHELSEA.with_name("chelsea-mask.png")) as image:
        drawn = np.asarray(image) > 0
    found = segmentation.mask == segmentation.labels.index("cat")
    assert drawn.shape == found.shape
    assert (drawn & found).sum() / (drawn | found).sum() >= 0.88


def test_where_nothing_is_it_sees_no_animal():
    for value in (0, 127, 255):
        assert set(Segmenter.from_pretrained()(np.full((64, 96, 3), value, np.uint8)).areas) == {"background"}


def test_the_commands_use_them_without_being_told(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["classify", str(CHELSEA), "--top", "1"]) == 0
    classified = capsys.readouterr().out.splitlines()
    assert classified[0].startswith(f"{CLASSIFIER} (knows ")
    assert plain(classified[2].split("  ")[1].strip()) in CATS
    assert run(["segment", str(CHELSEA), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["model"] == SEGMENTER
    assert {entry["label"] for entry in record["areas"]} <= {"background", "cat", "dog"}
    assert run(["weights", "list"]) == 0
    listed = capsys.readouterr().out
    assert CLASSIFIER in listed
    assert SEGMENTER in listed
