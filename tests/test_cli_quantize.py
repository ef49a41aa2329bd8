"""``weights quantize``: what it writes and says. Oracle for the figures: the same, counted here with the reference."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import run
from fuzz.samples import tiny_config
from safetensors.numpy import load_file, save_file
from tiny import CLASSES, open_tiny, photo, plant, save_photo, save_tiny

from mobilevit_np import Classifier
from mobilevit_np.checkpoints import convert, init_parameters, open_checkpoint, quantization, save_checkpoint
from mobilevit_np.checkpoints.configurations import full_config
from mobilevit_np.errors import ImageError
from mobilevit_np.model import classifier
from mobilevit_np.pipelines.agreement import _difference, agreement, differences, drawn_photos, label_in_name
from mobilevit_np.preprocess import decode, preprocess
from mobilevit_np.scope import Scope


@pytest.fixture(autouse=True)
def however_small(monkeypatch):
    """All weights of the tests' tiny networks are quantized."""
    monkeypatch.setattr(quantization, "MIN_SIZE", 0)


@pytest.fixture
def quantize(capsys, tmp_path, monkeypatch):
    """Run the command in an empty folder: (exit code, lines of stdout, lines of stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = run(["weights", "quantize", "--engine", "reference", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return call


def logits_of(folder, paths):
    checkpoint = open_tiny(folder)
    pixel_values = np.concatenate([preprocess(decode(path), checkpoint.profile) for path in paths])
    return classifier(pixel_values, Scope(checkpoint.tensors), checkpoint.config).astype(np.float64)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_figures(quantize, tiny_classifier):
    """On 12 photos, 8 of them named by one of the labels."""
    names = [*(f"{CLASSES[i % 5]}_{i}.png" for i in range(4)), *(f"PAPER_{i}.png" for i in range(4)), "paper.png",
             "well_a.png", "water_3.png", "x.png"]  # fmt: skip
    paths = sorted(save_photo(Path("photos", name), seed=i) for i, name in enumerate(names))
    code, out, err = quantize("--json", tiny_classifier, "int8", "--photos", "photos")
    assert (code, err, len(out)) == (0, [], 1)
    record = json.loads(out[0])
    assert [Path(path).name for path in record["written"]][-1] == "model.safetensors"
    assert record["bytes"] == [Path(f, "model.safetensors").stat().st_size for f in (tiny_classifier, "int8")]
    before, after = logits_of(tiny_classifier, paths), logits_of("int8", paths)
    best = before.argmax(axis=1)
    moved = np.abs(softmax(after) - softmax(before))[np.arange(12), best]
    truth = [label_in_name(path, CLASSES) for path in paths]
    judged = [i for i in range(12) if truth[i] is not None]
    found = record["agreement"]
    assert (found["photos"], found["labeled"], len(judged), record["photos"]) == (12, 8, 8, "given")
    assert found["logits_error"] == pytest.approx(np.abs(after - before).max() / np.abs(before).max(), rel=1e-3)
    assert found["unchanged"] == pytest.approx((best == after.argmax(axis=1)).mean())
    assert found["probability_change"] == pytest.approx(moved.mean(), rel=1e-2)
    right = [np.mean([logits[i].argmax() == truth[i] for i in judged]) for logits in (before, after)]
    assert found["right"] == pytest.approx(right)
    assert found["probability_change"] > 0


def test_what_it_says(quantize, tiny_classifier):
    save_photo(Path("photos/stone_1.png"))
    code, out, err = quantize(tiny_classifier, "int8.safetensors", "--photos", "photos")
    assert (code, err) == (0, [])
    assert out[0] == f"wrote {Path('int8.safetensors').resolve()}"
    assert " bytes before, " in out[1]
    assert out[2].split() == ["weights", "tensors", "largest", "error", "mean", "error"]
    assert out[3].split()[:2] == ["stem", "1"]
    assert "on 1 given photo" in out
    assert any(line.startswith("  logits: off by at most ") for line in out)
    assert any(line.startswith("  first answer: the same for ") for line in out)
    assert any(line.startswith("  right: ") and line.endswith(" now, of 1 named by their label") for line in out)


def with_kind(folder, kind, count=5):
    return save_tiny(folder, labels=CLASSES[:count], fields={"problem_type": kind})


def test_yes_and_no_of_each_class_are_compared_where_each_is_a_question(quantize, tmp_path):
    """Oracle: the share of classes whose sigmoid stays on its side of a half, and how far the sigmoids moved."""
    folder = with_kind(tmp_path / "w", "multi_label_classification")
    paths = sorted(save_photo(Path("photos", f"stone_{i}.png"), seed=i) for i in range(4))
    record = json.loads(quantize("--json", folder, "int8", "--photos", "photos")[1][0])
    before, after = (1 / (1 + np.exp(-logits_of(where, paths))) for where in (folder, "int8"))
    found = record["agreement"]
    assert found["unchanged"] == pytest.approx(((before > 0.5) == (after > 0.5)).mean())
    assert found["probability_change"] == pytest.approx(np.abs(after - before).mean(), rel=1e-2)
    assert (found["labeled"], found["right"]) == (0, None)  # a photo's name tells one class, and not that it's alone
    lines = quantize(folder, "again", "--photos", "photos")[1]
    assert any(line.startswith("  yes or no of a class: the same for ") for line in lines)


@pytest.mark.parametrize(
    ("kind", "unchanged", "moved"),
    [
        (
            "single_label_classification",
            1,
            abs(np.exp(2) / (np.exp([2, 1, -1]).sum()) - np.exp(2) / np.exp([2, -1, -1]).sum()),
        ),
        ("multi_label_classification", 2 / 3, (1 / (1 + np.exp(-1)) - 1 / (1 + np.exp(1))) / 3),
        ("regression", None, None),
    ],
)
def test_one_class_of_three_that_changes_sides(kind, unchanged, moved):
    found = _difference(np.array([2.0, 1.0, -1.0]), np.array([2.0, -1.0, -1.0]), None, kind)
    assert (found.unchanged, found.probability_change) == (unchanged, moved if moved is None else pytest.approx(moved))
    assert (found.error, found.magnitude) == (2, 2)


def test_a_regression_s_numbers_move_and_nothing_else_is_said(quantize, tmp_path):
    folder = with_kind(tmp_path / "w", "regression", 1)
    save_photo(Path("photos/stone_1.png"))
    record = json.loads(quantize("--json", folder, "int8", "--photos", "photos")[1][0])
    found = record["agreement"]
    assert (found["unchanged"], found["probability_change"], found["right"]) == (None, None, None)
    assert found["logits_error"] > 0
    lines = quantize(folder, "again", "--photos", "photos")[1]
    assert lines[-1].startswith("  logits: off by at most ")


@pytest.mark.parametrize(("task", "what"), [("classifier", "first answer"), ("segmenter", "class of a place")])
def test_without_photos_it_draws_some(quantize, tmp_path, task, what):
    code, out, err = quantize(save_tiny(tmp_path / "w", task), "int8")
    assert (code, err) == (0, [])
    assert "on 8 drawn photos" in out
    assert any(line.startswith(f"  {what}: the same for ") for line in out)
    assert not any(line.startswith("  right: ") for line in out)


def test_a_bare_model_has_no_answers_to_compare(quantize, tmp_path):
    code, out, err = quantize(save_tiny(tmp_path / "w", "backbone"), "int8")
    assert (code, err) == (0, [])
    assert not any("photos" in line for line in out)
    assert open_checkpoint("int8").provenance.quantization


@pytest.mark.parametrize(
    ("network", "reason"),
    [({"num_labels": 0}, "it has no classes"), ({"num_channels": 4}, "it takes 4 channels, and photos have 1 or 3")],
)
def test_what_gives_no_answers_to_photos_is_quantized_all_the_same(quantize, tmp_path, network, reason):
    config = tiny_config(**network)
    fields = {**full_config(config, "classifier", CLASSES[: config.num_labels])}
    save_checkpoint("w", init_parameters(config, "classifier"), {"id2label": {}, **fields})
    save_photo(Path("a.png"))
    code, out, err = quantize("w", "int8", "--photos", "a.png")
    assert (code, err) == (0, [])
    assert f"no answers were compared: {reason}" in out
    assert any(line.startswith("feed-forward ") for line in out)
    assert not any("logits" in line for line in out)
    record = json.loads(quantize("--json", "w", "again")[1][0])
    assert (record["agreement"], record["notes"][-1]) == (None, f"no answers were compared: {reason}")


@pytest.mark.parametrize("task", ["classifier", "segmenter"])
def test_nothing_but_the_rounding_is_measured(quantize, tmp_path, task):
    """One file can't say how photos are prepared, nor the output stride: the figures are the folder's all the same."""
    where = save_tiny(tmp_path / "w", task, output_stride=8)
    folder, file = (json.loads(quantize("--json", where, out)[1][0]) for out in ("int8", "int8.safetensors"))
    assert file["agreement"] == folder["agreement"]
    assert file["groups"] == folder["groups"]


def test_a_stem_that_is_reversed_is_no_error_of_the_rounding(quantize, tiny_classifier):
    """timm's order isn't Hugging Face's: the stem, and the answers, are compared in the same one."""
    convert(tiny_classifier, "timm.safetensors", scheme="timm")
    stems = [json.loads(quantize("--json", where, out)[1][0])["groups"][0] for where, out in
             [(tiny_classifier, "a"), ("timm.safetensors", "b")]]  # fmt: skip
    assert stems[0] == pytest.approx(stems[1])
    assert 0 < stems[1]["largest"] < 0.01


def test_what_is_left_out_is_said_once(quantize, tiny_classifier):
    tensors = load_file(tiny_classifier / "model.safetensors")
    save_file({**tensors, "optimizer.step": np.zeros(1)}, "training.safetensors")
    code, _, err = quantize("training.safetensors", "int8.safetensors")
    assert (code, err) == (0, ["mobilevit-np: warning: training.safetensors: left out: optimizer (1 tensor)"])


def test_settings_that_are_wrong_are_found_before_anything_is_written(quantize, tmp_path):
    where = save_tiny(tmp_path / "w", preprocessing={"size": "wide"})
    code, out, err = quantize(where, "int8.safetensors")
    assert (code, out, len(err)) == (2, [], 1)
    assert f"{where}/preprocessor_config.json: " in err[0]
    assert [path.name for path in Path().iterdir()] == ["w"]


def test_a_photo_without_an_answer_is_named(quantize, tiny_classifier, monkeypatch):
    """What kept it from one may be no fault of the photo's, and say nothing of it."""
    plant(monkeypatch, "classifier", lambda x, scope, config: np.full((len(x), 5), np.nan), "reference")
    save_photo(Path("a.png"))
    code, _, err = quantize(tiny_classifier, "int8", "--photos", "a.png")
    assert (code, len(err)) == (1, 1)
    assert err[0].startswith("mobilevit-np: a.png: tiny-classifier gives an answer that isn't a number")
    code, _, err = quantize(tiny_classifier, "again")
    assert (code, len(err)) == (1, 8)
    assert err[7].startswith("mobilevit-np: drawn photo 8: ")


def test_photos_that_cannot_be_read_are_named_and_give_1(quantize, tiny_classifier):
    save_photo(Path("photos/a.png"))
    Path("photos/b.png").write_bytes(b"no photo")
    code, out, err = quantize(tiny_classifier, "int8", "--photos", "photos", "nowhere.png", "nothing*")
    assert code == 1
    assert "on 1 given photo" in out
    assert len(err) == 3
    for name, line in zip(("nothing*", "b.png", "nowhere.png"), err, strict=True):
        assert name in line


def test_what_cannot_be_done_is_one_line_and_leaves_nothing(quantize, tiny_classifier):
    for arguments, words in (
        (["nowhere", "x"], "there is no file or folder 'nowhere'"),
        ([tiny_classifier, "missing/x.safetensors"], "missing/x.safetensors: no such file"),
        ([tiny_classifier, "x", "--photos", "-"], "are read twice"),
        ([tiny_classifier, "x", "--threads", "2"], "--threads is for the fast engine"),
    ):
        code, out, err = quantize(*arguments)
        assert (code, out, len(err)) == (2, [], 1)
        assert words in err[0]
        assert list(Path().iterdir()) == []


def test_the_same_weights_agree(tiny_classifier):
    same = Classifier.from_pretrained(tiny_classifier)
    found = agreement(differences(same, same, [photo(seed=i) for i in range(3)]))
    assert (found.photos, found.logits_error, found.unchanged, found.probability_change) == (3, 0, 1, 0)
    assert (found.labeled, found.right) == (0, None)
    assert agreement([]) is None


def test_an_unreadable_photo_is_its_error(tiny_classifier):
    same = Classifier.from_pretrained(tiny_classifier)
    good, bad = differences(same, same, [photo(), b"no photo"])
    assert good.unchanged == 1
    assert isinstance(bad, ImageError)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pets/American_Bulldog_12.jpg", 1),
        ("american bulldog_1.jpg", 1),
        ("Bengal_7.jpeg", 0),
        (Path("a/Bengal_07.png"), 0),
        ("Bengal.jpg", None),
        ("Bengal_.jpg", None),
        ("Bengals_3.jpg", None),
        ("_3.jpg", None),
        (b"Bengal_3.jpg", None),
    ],
)
def test_labels_in_names(name, expected):
    assert label_in_name(name, ("Bengal", "american bulldog")) == expected


def test_drawn_photos_are_the_same_every_time_and_differ_from_each_other():
    first, again = ([np.asarray(image) for image in drawn_photos(3)] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert len({image.tobytes() for image in first}) == 3
