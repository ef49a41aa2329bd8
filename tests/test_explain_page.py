"""``explain``: the page's numbers are the trace's, it's bounded, and nothing in it does harm.

Without a browser: the page is parsed, its data read back. tests/browser opens it in Chromium. Oracles: ``golden.trace``
in float32, bit for bit where the page says so; the pipelines; the checkpoint's own counts.
"""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_golden_page import HOSTILE, Page
from tiny import CHELSEA, REPOSITORY, SIDE, open_tiny, save_photo, save_tiny

from mobilevit_np.checkpoints.shipped import DEFAULTS
from mobilevit_np.cli import run
from mobilevit_np.errors import InputError
from mobilevit_np.explain.explanation import Layer, explain
from mobilevit_np.explain.page import ATTENTION_BYTES, CHANNELS, _layers, explain_page
from mobilevit_np.explain.page import SIDE as MAP_SIDE
from mobilevit_np.golden import network_of, trace
from mobilevit_np.ops import best_class_at_size, softmax
from mobilevit_np.pages import STEPS
from mobilevit_np.pipelines import Classifier

MOST = 10_000_000  # bytes of a page
TASKS = ("classifier", "segmenter")


@cache
def explained(task):
    """The shipped network's way with the example cat at 128 pixels, its page, and its trace in float32.

    Small enough, whatever its processor says, for every probability to be kept as it is.
    """
    sizes = {"size": {"shortest_edge": 144}, "crop_size": {"height": 128, "width": 128}}
    with tempfile.TemporaryDirectory() as beside:
        folder = Path(beside) / DEFAULTS[task]
        shutil.copytree(REPOSITORY / "weights" / folder.name, folder)
        file = folder / "preprocessor_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | sizes))
        explanation = explain(CHELSEA, folder)
        golden = trace(CHELSEA, network_of(explanation.checkpoint), dtype="float32")
    return explanation, explain_page(explanation, name="chelsea.png"), golden.tensors


def decoded(layer):
    """A layer's probabilities as the page holds them: (places, rows, columns, heads, N)"""
    nh, nw = layer["patches"]
    rows, columns = -(-nh // layer["step"]), -(-nw // layer["step"])
    shape = (layer["places"], rows, columns, layer["heads"], nh * nw)
    raw = base64.b64decode(layer["probabilities"])
    if layer["width"] == 4:
        return np.frombuffer(raw, "<f4").reshape(shape)
    largest = np.frombuffer(base64.b64decode(layer["largest"]), "<f4").reshape(*shape[:-1], 1)
    return np.frombuffer(raw, "<u2").reshape(shape) / 65535 * largest


def as_kept(probabilities, layer):
    """The same out of a tensor (P, h, N, N), by loops."""
    (nh, nw), step = layer["patches"], layer["step"]
    return np.array(
        [
            [
                [probabilities[place, :, i * nw + j] for j in range(0, nw, step)]
                for i in range(0, nh, step)
            ]
            for place in range(layer["places"])
        ]
    )  # fmt: skip


# -- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_attention_is_the_trace_s_bit_for_bit(task):
    _, page, tensors = explained(task)
    layers = Page(page).data["layers"]
    assert [layer["path"] for layer in layers] == [path for path in tensors if path.endswith(".probabilities")]
    assert [layer["title"] for layer in layers] == [
        *("L3, layer 0", "L3, layer 1"),
        *(f"L4, layer {i}" for i in (0, 1, 2, 3)),
        *(f"L5, layer {i}" for i in (0, 1, 2)),
    ]
    for layer in layers:
        assert (layer["width"], layer["places"], layer["step"]) == (4, 4, 1)
        assert np.array_equal(decoded(layer), as_kept(tensors[layer["path"]], layer))


@pytest.mark.parametrize("task", TASKS)
def test_maps_are_those_of_the_trace(task):
    explanation, page, tensors = explained(task)
    paths = ["conv_stem", *(f"encoder.layer.{i}" for i in range(5))]
    paths = [f"mobilevit.{path}" for path in paths]
    paths += ["mobilevit.conv_1x1_exp"] if task == "classifier" else ["segmentation_head.aspp", "logits"]
    stages = Page(page).data["stages"]
    assert len(stages) == len(paths)
    for stage, path in zip(stages, paths, strict=True):
        maps = tensors[path][0].astype(np.float64)
        spread = maps.std(axis=(1, 2))
        order = np.argsort(-spread, kind="stable")[:CHANNELS]
        assert stage["of"] == len(maps)
        assert stage["size"] == list(maps.shape[1:])
        labels = explanation.checkpoint.labels if path == "logits" else [f"channel {i}" for i in range(len(maps))]
        assert [each["label"] for each in stage["channels"]] == [labels[i] for i in order]
        step = stage["step"]
        assert max(stage["shape"]) <= MAP_SIDE < max(maps.shape[1:]) + (MAP_SIDE if step == 1 else 0)
        for each, i in list(zip(stage["channels"], order, strict=True))[:3]:
            codes = np.frombuffer(base64.b64decode(each["bytes"]), np.uint8).reshape(stage["shape"])
            shown = each["low"] + codes / STEPS * (each["high"] - each["low"])
            for y, x in np.ndindex(*stage["shape"]):
                block = maps[i, y * step : (y + 1) * step, x * step : (x + 1) * step]
                assert abs(shown[y, x] - block.mean()) <= 0.51 / STEPS * (each["high"] - each["low"])


def test_the_answers_are_the_classifier_s():
    explanation, page, tensors = explained("classifier")
    answer = Classifier(explanation.checkpoint, engine="reference")(CHELSEA)
    assert np.array_equal(explanation.logits, answer.logits)
    assert np.array_equal(explanation.logits, tensors["logits"][0])
    assert explanation.logits.dtype == np.float32
    scores = softmax(answer.logits)
    shown = re.findall(r'<tr><th scope="row">([^<]*)</th><td class="bar">.*?</td><td>([\d.]+)%</td>', page)
    assert [label for label, _ in shown] == [p.label for p in answer.predictions]
    assert [float(share) for _, share in shown] == pytest.approx(
        [100 * p.probability for p in answer.predictions], abs=0.051
    )
    best = int(scores.argmax())
    assert f"<title>chelsea.png: {explanation.checkpoint.labels[best]}, {scores[best]:.1%}</title>" in page


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        ("multi_label_classification", "Each answer is a yes or no of its own."),
        ("regression", "Numbers, not probabilities."),
    ],
)
def test_answers_are_of_the_network_s_kind(tmp_path, kind, note):
    folder = save_tiny(tmp_path / "w", fields={"problem_type": kind})
    image = save_photo(tmp_path / "photo.png")
    page = explain_page(explain(image, folder), name="photo.png")
    answer = Classifier.from_pretrained(folder, engine="reference")(image)
    shown = re.findall(r'<tr><th scope="row">([^<]*)</th><td class="bar">(.*?)</td><td>([^<]*)</td>', page)[:5]
    assert [(label, score) for label, _, score in shown] == [(p.label, p.shown) for p in answer.predictions]
    assert all(bool(bar) == (kind != "regression") for _, bar, _ in shown)
    assert f"<title>photo.png: {answer.label}, {answer.predictions[0].shown}</title>" in page
    assert f'<p class="note">{note}</p>' in page


def test_the_areas_are_those_of_the_mask():
    explanation, page, tensors = explained("segmenter")
    assert np.array_equal(explanation.logits, tensors["logits"][0])
    mask = best_class_at_size(tensors["logits"], explanation.seen.shape[:2])[0]
    shown = dict(re.findall(r'<tr><th scope="row">([^<]*)</th><td class="bar">.*?</td><td>([\d.]+)%</td>', page))
    expected = {label: f"{(mask == k).mean():.1%}"[:-1] for k, label in enumerate(explanation.checkpoint.labels)}
    assert shown == {label: share for label, share in expected.items() if share != "0.0"}


@pytest.mark.parametrize("task", TASKS)
def test_the_table_s_sums_are_the_checkpoint_s(task):
    explanation, page, tensors = explained(task)
    counted = sum(
        tensor.size
        for name, tensor in explanation.checkpoint.tensors.items()
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    )
    assert sum(stage.parameters for stage in explanation.stages) == counted
    assert f"<td>{counted:,}</td>" in page.partition("<tfoot>")[2]
    assert all(stage.seconds > 0 and stage.macs > 0 for stage in explanation.stages)
    for stage in explanation.stages:
        assert f"<td>{' x '.join(map(str, stage.output.shape))}</td>" in page
    assert explanation.stages[-1].output.shape == tensors["logits"].shape[1:]


def test_what_the_network_sees_is_what_it_was_given():
    """The pixel values are the picture on the page, scaled, in BGR; the frame is where they come from."""
    explanation, page, tensors = explained("classifier")
    pixels = tensors["pixel_values"][0, ::-1].transpose(1, 2, 0)
    assert np.array_equal((explanation.seen / 255).astype(np.float32), pixels)
    found = re.search(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/>', page)
    left, top, width, height = map(float, found.groups())
    H, W = explanation.photo.shape[:2]
    size = explanation.seen.shape[1::-1]
    part = Image.fromarray(explanation.photo).resize(size, 2, box=(left, top, left + width, top + height))
    assert width == pytest.approx(height, abs=1)  # a resized photo has whole pixels
    assert 0 < left < left + width < W
    assert 0 < top < top + height < H
    assert np.abs(np.asarray(part).astype(int) - explanation.seen).mean() < 2


# -- bounds ------------------------------------------------------------------------------------------------------------


@given(st.data())
def test_a_budget_is_kept_and_what_is_kept_is_true(data):
    """Oracle: the tensors, by loops; a 16-bit fraction is off by half a 65535th of its row's largest."""
    draw, rng = data.draw, np.random.default_rng(data.draw(st.integers(0, 99)))
    layers = []
    for i in range(draw(st.integers(1, 3))):
        nh, nw = draw(st.integers(1, 5)), draw(st.integers(1, 5))
        shape = (draw(st.sampled_from([1, 4, 9])), draw(st.integers(1, 3)), nh * nw, nh * nw)
        layers.append(Layer(f"layer {i}", "a.path", (nh, nw), softmax(rng.normal(size=shape).astype(np.float32) * 4)))
    budget = draw(st.integers(0, 20_000))
    shown = _layers(layers, budget)
    size = sum(
        len(base64.b64decode(each["probabilities"] + "")) + len(base64.b64decode(each["largest"])) for each in shown
    )
    least = all(each["places"] == 1 and each["step"] >= max(each["patches"]) for each in shown)
    assert size <= budget or least
    for layer, each in zip(layers, shown, strict=True):
        expected = as_kept(layer.probabilities, each)
        if each["width"] == 4:
            assert np.array_equal(decoded(each), expected)
        else:
            assert np.all(
                np.abs(decoded(each) - expected) <= 0.51 / 65535 * expected.max(axis=-1, keepdims=True) + 1e-9
            )


def test_the_published_sizes_fit_and_keep_every_patch_that_has_room():
    """At 256 pixels every pixel of every patch; at 512 (output stride 16) fewer look, and all are looked at."""

    def layers(*patches):
        blank = np.float32(0.5)
        return [Layer("", "", (n, n), np.broadcast_to(blank, (4, 4, n * n, n * n))) for n in patches]

    small = _layers(layers(16, 16, 8, 8, 8, 8, 4, 4, 4), ATTENTION_BYTES)
    assert {(each["places"], each["step"]) for each in small} == {(4, 1)}
    assert {each["width"] for each in small if each["patches"] != [16, 16]} == {4}
    large = _layers(layers(32, 32, *[16] * 7), ATTENTION_BYTES)
    assert max(each["step"] for each in large) <= 4
    for shown in (small, large):
        assert sum(len(each["probabilities"]) + len(each["largest"]) for each in shown) <= ATTENTION_BYTES * 4 / 3 + 99


def test_a_large_photo_s_page_is_small(tmp_path):
    """A network that takes 512 x 512, and noise, which no JPEG makes small."""
    sizes = {"size": {"shortest_edge": 512}, "crop_size": {"height": 512, "width": 512}}
    folder = save_tiny(tmp_path / "tiny", "segmenter", output_stride=16, preprocessing=sizes)
    photo = save_photo(tmp_path / "photo.png", 1500, 1600)
    page = explain_page(explain(photo, folder), name="photo.png")
    assert len(page.encode()) < MOST


# -- harm, and the command ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "\ud800"])  # no configuration is read that has it
def test_names_do_no_harm(tmp_path, name):
    """Of the photo, and of the classes: the page has the elements, and the scripts, that it has with plain names."""
    photo = save_photo(tmp_path / "photo.png")
    labels = tuple(f"{name[:3000]}{i}" for i in range(3))
    try:
        folder = save_tiny(tmp_path / "hostile", labels=labels)
    except UnicodeEncodeError:
        folder = save_tiny(tmp_path / "hostile", labels=("a", "b", "c"))
    plain = Page(explain_page(explain(photo, save_tiny(tmp_path / "plain", labels=("a", "b", "c")))))
    found = Page(explain_page(explain(photo, folder), name=name))
    assert [tag for tag, _ in found.elements] == [tag for tag, _ in plain.elements]
    assert found.texts["script"][1] == plain.texts["script"][1]
    assert len(found.texts["title"][0]) < 600
    assert found.data["layers"] != []


def test_the_page_asks_for_nothing():
    _, page, _ = explained("classifier")
    sources = [
        value for _, attributes in Page(page).elements for key, value in attributes.items() if key in ("src", "href")
    ]
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert "style" not in {key for _, attributes in Page(page).elements for key in attributes}  # the policy forbids it


def test_the_command_writes_the_page(tmp_path, capsys):
    out = tmp_path / "page.html"
    assert run(["explain", str(CHELSEA), "-o", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out == f"wrote {out}\n"
    assert said.err == ""
    shown = Page(out.read_text(encoding="utf-8"))
    assert shown.texts["title"][0].startswith("chelsea.png: ")
    assert shown.data["layers"] == Page(explain_page(explain(CHELSEA), name="chelsea.png")).data["layers"]


def test_standard_input_and_another_profile(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CHELSEA.read_bytes())))
    out = tmp_path / "page.html"
    folder = save_tiny(tmp_path / "tiny")
    assert run(["explain", "-", "-o", str(out), "--profile", "timm", "--weights", str(folder)]) == 0
    page = out.read_text(encoding="utf-8")
    assert "<title>standard input: " in page
    assert "inside the frame, at 256 x 256." in page


def test_a_photo_smaller_than_the_crop_is_framed_whole(tmp_path):
    sizes = {"size": {"shortest_edge": SIDE // 2}, "crop_size": {"height": SIDE, "width": SIDE}}
    folder = save_tiny(tmp_path / "tiny", preprocessing=sizes)
    page = explain_page(explain(save_photo(tmp_path / "photo.png", 40, 40), folder))
    assert '<rect x="0.0" y="0.0" width="40.0" height="40.0"/>' in page


@pytest.mark.parametrize("patch_size", [1, 3])
def test_other_patches_and_maps_they_do_not_divide(tmp_path, patch_size):
    folder = save_tiny(tmp_path / "tiny", patch_size=patch_size)
    photo = save_photo(tmp_path / "photo.png")
    data = Page(explain_page(explain(photo, folder))).data
    tensors = trace(photo, network_of(open_tiny(folder)), dtype="float32").tensors
    assert len(data["layers"]) == 9
    for layer in data["layers"]:
        assert layer["side"] == patch_size
        assert layer["patches"][0] == -(-{"3": 8, "4": 4, "5": 2}[layer["title"][1]] // patch_size)
        assert np.array_equal(decoded(layer), as_kept(tensors[layer["path"]], layer))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.jpg", "-o", "page.html"], "nowhere.jpg"),
        (["photo.png", "-o", "nowhere/page.html"], "can't write nowhere/page.html: there is no folder nowhere"),
        (["photo.png", "-o", "."], "it is a folder; give the page a name"),
        (["photo.png", "-o", "photo.png"], "photo.png is the photo"),
        (["photo.png", "-o", "photos/a.png", "--weights", "photos/a.png"], "a.png is the checkpoint"),
        (["photos", "-o", "page.html"], "photos holds 2 photos; a page explains one"),
        (["empty", "-o", "page.html"], "empty holds no photos"),
        (["photo.png", "-o", "page.html", "--weights", "nowhere"], "nowhere"),
        (["photo.png", "-o", "page.html", "--profile", "sharp"], "sharp"),
        (["photo.png", "-o", "\0"], "can't write"),
        (["\0", "-o", "page.html"], "can't"),
    ],
)
def test_what_goes_wrong_is_said_and_nothing_is_written(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    for name in ("photo.png", "photos/a.png", "photos/b.png"):
        save_photo(tmp_path / name)
    (tmp_path / "empty").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert run(["explain", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert len(said.err.splitlines()) == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_backbone_says_nothing_to_explain(tmp_path):
    with pytest.raises(InputError, match="is a backbone; give the weights of a classifier or a segmenter"):
        explain(CHELSEA, save_tiny(tmp_path / "tiny", "backbone"))
