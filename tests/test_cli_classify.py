"""``classify``: tables, JSON, photos from everywhere, bad ones among them. Answers are held against Classifier's."""

import io
import json
import os
import re
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from commands import run
from tiny import CLASSES, hub_cache, photo, plant, save_photo, save_tiny

from mobilevit_np import Classifier
from mobilevit_np.cli.inputs import expand
from mobilevit_np.cli.terminal import bar
from mobilevit_np.model import classifier
from mobilevit_np.preprocess import PROFILES


@pytest.fixture
def classify(tiny_classifier, capsys, tmp_path, monkeypatch):
    """Run the command in an empty folder: (exit code, lines of stdout, lines of stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, weights=tiny_classifier):
        code = run(["classify", *map(str, arguments), "--weights", str(weights)])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return call


@pytest.fixture
def cat(classify):
    """A photo in that folder, under a relative path."""
    return save_photo(Path("cat.png"))


def expected_rows(folder, image, top=5, **options):
    answer = Classifier.from_pretrained(folder, **options)(image, top=top)
    return [(p.label, f"{p.probability:.1%}") for p in answer.predictions]


def rows(lines):
    found = [re.fullmatch(r"  (\S+) +(\d+\.\d%)(?:  [█▏▎▍▌▋▊▉]+)?", line) for line in lines]
    assert all(found), lines
    return [match.groups() for match in found]


def shown(lines):
    """The photos of several tables, in their order."""
    return [line for line in lines[1:] if not line.startswith("  ")]


def test_table(classify, cat, tiny_classifier):
    code, out, err = classify(cat)
    assert (code, err) == (0, [])
    assert out[:2] == ["tiny-classifier (knows 5 classes: stone, paper, scissors ...)", "cat.png"]
    assert rows(out[2:]) == expected_rows(tiny_classifier, cat)
    assert len({line.index("%") for line in out[2:]}) == 1  # in columns


@pytest.mark.parametrize("fraction", [0, 0.001, 0.25, 0.5, 0.987, 1])
def test_bars_are_as_long_as_their_fraction(fraction):
    eighths = {c: i for i, c in enumerate(" ▏▎▍▌▋▊▉█")}
    assert sum(eighths[c] for c in bar(fraction)) == round(fraction * 24 * 8)
    assert not set(bar(fraction)[:-1]) - {"█"}


@pytest.mark.parametrize(("top", "count"), [(1, 1), (3, 3), (5, 5), (1000, 5)])
def test_top(classify, cat, tiny_classifier, top, count):
    code, out, _ = classify(cat, "--top", top)
    assert code == 0
    assert rows(out[2:]) == expected_rows(tiny_classifier, cat, top)
    assert len(out) == 2 + count


def test_json(classify, cat, tiny_classifier):
    save_photo(Path("dog.png"), seed=1)
    code, out, err = classify("--json", "--top", 3, cat, "dog.png")
    assert (code, err, len(out)) == (0, [], 2)
    for line, image in zip(out, (cat, Path("dog.png")), strict=True):
        record = json.loads(line)
        expected = Classifier.from_pretrained(tiny_classifier)([cat, "dog.png"], top=3)[image != cat]
        assert set(record) == {"image", "model", "predictions"}
        assert (record["image"], record["model"]) == (str(image), "tiny-classifier")
        assert len(record["predictions"]) == 3
        for found, p in zip(record["predictions"], expected.predictions, strict=True):
            assert (found["label"], found["index"]) == (p.label, p.index)
            assert found["probability"] == pytest.approx(p.probability, abs=1e-6)


def of_kind(folder, kind, count=5):
    return save_tiny(folder, labels=CLASSES[:count], fields={"problem_type": kind})


def test_each_answer_on_its_own_says_so(classify, cat, tmp_path):
    folder = of_kind(tmp_path / "tags", "multi_label_classification")
    code, out, err = classify(cat, weights=folder)
    assert (code, err) == (0, [])
    assert out[0] == "tags (knows 5 classes: stone, paper, scissors ...; each answer is a yes or no of its own)"
    assert rows(out[2:]) == expected_rows(folder, cat)
    shares = [float(share.rstrip("%")) for _, share in rows(out[2:])]
    assert sum(shares) > 105  # they'd be 100 together by softmax
    record = json.loads(classify(cat, "--json", weights=folder)[1][0])
    assert record["problem_type"] == "multi_label_classification"
    assert {frozenset(each) for each in record["predictions"]} == {frozenset(("label", "index", "probability"))}


@pytest.mark.parametrize(("count", "knows"), [(1, "gives one number: stone"), (2, "gives 2 numbers: stone, paper")])
def test_a_regression_gives_its_numbers(classify, cat, tmp_path, count, knows):
    """No percentage, no bar: the logits themselves."""
    folder = of_kind(tmp_path / "ages", "regression", count)
    expected = Classifier.from_pretrained(folder)(cat)
    code, out, err = classify(cat, weights=folder)
    assert (code, err) == (0, [])
    assert out[0] == f"ages ({knows}; numbers, not probabilities)"
    assert [line.split()[0] for line in out[2:]] == [p.label for p in expected.predictions]
    scores = sorted(expected.logits.tolist(), reverse=True)
    assert [float(line.split()[1]) for line in out[2:]] == pytest.approx(scores, rel=1e-5)
    assert len({len(line) for line in out[2:]}) == 1  # in columns
    record = json.loads(classify(cat, "--json", weights=folder)[1][0])
    assert record["problem_type"] == "regression"
    assert [set(each) for each in record["predictions"]] == [{"label", "index", "score"}] * count
    assert [each["score"] for each in record["predictions"]] == pytest.approx(scores, rel=1e-5)


def test_one_class_is_never_certain_by_having_no_other(classify, cat, tmp_path):
    code, out, _ = classify(cat, weights=save_tiny(tmp_path / "one", labels=["cat"]))
    assert code == 0
    assert out[0] == "one (knows one class: cat; each answer is a yes or no of its own)"
    assert rows(out[2:]) == expected_rows(tmp_path / "one", cat)
    assert "100.0%" not in out[2]


@pytest.mark.parametrize("name", PROFILES)
def test_profile(classify, cat, tiny_classifier, monkeypatch, name):
    """With a network that has looked at the pixels: each profile gives others."""

    def looking(pixel_values, scope, config):
        corners = pixel_values[:, :, ::100, ::100].reshape(len(pixel_values), -1)
        return np.sin(1000 * corners[:, :5] + 50 * pixel_values.mean())

    plant(monkeypatch, "classifier", looking)
    code, out, _ = classify(cat, "--profile", name)
    assert code == 0
    assert rows(out[2:]) == expected_rows(tiny_classifier, cat, profile=name)
    for other in (None, *PROFILES):
        assert (rows(out[2:]) == expected_rows(tiny_classifier, cat, profile=other)) == (name == other)


def test_dtype(classify, cat, monkeypatch):
    seen = []

    def looking(pixel_values, scope, config):
        seen.append(pixel_values.dtype.name)
        return classifier(pixel_values, scope, config)

    plant(monkeypatch, "classifier", looking)
    assert classify(cat)[0] == classify(cat, "--dtype", "float64")[0] == 0
    assert seen == ["float32", "float64"]


def test_weights_from_everywhere(classify, cat, tiny_classifier, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(hub_cache(tmp_path / "home", "apple/mobilevit-small")))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    expected = rows(classify(cat)[1][2:])
    for weights, name in (
        (tiny_classifier / "model.safetensors", "tiny-classifier"),
        (f"{tiny_classifier}/", "tiny-classifier"),
        ("apple/mobilevit-small", "apple/mobilevit-small"),
    ):
        code, out, _ = classify(cat, weights=weights)
        assert code == 0
        assert out[0].startswith(f"{name} (knows")
        assert rows(out[2:]) == expected


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("nowhere", "there is no file or folder 'nowhere'"),
        ("empty", "the folder empty holds no weights; it should hold model.safetensors or pytorch_model.bin"),
        ("", "a checkpoint is given as a path or a name"),
        ("cat.png", "cat.png"),
        ("~nobody-at-all/weights", "nobody-at-all"),
    ],
)
def test_weights_that_are_not_there(classify, cat, weights, words):
    Path("empty").mkdir()
    code, out, err = classify(cat, weights=weights)
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith("mobilevit-np: ")
    assert words in err[0]


def test_weights_for_the_other_task(classify, cat, tiny_segmenter):
    assert classify(cat, weights=tiny_segmenter) == (
        2, [], ["mobilevit-np: tiny-segmenter is a segmenter, not a classifier; give the weights of one"],
    )  # fmt: skip


def test_unknown_profile(classify, cat):
    code, out, err = classify(cat, "--profile", "vanilla")
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith("mobilevit-np: there is no preprocessing profile 'vanilla'; there are huggingface-clas")


# -- which photos ------------------------------------------------------------------------------------------------------


@pytest.fixture
def album(classify):
    for i, name in enumerate(["b.png", "a.JPG", "deep/er/c.png", "deep/d.bmp", ".hidden.png", ".cache/e.png"]):
        save_photo(Path("album", name), seed=i)
    Path("album/notes.txt").write_text("no photo")
    Path("album/empty.png").mkdir()
    return "album"


def test_folders_and_all_below_in_the_order_of_their_names(classify, album):
    code, out, err = classify(album)
    assert (code, err) == (0, [])
    assert shown(out) == ["album/a.JPG", "album/b.png", "album/deep/d.bmp", "album/deep/er/c.png"]


def test_patterns_in_the_order_of_their_names(classify, album):
    assert shown(classify("album/*.png")[1]) == ["album/b.png"]  # empty.png is a folder
    assert shown(classify("album/?.*")[1]) == ["album/a.JPG", "album/b.png"]
    assert shown(classify("album/**/*.png")[1]) == ["album/b.png", "album/deep/er/c.png"]


def test_a_file_whose_name_reads_like_a_pattern(classify):
    save_photo(Path("cat[1].png"))
    save_photo(Path("cat1.png"))
    assert shown(classify("cat[1].png")[1]) == ["cat[1].png"]


def test_photos_come_in_the_order_they_are_given(classify, album, cat):
    code, out, _ = classify(cat, "album/b.png", cat, "album/deep")
    assert code == 0
    assert shown(out) == ["cat.png", "album/b.png", "cat.png", "album/deep/d.bmp", "album/deep/er/c.png"]


@pytest.mark.parametrize(
    "argument", ["nothing*.png", "hollow", "missing.png", "notes.txt", "cut.png", "http://a.org/?b"]
)
def test_a_bad_one_among_many_is_reported_and_skipped(classify, cat, argument):
    Path("hollow").mkdir()
    Path("notes.txt").write_text("no photo")
    Path("cut.png").write_bytes(cat.read_bytes()[:2000])
    code, out, err = classify(cat, argument, cat)
    assert code == 1
    assert shown(out) == ["cat.png", "cat.png"]
    assert len(err) == 1
    assert err[0].startswith(f"mobilevit-np: {argument}")
    assert classify(argument)[0] == 2  # nothing but it
    assert classify(argument, argument)[0] == 2


def test_a_bad_one_in_json_leaves_only_good_lines(classify, cat):
    code, out, err = classify("--json", "missing.png", cat)
    assert (code, len(out), len(err)) == (1, 1, 1)
    assert json.loads(out[0])["image"] == "cat.png"


def standard_input(monkeypatch, data, seekable=True):
    buffer = io.BytesIO(data)
    buffer.seekable = lambda: seekable
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": buffer}))


@pytest.mark.parametrize("seekable", [True, False])
def test_standard_input(classify, cat, tiny_classifier, monkeypatch, seekable):
    standard_input(monkeypatch, cat.read_bytes(), seekable)
    code, out, _ = classify("-")
    assert code == 0
    assert out[1] == "-"
    assert rows(out[2:]) == expected_rows(tiny_classifier, cat)


def test_standard_input_that_is_no_photo_or_closed(classify, cat, monkeypatch):
    standard_input(monkeypatch, b"")
    code, out, err = classify("-", cat)
    assert (code, shown(out), len(err)) == (1, ["cat.png"], 1)
    monkeypatch.setattr(sys, "stdin", None)
    code, _, err = classify("-")
    assert (code, err) == (2, ["mobilevit-np: - means standard input, and that is closed"])


def test_expanding_reads_no_file(monkeypatch, tmp_path):
    monkeypatch.setattr("builtins.open", lambda *_: pytest.fail("opened"))
    (tmp_path / "x.png").symlink_to(tmp_path / "nowhere")
    assert [p.name for p in expand([str(tmp_path / "x.png"), "y"])] == [str(tmp_path / "x.png"), "y"]


# -- extreme photos ----------------------------------------------------------------------------------------------------


def test_one_pixel(classify):
    save_photo(Path("dot.png"), 1, 1)
    code, out, _ = classify("dot.png")
    assert (code, len(out)) == (0, 7)


def test_a_panorama_of_60000_by_20(classify, tiny_classifier):
    save_photo(Path("long.png"), 20, 60_000)
    code, out, _ = classify("long.png")
    assert code == 0
    middle = photo(20, 60_000)[:, 29_900:30_100]  # all that the crop keeps, and more
    found, expected = rows(out[2:]), expected_rows(tiny_classifier, middle)
    assert found == expected


def bomb(side):
    """A PNG that says it has side x side pixels, in a hundred bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [12_000, 15_000, 60_000])
def test_a_decompression_bomb(classify, cat, side):
    Path("bomb.png").write_bytes(bomb(side))
    code, out, err = classify("bomb.png", cat)
    assert (code, shown(out), len(err)) == (1, ["cat.png"], 1)
    assert ("more than the limit of 134 million" in err[0] or "more pixels than Pillow" in err[0]) == (side > 2**13.5)


# -- names and terminals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "visible"),
    [
        ("katze-ü-猫.png", "katze-ü-猫.png"),
        ("new\nline.png", "new\\nline.png"),
        ("red\x1b[31m.png", "red\\x1b[31m.png"),
        (os.fsdecode(b"caf\xe9.png"), "caf\\udce9.png"),
        ("-dash.png", "-dash.png"),
        ("two words.png", "two words.png"),
    ],
)
def test_names_of_all_kinds(classify, tiny_classifier, name, visible):
    Path(name).write_bytes(save_photo(Path("cat.png")).read_bytes())
    code, out, err = classify("--json", "./" + name if name.startswith("-") else name)
    assert (code, err) == (0, [])
    assert Path(json.loads(out[0])["image"]) == Path(name)
    code, out, err = classify("./" + name if name.startswith("-") else name)
    assert (code, err, len(out)) == (0, [], 7)
    assert out[1].removeprefix("./") == visible
    Path(name).write_bytes(b"damaged")
    code, out, err = classify("./" + name if name.startswith("-") else name)
    assert (code, len(out), len(err)) == (2, 1, 1)
    assert err[0].isprintable()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_output_encoding(tiny_classifier, tmp_path, monkeypatch, encoding):
    """With ASCII bars are hash signs and other letters escaped; nothing is lost and nothing raises."""
    path = save_photo(tmp_path / "猫ü.png")
    weights = save_tiny(tmp_path / "weights", labels=("köter", "猫", "c", "d", "e"))
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    assert run(["classify", str(path), "--weights", str(weights)]) == 0
    text = raw.getvalue().decode(encoding)
    dog, bars = ("k\\xf6ter" if encoding == "ascii" else "köter"), ("█" if encoding == "utf-8" else "#")
    for piece in (dog, "猫" if encoding == "utf-8" else "\\u732b", bars):
        assert piece in text
    assert len({line.index("%") for line in text.splitlines()[2:]}) == 1


def test_long_and_hostile_labels_stay_on_their_line(classify, cat, tmp_path):
    labels = ("great white shark, " * 10, "two\nlines", "\x1b[31mred", "\u202etfel", "e")
    code, out, err = classify(cat, weights=save_tiny(tmp_path / "weights", labels=labels))
    assert (code, err, len(out)) == (0, [], 7)
    assert all(line.isprintable() for line in out)
    assert max(len(line) for line in out[2:]) < 80
    code, out, _ = classify(cat, "--json", weights=tmp_path / "weights")
    assert sorted(p["label"] for p in json.loads(out[0])["predictions"]) == sorted(labels)


def test_the_model_says_what_it_knows(classify, cat, tmp_path):
    weights = save_tiny(tmp_path / "pets", fields={"knows": "37 breeds of cats and dogs, and nothing else"})
    assert classify(cat, weights=weights)[1][0] == "pets (knows 37 breeds of cats and dogs, and nothing else)"


def test_an_empty_path_is_called_one(classify):
    code, _, err = classify("")
    assert (code, err) == (2, ["mobilevit-np: the empty path '': there is no such file"])
