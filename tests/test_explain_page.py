"""``explain``: the page's numbers are the trace's, it's bounded, and nothing in it does harm.

Without a browser: the page is parsed, its data read back. tests/browser opens it in Chromium. Oracles: ``golden.trace``
in float32, to three digits for attention; the pipelines; the checkpoint's own counts.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_golden_page import HOSTILE, Page
from tiny import CHELSEA, REPOSITORY, SIDE, open_tiny, save_photo, save_tiny

from mobilevit_np.checkpoints.shipped import DEFAULTS
from mobilevit_np.errors import InputError
from mobilevit_np.explain.explanation import Layer, explain
from mobilevit_np.explain.page import ATTENTION_BYTES, CHANNELS, _layers, explain_page
from mobilevit_np.explain.page import SIDE as MAP_SIDE
from mobilevit_np.golden import network_of, trace
from mobilevit_np.ops import attention_probabilities, softmax
from mobilevit_np.pages import STEPS
from mobilevit_np.pipelines import Classifier, Segmenter

MOST = 10_000_000  # bytes of a page
DIGITS = 1e-3  # of a row's largest probability: how far the page may be off
TASKS = ("classifier", "segmenter")


@cache
def explained(task):
    """The shipped network's way with the example cat at 128 pixels, its page, and its trace in float32.

    The segmenter's processor crops the photo; of what it sees as a segmenter Pillow tells.
    """
    sizes = {"size": {"shortest_edge": 144}, "crop_size": {"height": 128, "width": 128}}
    with tempfile.TemporaryDirectory() as beside:
        folder = Path(beside) / DEFAULTS[task]
        shutil.copytree(REPOSITORY / "weights" / folder.name, folder)
        file = folder / "preprocessor_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | sizes))
        explanation = explain(CHELSEA, folder)
        photo = np.asarray(Image.open(CHELSEA).convert("RGB").resize((192, 128), Image.Resampling.BILINEAR))
        pixels = (photo.transpose(2, 0, 1)[::-1] / 255).astype(np.float32)
        source = CHELSEA if task == "classifier" else pixels
        golden = trace(source, network_of(explanation.checkpoint), dtype="float32")
    return explanation, explain_page(explanation, name="chelsea.png"), golden.tensors


def decoded(layer):
    """A layer's probabilities from the queries and keys that the page holds: (places, h, N, N)"""
    scale = np.frombuffer(base64.b64decode(layer["scale"]), "<f4").astype(np.float64)
    shape = (layer["places"], math.prod(layer["patches"]), layer["heads"], len(scale) // layer["heads"])
    queries, keys = (np.frombuffer(base64.b64decode(layer[name]), "<i2").reshape(shape) for name in ("queries", "keys"))
    return softmax(np.einsum("pnhd,pmhd->phnm", queries * scale.reshape(shape[2:]), keys))


def check_probabilities(layer, expected):
    """They're those of a tensor (P, h, N, N)."""
    found, expected = decoded(layer), expected[: layer["places"]].astype(np.float64)
    assert found.shape == expected.shape
    assert np.all(np.abs(found - expected) <= DIGITS * expected.max(axis=-1, keepdims=True))


# -- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_attention_is_the_trace_s(task):
    explanation, page, tensors = explained(task)
    layers = Page(page).data["layers"]
    assert [layer["path"] for layer in layers] == [path for path in tensors if path.endswith(".probabilities")]
    assert [layer["title"] for layer in layers] == [
        *("L3, layer 0", "L3, layer 1"),
        *(f"L4, layer {i}" for i in (0, 1, 2, 3)),
        *(f"L5, layer {i}" for i in (0, 1, 2)),
    ]
    for layer in layers:
        H, W = tensors["pixel_values"].shape[2:]
        stride = {"L3": 8, "L4": 16, "L5": explanation.checkpoint.config.output_stride}[layer["title"][:2]]
        assert layer["patches"] == [-(-H // stride // 2), -(-W // stride // 2)]
        assert layer["places"] == 4
        check_probabilities(layer, tensors[layer["path"]])


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
    answer = Segmenter(explanation.checkpoint, engine="reference")(CHELSEA)
    assert np.array_equal(explanation.logits, answer.logits)
    assert np.array_equal(explanation.logits, tensors["logits"][0])
    shown = dict(re.findall(r'<tr><th scope="row">([^<]*)</th><td class="bar">.*?</td><td>([\d.]+%)</td>', page))
    assert shown == {label: f"{share:.1%}" for label, share in answer.areas.items()}
    assert "451 x 300 pixels. The network sees all of it, at 192 x 128.</figcaption>" in page
    assert "<rect x=" not in page  # no frame where all is seen


def test_of_a_long_photo_a_segmenter_sees_the_middle_window(tmp_path):
    folder = save_tiny(tmp_path / "tiny", "segmenter")
    photo = save_photo(tmp_path / "photo.png", 100, 350)
    explanation = explain(photo, folder)
    side = min(explanation.seen.shape[:2])
    whole = Image.open(photo).convert("RGB").resize((round(3.5 * side / 32) * 32, side), Image.Resampling.BILINEAR)
    left = round(explanation.region.left * whole.width / 350)
    assert explanation.seen.shape == (side, 2 * side, 3)
    assert 0 < left < whole.width - 2 * side
    assert np.array_equal(explanation.seen, np.asarray(whole)[:, left : left + 2 * side])
    page = explain_page(explanation)
    assert f"inside the frame, at {2 * side} x {side}. A photo longer than 2:1 is segmented in overlapping" in page


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
        assert f'<td class="output">{" x ".join(map(str, stage.output.shape))}</td>' in page
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
    """Oracle: attention of the tensors themselves. What isn't kept is the largest there was, and is said."""
    draw, rng = data.draw, np.random.default_rng(data.draw(st.integers(0, 99)))
    layers = []
    for i in range(draw(st.integers(1, 3))):
        nh, nw = draw(st.integers(1, 5)), draw(st.integers(1, 5))
        heads = draw(st.integers(1, 3))
        shape = (2, draw(st.sampled_from([1, 4, 9])), nh * nw, heads * draw(st.integers(1, 4)))
        queries, keys = rng.normal(size=shape).astype(np.float32) * draw(st.sampled_from([0, 1e-3, 2]))
        layers.append(Layer(f"layer {i}", "a.path", (nh, nw), heads, queries, keys))
    whole = sum(2 * layer.queries.size for layer in layers) * 2  # 16 bits each
    budget = draw(st.integers(0, whole + 10))
    shown = {each["title"]: each for each in _layers(layers, budget)}
    sizes = [sum(len(base64.b64decode(each[name])) for name in ("queries", "keys")) for each in shown.values()]
    assert sum(sizes) <= budget
    if budget >= whole:
        assert [each["places"] for each in shown.values()] == [len(layer.queries) for layer in layers]
    for layer in layers:
        if layer.title in shown:
            expected = attention_probabilities(*(np.float64(x) for x in (layer.queries, layer.keys)), layer.heads)
            check_probabilities(shown[layer.title], expected)


def test_the_published_sizes_fit():
    """The largest classifier with every pixel; the largest segmenter, on a photo of 2:1, with every patch."""

    def layers(*patches):
        widths = (144, 144, *[192] * 4, *[240] * 3)
        blank = [np.broadcast_to(np.float32(0.5), (4, n * m, D)) for (n, m), D in zip(patches, widths, strict=True)]
        return [Layer(str(i), "", patches[i], 4, each, each) for i, each in enumerate(blank)]

    classifier = _layers(layers(*[(16, 16)] * 2, *[(8, 8)] * 4, *[(4, 4)] * 3), ATTENTION_BYTES)
    assert [each["places"] for each in classifier] == [4] * 9
    segmenter = _layers(layers(*[(32, 64)] * 2, *[(16, 32)] * 7), ATTENTION_BYTES)
    assert len(segmenter) == 9


def test_what_has_no_room_is_named():
    explanation = explained("classifier")[0]
    page = explain_page(explanation, attention_bytes=50_000)
    kept = [layer["title"] for layer in Page(page).data["layers"]]
    assert kept == [f"L{k}, layer {i}" for k, count in ((4, 4), (5, 3)) for i in range(count)]
    assert "Left out, to keep this page small: L3, layer 0; L3, layer 1.</p>" in page
    assert "Left out" not in explained("classifier")[1]


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
    assert out.stat().st_size < 3_000_000
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
        check_probabilities(layer, tensors[layer["path"]])


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
