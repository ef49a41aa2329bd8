"""``explain`` in a browser: what shows of the patch under the pointer are the trace's probabilities, to three digits.

Oracle: ``golden.trace`` of the same photo in float32. The page is the shipped classifier's for the example cat; another
is a segmenter's, small, whose map the patches don't divide.
"""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.interaction import POINTER_TOUCH
from selenium.webdriver.common.actions.pointer_input import PointerInput
from tiny import CHELSEA, REPOSITORY, save_photo, save_tiny

from mobilevit_np.checkpoints.shipped import DEFAULTS
from mobilevit_np.explain.explanation import explain
from mobilevit_np.explain.page import explain_page
from mobilevit_np.golden import network_of, trace
from mobilevit_np.pages import write_page

WIDE, NARROW, PHONE = (1280, 900), (400, 800), (360, 740)
DIGITS = 1e-3  # of a row's largest probability: how far the page may be off, and what it rounds to
PIXELS = ("top left", "top right", "bottom left", "bottom right")
PATH = "mobilevit.encoder.layer.{}.transformer.layer.{}.attention.attention.probabilities"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """The shipped one, at 128x128 pixels whatever its processor says: L3's map is 16x16, L5's 4x4."""
    folder = tmp_path_factory.mktemp("classifier") / DEFAULTS["classifier"]
    shutil.copytree(REPOSITORY / "weights" / folder.name, folder)
    file = folder / "preprocessor_config.json"
    sizes = {"size": {"shortest_edge": 144}, "crop_size": {"height": 128, "width": 128}}
    file.write_text(json.dumps(json.loads(file.read_text()) | sizes))
    return folder


@pytest.fixture(scope="module")
def cat(classifier, tmp_path_factory):
    """The page's file, and the trace."""
    explanation = explain(CHELSEA, classifier)
    golden = trace(CHELSEA, network_of(explanation.checkpoint), dtype="float32")
    page = explain_page(explanation, name="chelsea.png")
    return write_page(tmp_path_factory.mktemp("pages") / "page.html", page), golden.tensors


def chip(browser, name, number):
    """Choose the layer, head or stage with that number."""
    label = browser.all(f"label:has(input[name={name}])")[number]
    browser.run("arguments[0].scrollIntoView({ block: 'center' })", label)
    label.click()


def hover(browser, row, column, rows, columns, *, click=False):
    """Move the mouse over a cell of a grid on the photo."""
    look = browser.one("#look")
    browser.run("arguments[0].scrollIntoView({ block: 'center' })", look)
    box = look.rect
    x = round(((column + 0.5) / columns - 0.5) * box["width"])
    y = round(((row + 0.5) / rows - 0.5) * box["height"])
    chain = ActionChains(browser.driver, duration=0).move_to_element_with_offset(look, x, y)
    (chain.click() if click else chain).perform()


def fetched(browser):
    """What was asked for, the photos within the page left out."""
    return [url for url in browser.requests() if not url.startswith("data:image/jpeg;base64,")]


def said_of(text, most):
    """A probability as the page writes it, with the error it may have."""
    share = 0.0 if text == "< 0.0001%" else float(text.removesuffix("%")) / 100
    return pytest.approx(share, abs=float(DIGITS * most + 5e-3 * share + 1e-6))


def named(index, columns):
    return f"row {index // columns}, column {index % columns}"


def shown(browser):
    """The table of patches, as it's read."""
    rows = browser.all("#looks tbody tr")
    return {
        row.find_element("tag name", "th").text: row.find_element("tag name", "td").text for row in rows
    }  # fmt: skip


def check_shown(browser, values, columns):
    """The table has the five largest of them, largest first."""
    values = np.asarray(values, np.float64)
    rows = shown(browser)
    assert len(rows) == min(5, len(values))
    for (place, text), expected in zip(rows.items(), -np.sort(-values), strict=False):
        row, column = (int(each) for each in re.findall(r"\d+", place))
        assert values[row * columns + column] == said_of(text, values.max())
        assert expected == said_of(text, values.max())


def heat(browser):
    """The canvas over the photo: (rows, columns, 4)"""
    height, width, *codes = browser.run("""
        const canvas = document.getElementById("heat");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return [canvas.height, canvas.width, ...data];
    """)
    return np.array(codes).reshape(height, width, 4)


@pytest.mark.parametrize(
    ("number", "stage", "layer", "head", "row", "column"),
    [(0, 2, 0, 0, 5, 9), (1, 2, 1, 3, 15, 0), (3, 3, 1, 2, 4, 7), (8, 4, 2, 1, 3, 2)],
)
def test_the_patch_under_the_pointer_shows_the_trace_s_probabilities(
    browser, cat, number, stage, layer, head, row, column
):
    file, tensors = cat
    browser.open(file)
    chip(browser, "layer", number)
    chip(browser, "head", head)
    probabilities = tensors[PATH.format(stage, layer)]
    n = {2: 8, 3: 4, 4: 2}[stage]
    hover(browser, row, column, 2 * n, 2 * n)
    place, own = row % 2 * 2 + column % 2, row // 2 * n + column // 2
    values = probabilities[place, head, own]
    check_shown(browser, values, n)
    said = browser.one("#said").text
    assert said.startswith(f"The patch in {named(own, n)}, {PIXELS[place]} pixel of {n} x {n} gathers ")
    most, itself = re.search(rf"gathers (\S+) from {named(int(values.argmax()), n)}, (.*%) from itself", said).groups()
    assert values.max() == said_of(most, values.max())
    assert values[own] == said_of(itself, values.max())
    alpha = heat(browser)[..., 3].ravel()
    assert alpha.shape == values.shape
    assert np.abs(alpha - 255 * (0.5 + 0.3 * values / values.max())).max() <= 1
    assert PATH.format(stage, layer) in browser.one("#kept").text
    assert fetched(browser) == [file.as_uri()]
    assert browser.complaints() == []


def test_the_mean_of_all_heads(browser, cat):
    file, tensors = cat
    browser.open(file)
    chip(browser, "head", 4)
    hover(browser, 2, 3, 16, 16)
    values = tensors[PATH.format(2, 1)][1, :, 1 * 8 + 1].astype(np.float64).mean(axis=0)
    check_shown(browser, values, 8)


def test_the_marks_lie_where_the_pointer_is(browser, cat):
    browser.open(cat[0])
    hover(browser, 5, 10, 16, 16)
    box = browser.one("#look").rect
    for mark, row, column, cells in (("#patch", 2, 5, 8), ("#pixel", 5, 10, 16)):
        found = browser.one(mark).rect
        assert found["y"] - box["y"] == pytest.approx(box["height"] * row / cells, abs=1.5)
        assert found["x"] - box["x"] == pytest.approx(box["width"] * column / cells, abs=1.5)
        assert found["width"] == pytest.approx(box["width"] / cells, abs=1.5)
    picture = browser.one("#look img").rect
    canvas = browser.one("#heat").rect
    assert [picture[key] for key in ("x", "y", "width", "height")] == pytest.approx(
        [canvas[key] for key in ("x", "y", "width", "height")], abs=1
    )


def test_a_click_holds_the_patch_and_the_pointer_reads_others(browser, cat):
    file, tensors = cat
    browser.open(file)
    hover(browser, 4, 6, 16, 16, click=True)
    values = tensors[PATH.format(2, 1)][0, 0, 2 * 8 + 3]
    assert "Held" in browser.one("#said").text
    for row, column in ((0, 0), (7, 3), (5, 5)):
        hover(browser, row, column, 8, 8)
        check_shown(browser, values, 8)
        index = row * 8 + column
        where, _, pointed = browser.one("#pointed").text.partition(": ")
        assert where == f"Under the pointer, {named(index, 8)}"
        assert values[index] == said_of(pointed, values.max())
    hover(browser, 7, 7, 16, 16, click=True)
    assert "Held" not in browser.one("#said").text
    check_shown(browser, tensors[PATH.format(2, 1)][3, 0, 3 * 8 + 3], 8)


def test_a_finger_will_do(browser, cat):
    file, tensors = cat
    browser.open(file, size=PHONE)
    look = browser.one("#look")
    browser.run("arguments[0].scrollIntoView({ block: 'center' })", look)
    finger = PointerInput(POINTER_TOUCH, "finger")
    actions = ActionBuilder(browser.driver, mouse=finger, duration=0)
    box = browser.run(
        "const { x, y, width, height } = arguments[0].getBoundingClientRect(); return [x, y, width, height]", look
    )
    actions.pointer_action.move_to_location(round(box[0] + box[2] * 12.5 / 16), round(box[1] + box[3] * 3.5 / 16))
    actions.pointer_action.pointer_down().pointer_up()
    actions.perform()
    check_shown(browser, tensors[PATH.format(2, 1)][2, 0, 1 * 8 + 6], 8)


def test_arrow_keys_move_the_patch(browser, cat):
    file, tensors = cat
    browser.open(file)
    look, probabilities = browser.one("#look"), tensors[PATH.format(2, 1)][:, 0]
    for keys, row, column in (
        ((Keys.HOME,), 0, 0),
        ((Keys.ARROW_RIGHT,) * 3, 0, 3),
        ((Keys.ARROW_DOWN,) * 5, 5, 3),
        ((Keys.ARROW_LEFT,), 5, 2),
        ((Keys.ARROW_UP,) * 9, 0, 2),
        ((Keys.END,), 15, 15),
    ):
        look.send_keys(*keys)
        check_shown(browser, probabilities[row % 2 * 2 + column % 2, row // 2 * 8 + column // 2], 8)
    heads = browser.all("input[name=head]")
    heads[0].send_keys(Keys.ARROW_RIGHT)
    assert heads[1].is_selected()
    check_shown(browser, tensors[PATH.format(2, 1)][3, 1, 63], 8)


def test_maps_are_drawn_and_read(browser, cat):
    file, tensors = cat
    browser.open(file)
    for number, path in ((3, "mobilevit.encoder.layer.2"), (6, "mobilevit.conv_1x1_exp")):
        chip(browser, "stage", number)
        maps = tensors[path][0]
        order = np.argsort(-maps.std(axis=(1, 2), dtype=np.float64), kind="stable")[:24]
        thumbs = browser.all("#thumbs [role=option]")
        assert [thumb.text for thumb in thumbs] == [f"channel {i}" for i in order]
        browser.run("arguments[0].scrollIntoView({ block: 'center' })", thumbs[2])
        thumbs[2].click()
        assert [thumb.get_attribute("aria-selected") for thumb in thumbs].index("true") == 2
        values = maps[order[2]].astype(float)
        height, width, *pixels = browser.run("""
            const canvas = document.querySelector("#map canvas");
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return [canvas.height, canvas.width, ...data];
        """)
        colors = np.array(browser.run("return shadesFor(0)"))
        codes = np.rint((values - values.min()) / np.ptp(values) * 254).astype(int)
        assert np.array_equal(np.array(pixels).reshape(height, width, 4)[..., :3], colors[codes])
        canvas = browser.one("#map canvas")
        browser.run("arguments[0].scrollIntoView({ block: 'center' })", canvas)
        ActionChains(browser.driver, duration=0).move_to_element_with_offset(
            canvas, round(canvas.rect["width"] * 0.5 / width), round(canvas.rect["height"] * 0.5 / height)
        ).perform()
        said = browser.one("#map-said").text
        assert said.startswith(f"row {height // 2}, column {width // 2}: ≈ ")
        assert float(said.split()[-1]) == pytest.approx(values[height // 2, width // 2], abs=0.01 * np.ptp(values))
    browser.one("#thumbs").send_keys(Keys.ARROW_RIGHT)
    assert thumbs[3].get_attribute("aria-selected") == "true"
    assert browser.one("#thumbs").get_attribute("aria-activedescendant") == thumbs[3].get_attribute("id")


def test_a_segmenter_whose_maps_patches_do_not_divide(browser, tmp_path):
    folder = save_tiny(tmp_path / "tiny", "segmenter", patch_size=3, output_stride=16)
    photo = save_photo(tmp_path / "photo.png")
    explanation = explain(photo, folder)
    pixels = (explanation.seen.transpose(2, 0, 1)[::-1] / 255).astype(np.float32)
    tensors = trace(pixels, network_of(explanation.checkpoint), dtype="float32").tensors
    file = write_page(tmp_path / "page.html", explain_page(explanation, name="photo.png"))
    browser.open(file)
    chip(browser, "layer", 0)
    hover(browser, 7, 1, 9, 9)
    check_shown(browser, tensors[PATH.format(2, 0)][1 * 3 + 1, 0, 2 * 3 + 0], 3)
    assert "pixel 1, 1 of 3 x 3" in browser.one("#said").text
    assert len(browser.all("img")) == 3
    assert all(browser.run("return [...document.images].map((image) => image.complete && image.naturalWidth > 0)"))
    assert browser.complaints() == []


def test_one_pixel_of_each_patch(browser, classifier, tmp_path):
    """A page that may hold little: what it shows is of the patch it names."""
    explanation = explain(CHELSEA, classifier)
    tensors = trace(CHELSEA, network_of(explanation.checkpoint), dtype="float32").tensors
    file = write_page(tmp_path / "page.html", explain_page(explanation, attention_bytes=100_000))
    browser.open(file)
    assert "Only the first pixel of each patch is kept." in browser.one("#kept").text
    hover(browser, 6, 7, 8, 8)
    assert browser.one("#said").text.startswith("The patch in row 6, column 7 of 8 x 8 gathers ")
    check_shown(browser, tensors[PATH.format(2, 1)][0, 0, 6 * 8 + 7], 8)
    browser.one("#look").send_keys(Keys.HOME, Keys.ARROW_DOWN)
    check_shown(browser, tensors[PATH.format(2, 1)][0, 0, 8], 8)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW, PHONE], ids=["wide", "narrow", "phone"])
def test_it_fits_and_can_be_read(browser, cat, dark, size):
    """Nothing is cut off, or scrolled to the side; all text has a contrast of 4.5 and more (WCAG AA)."""
    browser.open(cat[0], size=size, dark=dark)
    browser.run("""
        const most = ["16 x 256 x 384", "6,357,941", "13,690.0", "8765.4"]; // the times depend on the machine
        for (const row of document.querySelectorAll("#stages :is(tbody, tfoot) tr")) {
          const cells = row.querySelectorAll("td:not(.words, .bar)");
          most.forEach((text, i) => (cells[i].textContent = text));
        }
    """)
    assert browser.cut_off() == []
    contrasts = browser.contrasts("""[...document.body.querySelectorAll("*")].filter((element) =>
        element.getClientRects().length &&
        [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    """)
    assert len(contrasts) > 100
    assert [each for each in contrasts if each[0] < 4.5] == []
    paint = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paint[4:-1].split(","))) < 200) == dark


def test_what_can_be_used_has_a_name(browser, cat):
    browser.open(cat[0])
    unnamed = browser.run("""
        const named = (element) => element.getAttribute("aria-label") || element.getAttribute("alt") ||
          element.getAttribute("aria-labelledby") || element.labels?.[0]?.textContent;
        const chosen = "img, input, section, [role=application], [role=listbox], [role=img]";
        return [...document.querySelectorAll(chosen)].filter((each) => !named(each)).map((each) => each.outerHTML);
    """)
    assert unnamed == []
    assert [each.text for each in browser.all("legend")] == ["Layer", "Head", "Stage"]


def test_hostile_names_do_no_harm(browser, tmp_path):
    name = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    folder = save_tiny(tmp_path / "tiny", "segmenter", labels=(name, f"{name}2", f"{name}3"))
    photo = save_photo(tmp_path / "photo.png")
    file = write_page(tmp_path / "page.html", explain_page(explain(photo, folder), name=name))
    browser.open(file)
    chip(browser, "stage", len(browser.all("input[name=stage]")) - 1)
    assert all(thumb.text.startswith("</script>") for thumb in browser.all("#thumbs [role=option]"))
    assert browser.driver.title.startswith(f"{name}: ")
    assert len(browser.all("img")) == 3
    assert fetched(browser) == [file.as_uri()]
    assert browser.complaints() == []
