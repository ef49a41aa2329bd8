"""The page of a comparison: what stands in it, that nothing in it does harm, and that its pictures show the tensors.

Without a browser: the page is parsed, its data read back. tests/browser opens it in Chromium. Oracles: the comparison
itself, loops over blocks of elements, and the maps that tokens were unfolded from.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from commands import run
from golden_ports import BY_NAME, golden_and_network, port
from hypothesis import given
from hypothesis import strategies as st

from mobilevit_np.errors import OutputError
from mobilevit_np.formats import files
from mobilevit_np.golden import Golden, compare, write_golden
from mobilevit_np.golden.formula import make, remake
from mobilevit_np.golden.operators import CASES, make_operator
from mobilevit_np.golden.page import compare_for_page, compare_page, stage_of
from mobilevit_np.golden.pictures import pictures, view_of
from mobilevit_np.golden.tables import verdict
from mobilevit_np.pages import NOT_FINITE, STEPS, assemble, plain_name, script_json, write_page

L3 = "mobilevit.encoder.layer.2"
HOSTILE = [
    "</script><script>document.title='owned'</script>",
    '"><img src=x onerror=alert(1)>',
    "<!--",
    "{{script}}{{data}}",
    "a\x00b\x1b[31m\u202e\u2028c",
    "\ud800",
    "x" * 5_000,
]


class Page(HTMLParser):
    """A page taken apart: elements by name with their attributes, blocks, and the texts of style and scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.inside: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside.append(tag)
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if self.inside:
            self.texts[self.inside[-1]][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def blocks(self) -> list[dict[str, str | None]]:
        return [attributes for _, attributes in self.elements if attributes.get("role") == "option"]

    @property
    def data(self):
        def refuse(constant):
            raise AssertionError(f"{constant} isn't JSON")

        return json.loads(self.texts["script"][0], parse_constant=refuse)


def page_of(golden, found, network=None, picture_bytes=60_000):
    """The comparison, and its page taken apart; with small pictures, to be quick."""
    compared = compare_for_page(golden, found, network=network)
    return compared, Page(compare_page(compared, picture_bytes=picture_bytes))


def planted(*names):
    golden, network = golden_and_network()
    return golden, network, port(golden, network, [BY_NAME[name] for name in names])


# -- what stands in it -------------------------------------------------------------------------------------------------


def test_every_tensor_has_a_block_in_order_of_execution_and_the_planted_one_is_the_first_bad():
    golden, _, found = planted("concat_order")
    compared, page = page_of(golden, found)
    assert [block["data-path"] for block in page.blocks] == [row.path for row in compared.comparison.rows]
    states = {block["data-path"]: block["class"].split()[1] for block in page.blocks}
    assert states == {row.path: "ok" if row.ok else "off" for row in compared.comparison.rows}
    assert page.data["tensors"][page.data["start"]]["path"] == f"{L3}.fusion.convolution"
    assert f" {verdict(compared.comparison)}." in page.texts["p"]
    assert [page.data["tensors"][int(b["data-go"])]["path"] for b in page.all("button")] == [
        f"{L3}.fusion.convolution",
        f"{L3}.conv_projection",
    ]


@pytest.mark.parametrize("replayed", [False, True])
def test_its_numbers_are_the_comparison_s(replayed):
    golden, network, found = planted("concat_order", "scale_by_width")
    compared, page = page_of(golden, found, network if replayed else None)
    plain = compare(golden, found)
    main = compare(golden, found, network=network) if replayed else plain
    shown = {tensor["path"]: tensor for tensor in page.data["tensors"]}
    for row, piled in zip(main.rows, plain.rows, strict=True):
        assert row.path == piled.path
        numbers = {name: values for name, *values in shown[row.path]["numbers"]}
        for name, of in (
            ("largest error", lambda r: f"{r.difference.max_abs:.4g}"),
            ("relative error", lambda r: f"{r.difference.error:.4g}"),
            ("relative L2", lambda r: f"{r.difference.relative_l2:.4g}"),
            ("cosine", lambda r: f"{r.difference.cosine:.10g}"),
            ("× noise floor", lambda r: f"{r.multiple:.4g}"),
            ("worst element", lambda r: str(list(r.difference.worst))),
            ("should be", lambda r: f"{r.difference.expected:.9g}"),
            ("is", lambda r: f"{r.difference.found:.9g}"),
        ):
            assert numbers[name] == [of(r) for r in ([row, piled] if replayed else [row])]
    assert page.data["columns"] == (["layer alone", "end to end"] if replayed else [""])
    assert compared.comparison.replayed == replayed


def test_a_clean_port_starts_at_the_row_nearest_to_its_tolerance():
    golden, _, found = planted()
    compared, page = page_of(golden, found)
    worst = max(compared.comparison.rows, key=lambda row: row.multiple)
    assert page.data["tensors"][page.data["start"]]["path"] == worst.path
    assert not page.all("button")
    assert {block["class"] for block in page.blocks} == {"block ok"}


def test_what_is_missing_or_misshapen_is_shown_at_its_place():
    golden, _, found = planted()
    del found[f"{L3}.fusion"]
    found[f"{L3}.folding"] = np.zeros((2, 3), np.float32)
    _, page = page_of(golden, found)
    states = {block["data-path"]: block["class"] for block in page.blocks}
    assert list(states) == [path for path in golden.tensors if path != "image"]
    assert states[f"{L3}.fusion"] == "block missing"
    assert states[f"{L3}.folding"] == "block off"
    shown = {tensor["path"]: tensor for tensor in page.data["tensors"]}
    assert shown[f"{L3}.fusion"]["status"].startswith("Not in the port")
    assert "(2, 3)" in shown[f"{L3}.folding"]["status"]
    assert "picture" not in shown[f"{L3}.folding"]
    assert "picture" not in shown[f"{L3}.fusion"]


@pytest.mark.parametrize("name", CASES)
def test_every_operator_s_golden_has_a_page(name):
    golden = make_operator(name)
    _, page = page_of(golden, {path: x.astype(np.float32) for path, x in golden.activations.items()})
    assert len(page.blocks) == len(golden.noise)
    assert all(tensor["picture"]["slices"] for tensor in page.data["tensors"])


def test_what_is_not_finite_survives():
    golden, _, found = planted()
    path = f"{L3}.fusion.activation"
    found[path] = found[path].copy()
    found[path][0, 3, 2, 1], found[path][0, 3, 2, 2], found[path][0, 5] = np.nan, -np.inf, np.inf
    _, page = page_of(golden, found)
    tensor = next(tensor for tensor in page.data["tensors"] if tensor["path"] == path)
    assert dict(tensor["numbers"])["largest error"] == "inf"
    assert dict(tensor["numbers"])["is"] == "nan"
    first, second = tensor["picture"]["slices"][:2]
    assert (first["label"], first["undefined"], first["error"]) == ("channel 3", [0, 2], "inf")
    assert (second["label"], second["undefined"]) == ("channel 5", [0, 64])
    codes = decoded(tensor["picture"], first)
    assert [list(map(tuple, np.argwhere(each == NOT_FINITE))) for each in codes] == [
        [],
        [(2, 1), (2, 2)],
        [(2, 1), (2, 2)],
    ]


def test_the_stages_are_runs_of_the_network():
    golden, _ = golden_and_network()
    stages = list(dict.fromkeys(map(stage_of, golden.noise)))
    assert stages == [
        "mobilevit.conv_stem",
        *(f"mobilevit.encoder.layer.{i}" for i in range(5)),
        "mobilevit.encoder",
        "mobilevit.conv_1x1_exp",
        "mobilevit",
        *[stage for stage in stages if stage not in ("logits",) and not stage.startswith("mobilevit")],
        "logits",
    ]


# -- that nothing in it does harm --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_do_no_harm(name):
    """In every place where a name from a file goes: a path, its stage, the port's name, unknown ones, the titles."""
    values = np.arange(12.0).reshape(3, 4)
    path = f"{name}.layer.0.{name}"
    golden = Golden(
        "operator",
        {"network": {"patch_size": name}},
        {path: values, "output": values},
        {path: 1e-7, "output": 1e-7},
        weights={"name": name},
        input={"name": name},
        name=name,
    )
    found = {name: values + 1, f"unknown {name}": values, "output": values}
    compared = compare_for_page(golden, found, mapping={name: path, "output": "output"})
    harmless = Page(compare_page(compare_for_page(golden, {path: values}, by="names"), port="port"))
    text = compare_page(compared, port=name)
    page = Page(text)
    assert [element for element, _ in page.elements if element in ("script", "img", "iframe", "object")] == [
        "script"
    ] * 2
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in harmless.elements} | {
        "dl",
        "dt",
        "dd",
        "button",
        "wbr",
    }
    assert not any(attribute.startswith("on") for _, attributes in page.elements for attribute in attributes)
    assert page.texts["script"][1] == harmless.texts["script"][1]
    assert [tensor["path"] for tensor in page.data["tensors"]] == [plain_name(path), "output"]
    assert all(c.isprintable() or c == "\n" for c in text)
    assert len(text) < 200_000
    text.encode("utf-8")


def test_it_lets_nothing_in_but_its_own_script_and_style():
    golden, _, found = planted("concat_order")
    text = compare_page(compare_for_page(golden, found), picture_bytes=1000)
    page = Page(text)
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv"))

    def sum_of(code):
        return "sha256-" + base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()

    assert policy == (
        f"default-src 'none'; img-src data:; style-src '{sum_of(page.texts['style'][0])}'; "
        f"script-src '{sum_of(page.texts['script'][1])}'; base-uri 'none'; form-action 'none'"
    )
    without_data = text.replace(page.texts["script"][0], "")
    assert not re.findall(
        r"https?:|//[a-z]|@import|url\(|\bsrc=|fetch\(|XMLHttp|import\(", without_data.replace("// ", "")
    )
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    assert not any("style" in attributes for _, attributes in page.elements)  # the policy would refuse it


def test_holes_are_filled_once():
    page = assemble(
        "compare.html",
        styles=(),
        scripts=(),
        parts=dict.fromkeys(
            ("title", "verdict", "facts", "legend", "allowed", "heads", "blocks", "lanes", "data"),
            "{{script}}{{style}}",
        ),
    )
    assert page.count("{{script}}{{style}}") == 10  # the title stands twice


@given(st.text(max_size=30))
def test_json_in_a_script_ends_no_script(text):
    found = script_json({text: [text]})
    assert not set(found) & set("<>&\u2028\u2029")
    assert json.loads(found) == {text: [text]}


# -- size --------------------------------------------------------------------------------------------------------------


def picture_sizes(page):
    return [
        sum(len(base64.b64decode(each)) for kept in tensor["picture"]["slices"] for each in kept["bytes"])
        for tensor in page.data["tensors"]
    ]


@pytest.mark.parametrize("most", [0, 80_000, 1 << 30])
def test_pictures_take_no_more_than_they_may(most):
    golden, _, found = planted("concat_order")
    page = page_of(golden, found, picture_bytes=most)[1]
    sizes = picture_sizes(page)
    assert sum(sizes) <= most
    assert sum(sizes) > most / 8 or most in (0, 1 << 30)
    assert all(len(tensor["numbers"]) == 10 for tensor in page.data["tensors"])
    if most == 80_000:  # the first bad one isn't thinned for the others' sake
        first = page.data["tensors"][page.data["start"]]["picture"]
        assert (len(first["slices"]), first["steps"]) == (12, [1, 1])


def test_the_first_bad_one_s_pictures_count_as_well():
    """Three maps whose pictures take 192 bytes each: where one byte is wanting, only the first bad one keeps any."""
    values = np.random.default_rng(0).standard_normal((1, 1, 8, 8))
    golden = Golden("operator", {}, dict.fromkeys("abc", values), dict.fromkeys("abc", 1e-7))
    found = {"a": values, "b": values, "c": values + 1}
    assert picture_sizes(page_of(golden, found, picture_bytes=3 * 192)[1]) == [192] * 3
    assert picture_sizes(page_of(golden, found, picture_bytes=3 * 192 - 1)[1]) == [0, 0, 192]


def test_a_large_trace_makes_a_page_of_bounded_size():
    """Two dozen maps of a million elements each: a page of a few megabytes, in which the one wrong element is seen."""
    values = np.random.default_rng(0).standard_normal((1, 64, 128, 128)).astype(np.float32)
    wrong = values.copy()
    wrong[0, 17, 101, 45] += 1
    golden = Golden("operator", {}, {f"x.{i}": values for i in range(24)}, {f"x.{i}": 1e-7 for i in range(24)})
    text = compare_page(compare_for_page(golden, {**golden.tensors, "x.20": wrong}))
    assert len(text) < 8e6
    page = Page(text)
    assert max(picture_sizes(page)) == picture_sizes(page)[20]
    for tensor in page.data["tensors"]:
        assert all(len(kept["bytes"]) == 3 for kept in tensor["picture"]["slices"])
    assert dict(page.data["tensors"][20]["numbers"])["worst element"] == "[0, 17, 101, 45]"
    assert page.data["tensors"][20]["picture"]["slices"][0]["label"] == "channel 17"
    assert page.data["tensors"][20]["picture"]["off"] == 1


# -- pictures ----------------------------------------------------------------------------------------------------------


def decoded(picture, kept):
    """The codes of golden, port and difference."""
    return [np.frombuffer(base64.b64decode(each), np.uint8).reshape(picture["shape"]) for each in kept["bytes"]]


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 19), st.integers(2, 19)),
    st.integers(1, 8),
    st.integers(1, 20),
    st.integers(0, 2**32 - 1),
)
def test_a_thinned_picture_shows_the_elements_that_are_furthest_off(shape, most, side, seed):
    """Oracle: loops over the blocks; values to half a step of 254 between the scale's ends."""
    rng = np.random.default_rng(seed)
    expected, found = rng.standard_normal(shape), rng.standard_normal(shape)
    view = view_of("x", {"x": expected}, 2, shape[0])
    picture = pictures(view, expected, found, most, side, 0.1)
    off = np.abs(found - expected).reshape(-1, *shape[2:])
    kept = np.argsort(-off.max(axis=(1, 2)))[:most]
    assert len(picture["slices"]) == len(kept)
    assert picture["off"] == sum(each.max() > 0.1 * np.abs(expected).max() for each in off)
    assert max(picture["shape"]) <= side
    step = picture["steps"][0]
    assert picture["steps"] == [step, step]
    for number, shown in zip(kept, picture["slices"], strict=True):
        B, C = divmod(int(number), shape[1])
        assert shown["label"] == (f"image {B}, channel {C}" if shape[0] > 1 else f"channel {C}")
        codes = decoded(picture, shown)
        scales = [(shown["low"], shown["high"])] * 2 + [(-shown["span"], shown["span"])]
        for y, x in np.ndindex(*picture["shape"]):
            block = [(i, j) for i in range(y * step, (y + 1) * step) for j in range(x * step, (x + 1) * step)]
            inside = [place for place in block if place[0] < shape[2] and place[1] < shape[3]]
            i, j = max(inside, key=lambda place: off[number][place])
            values = expected[B, C, i, j], found[B, C, i, j], found[B, C, i, j] - expected[B, C, i, j]
            for value, code, (low, high) in zip(values, codes, scales, strict=True):
                drawn = low + code[y, x] / STEPS * (high - low)
                assert abs(min(max(value, low), high) - drawn) <= 0.5001 * (high - low) / STEPS
        y, x = shown["mark"]
        i, j = np.unravel_index(off[number].argmax(), off[number].shape)
        assert (i // step, j // step) == (y, x)


def test_tokens_are_folded_back_to_their_map():
    """Oracle: of an even map, unfolding moves elements only, so the folded tokens are the map itself."""
    for setting in ("classifier", "segmenter"):
        golden, _ = golden_and_network(setting)
        for layer in (2, 3, 4):
            stage = f"mobilevit.encoder.layer.{layer}"
            tokens, whole = golden.tensors[f"{stage}.unfolding"], golden.tensors[f"{stage}.conv_1x1"]
            for path in (f"{stage}.unfolding", f"{stage}.transformer.layer.0.attention.attention.query"):
                view = view_of(path, golden.tensors, 2, 1)
                assert view.names == "features"
                assert np.array_equal(view.arrange(tokens), whole[0])


def test_tokens_of_an_odd_map_are_folded_to_whole_patches_and_strange_ones_shown_as_matrices():
    golden, _ = golden_and_network("odd")
    path = f"{L3}.unfolding"
    H, W = golden.tensors[f"{L3}.conv_1x1"].shape[2:]
    assert H % 2 or W % 2
    assert view_of(path, golden.tensors, 2, 1).shape[1:] == (H + H % 2, W + W % 2)
    alone = view_of(path, {path: golden.tensors[path]}, 2, 1)
    assert (alone.kind, alone.shape) == ("matrix", golden.tensors[path].shape)


@pytest.mark.parametrize(
    ("path", "shape", "kind", "slices"),
    [
        ("x", (2, 3, 4, 5), "image", (6, 4, 5)),
        ("x", (2, 9, 1, 1), "bars", (2, 1, 9)),
        ("x", (2, 9), "bars", (2, 1, 9)),
        ("x", (20, 9), "matrix", (1, 20, 9)),
        ("x.probabilities", (8, 4, 6, 7), "matrix", (32, 6, 7)),
        ("x", (7,), "bars", (1, 1, 7)),
        ("x", (), "bars", (1, 1, 1)),
        ("x", (2, 2, 2, 3, 4), "matrix", (8, 3, 4)),
        ("x", (8, 5, 6), "matrix", (8, 5, 6)),
    ],
)
def test_every_shape_has_a_view(path, shape, kind, slices):
    values = np.arange(float(np.prod(shape, dtype=int))).reshape(shape)
    view = view_of(path, {path: values}, 2, 2)
    assert (view.kind, view.shape) == (kind, slices)
    assert np.array_equal(view.arrange(values).ravel(), values.ravel())
    assert len({view.label(i) for i in range(slices[0])}) == slices[0]


def test_heads_and_pixels_are_numbered_as_they_lie():
    """(B*P, h, N, N): of two images, patches of four pixels and three heads."""
    view = view_of("a.probabilities", {"a.probabilities": np.zeros((8, 3, 2, 2))}, 2, 2)
    assert [view.label(i) for i in (0, 2, 3, 11, 12, 23)] == [
        "image 0, head 0, pixel 0",
        "image 0, head 2, pixel 0",
        "image 0, head 0, pixel 1",
        "image 0, head 2, pixel 3",
        "image 1, head 0, pixel 0",
        "image 1, head 2, pixel 3",
    ]


def test_an_empty_tensor_has_no_view():
    assert view_of("x", {"x": np.zeros((0, 3))}, 2, 1) is None


@pytest.mark.parametrize("blown_up", [1e30, 1e308, np.inf])
def test_a_port_that_blows_up_leaves_the_golden_visible(blown_up):
    expected = np.linspace(-1, 1, 64).reshape(1, 1, 8, 8)
    found = expected.copy()
    found[0, 0, 0, 0], found[0, 0, 0, 1] = blown_up, -blown_up
    picture = pictures(view_of("x", {"x": expected}, 2, 1), expected, found, 1, 8, 1.0)
    shown = picture["slices"][0]
    assert (shown["low"], shown["high"]) == ((-9.0, 9.0) if np.isfinite(blown_up) else (-1.0, 1.0))
    assert shown["beyond"] == (2 if np.isfinite(blown_up) else 0)
    assert len(np.unique(decoded(picture, shown)[0])) > 20


def test_constants_are_drawn_in_the_middle():
    picture = pictures(view_of("x", {"x": np.zeros(3)}, 2, 1), np.zeros(3), np.zeros(3), 1, 8, 1.0)
    assert [each.tolist() for each in decoded(picture, picture["slices"][0])] == [[[STEPS // 2] * 3]] * 3


# -- writing -----------------------------------------------------------------------------------------------------------


def test_a_page_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    page = write_page(tmp_path / "page.html", "<p>ä</p>")
    assert page.read_bytes() == "<p>ä</p>".encode()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OutputError, match="no space left"):
        write_page(page, "<p>other</p>")
    assert page.read_bytes() == "<p>ä</p>".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.fixture(scope="module")
def golden_files(tmp_path_factory):
    """A golden by formula (no weights needed), a right port and one with a mistake."""
    folder = tmp_path_factory.mktemp("golden")
    golden = make("xx_small", size=32)
    write_golden(folder / "golden.safetensors", golden)
    network = remake(golden)
    np.savez(folder / "right.npz", **port(golden, network))
    np.savez(folder / "wrong.npz", **port(golden, network, [BY_NAME["concat_order"]]))
    return folder


@pytest.mark.parametrize(("name", "replay", "code"), [("right", [], 0), ("wrong", ["--replay"], 1)])
def test_the_command_writes_the_page_and_says_the_same_as_without(golden_files, tmp_path, capsys, name, replay, code):
    arguments = ["compare", str(golden_files / "golden.safetensors"), str(golden_files / f"{name}.npz"), *replay]
    assert run(arguments) == code
    without = capsys.readouterr().out
    target = tmp_path / f"{name}.html"
    assert run([*arguments, "--html", str(target)]) == code
    assert capsys.readouterr().out == f"{without}page: {target}\n"
    page = Page(target.read_text(encoding="utf-8"))
    assert page.texts["h1"][0] == f"{name}.npz against golden"
    assert len(page.blocks) == 300
    target.unlink()
    assert run([*arguments, "--json", "--html", str(target)]) == code
    assert json.loads(capsys.readouterr().out)["ok"] is (code == 0)
    assert target.exists()


def test_the_command_says_where_it_can_t_write(golden_files, tmp_path, capsys):
    arguments = ["compare", str(golden_files / "golden.safetensors"), str(golden_files / "right.npz")]
    assert run([*arguments, "--html", str(tmp_path / "none" / "page.html")]) == 2
    assert "can't write" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "what"), [("golden.safetensors", "golden"), ("right.npz", "port's")])
def test_a_page_takes_no_input_s_place(golden_files, capsys, name, what):
    """A page named like a file that is compared, by another way to it, is refused before anything is written."""
    before = (golden_files / name).read_bytes()
    arguments = ["compare", str(golden_files / "golden.safetensors"), str(golden_files / "right.npz")]
    assert run([*arguments, "--html", str(golden_files / ".." / golden_files.name / name)]) == 2
    said = capsys.readouterr()
    assert f"is the {what} file; write the result somewhere else" in said.err
    assert said.out == ""
    assert (golden_files / name).read_bytes() == before


def test_a_trace_takes_no_input_s_place(golden_files, capsys):
    path = golden_files / "right.npz"
    before = path.read_bytes()
    assert run(["trace", str(path), "-o", str(path)]) == 2
    assert "is the input; write the result somewhere else" in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.parametrize("arguments", [["compare", "--replay"], ["diagnose"]])
def test_an_operator_has_no_network_to_replay(tmp_path, capsys, arguments):
    path = write_golden(tmp_path / "gelu.safetensors", make_operator("gelu"))
    assert run([*arguments, str(path), str(path)]) == 2
    assert "an operator's, with no network to replay" in capsys.readouterr().err


def test_no_tensor_that_is_no_number_is_shown_as_within():
    golden, network = golden_and_network()
    found = {name: tensor.copy() for name, tensor in port(golden, network).items()}
    path = "mobilevit.encoder.layer.2.fusion.convolution"
    found[path][:] = np.nan
    loud = replace(golden, noise={**golden.noise, path: np.inf})
    page = Page(compare_page(compare_for_page(loud, found)))
    (tensor,) = [each for each in page.data["tensors"] if each["path"] == path]
    assert dict(tensor["numbers"])["verdict"] == "✕ off"
    assert tensor["picture"]["off"] == tensor["picture"]["of"]


def test_what_reaches_nothing_is_no_alarm_and_what_matches_nothing_stands_in_its_place():
    golden, network = golden_and_network()
    key = "mobilevit.encoder.layer.3.transformer.layer.0.attention.attention.key"
    found = port(golden, network)
    found[key] = found[key] - network.tensors[f"{key}.bias"].astype(np.float32)
    theirs = {}
    for path, tensor in found.items():
        theirs[path] = tensor
        if path == key:
            theirs["<their own>"] = tensor[:1]
    page = compare_page(compare_for_page(golden, theirs, network=network))
    assert '<div class="verdict ok">' in page
    assert 'class="block off' not in page
    (block,) = re.findall(rf'<div role="option" class="block idle" [^>]*data-path="{key}".*?</div>(.*?)<div', page)
    assert block == '<p class="stranger">the port’s own: &lt;their own&gt;</p>'
    assert "Off, and reaching nothing that comes after" in page
