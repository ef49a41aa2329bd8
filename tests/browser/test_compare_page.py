"""``compare --html`` in a browser: the red block is the planted one, and a click on it shows the right values.

Oracle: the comparison itself, and for the pictures the two tensors. Ports are stand-ins with a mistake planted.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from golden_ports import BY_NAME, golden_and_network, port
from selenium.webdriver import ActionChains, Keys

from mobilevit_np.golden import Golden, compare
from mobilevit_np.golden.page import compare_for_page, compare_page
from mobilevit_np.pages import write_page

WIDE, NARROW, PHONE = (1280, 900), (400, 800), (360, 740)
L3 = "mobilevit.encoder.layer.2"
PLANTED = {  # each with the first layer that's wrong itself
    "concat_order": f"{L3}.fusion.convolution",
    "scale_by_width": f"{L3}.transformer.layer.0.attention.attention.probabilities",
    "plain_reshape": f"{L3}.unfolding",
    "stem_channels_reversed": "mobilevit.conv_stem.convolution",
}


def page_of(folder, found, network=None, golden=None, name="port.npz"):
    """The file of a page, and the comparison in it."""
    compared = compare_for_page(golden or golden_and_network()[0], found, network=network)
    return write_page(folder / "page.html", compare_page(compared, port=name)), compared


def planted(*names):
    golden, network = golden_and_network()
    return port(golden, network, [BY_NAME[name] for name in names])


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    """A page on which everything from the fusion on is off."""
    return page_of(tmp_path_factory.mktemp("pages"), planted("concat_order"))[0]


def red_blocks(browser):
    """The paths of those whose first cell is painted red, by what's on the screen."""
    return browser.run("""
        return [...document.querySelectorAll(".block")].filter((block) => {
          const [r, g, b] = getComputedStyle(block.querySelector(".cell")).backgroundColor.match(/\\d+/g).map(Number);
          return r > 100 && r > 2 * g && r > 2 * b;
        }).map((block) => block.dataset.path);
    """)


def shown_blocks(browser):
    """The paths of those that take up room."""
    return browser.run("""
        const shown = [...document.querySelectorAll(".block")].filter((block) => block.getClientRects().length);
        return shown.map((block) => block.dataset.path);
    """)


def block(browser, path):
    """A block, scrolled to where it can be clicked."""
    found = browser.one(f'.block[data-path="{path}"]')
    browser.run("arguments[0].scrollIntoView({ block: 'center' })", found)
    return found


def numbers(browser):
    """The table of numbers, as it's read."""
    rows = browser.all("#numbers tbody tr")
    return {
        row.find_element("tag name", "th").text: [td.text for td in row.find_elements("tag name", "td")] for row in rows
    }


def as_printed(row):
    d = row.difference
    return {
        "verdict": "✓ within" if row.ok else "✕ off",
        "× noise floor": f"{row.multiple:.4g}",
        "noise floor": f"{row.noise:.4g}",
        "largest error": f"{d.max_abs:.4g}",
        "relative error": f"{d.error:.4g}",
        "relative L2": f"{d.relative_l2:.4g}",
        "cosine": f"{d.cosine:.10g}",
        "worst element": str(list(d.worst)),
        "should be": f"{d.expected:.9g}",
        "is": f"{d.found:.9g}",
    }


@pytest.mark.parametrize("name", PLANTED)
def test_in_a_replay_the_red_blocks_are_the_planted_ones(browser, tmp_path, name):
    golden, network = golden_and_network()
    found = planted(name)
    file, _ = page_of(tmp_path, found, network)
    browser.open(file)
    replayed, plain = compare(golden, found, network=network), compare(golden, found)
    red = red_blocks(browser)
    assert red == [row.path for row in replayed.bad]
    assert red[0] == PLANTED[name]
    assert browser.one(".block .first-bad").find_element("xpath", "ancestor::*[@role='option']") == block(
        browser, red[0]
    )
    for path in (red[0], "logits"):
        block(browser, path).click()
        main, piled = (next(row for row in each.rows if row.path == path) for each in (replayed, plain))
        both = zip(as_printed(main).items(), as_printed(piled).values(), strict=True)
        assert numbers(browser) == {key: [alone, together] for (key, alone), together in both}
    assert browser.requests() == [file.as_uri()]
    assert browser.complaints() == []


def test_the_first_bad_layer_is_marked_and_in_sight_and_the_last_good_named(browser, wrong):
    golden, _ = golden_and_network()
    comparison = compare(golden, planted("concat_order"))
    browser.open(wrong)
    assert red_blocks(browser) == [row.path for row in comparison.bad if row.multiple > 16_000]
    first = browser.one(f'.block[data-path="{L3}.fusion.convolution"]')
    assert first.get_attribute("aria-selected") == "true"
    assert "first bad" in first.text
    assert "last good" in block(browser, f"{L3}.conv_projection").text
    inside = browser.run(
        """
        const at = arguments[0].getBoundingClientRect();
        const list = document.getElementById("blocks").getBoundingClientRect();
        return at.top >= list.top && at.bottom <= Math.min(list.bottom, innerHeight) && list.top > 0;
    """,
        first,
    )
    assert inside
    assert browser.one("h2").text == f"{L3}.fusion.convolution"
    assert browser.one(".verdict").text.startswith(f"✕ {len(comparison.bad)} of {len(comparison.rows)} tensors are off")
    links = [link.text for link in browser.all(".verdict button")]
    assert links == [f"{L3}.fusion.convolution", f"{L3}.conv_projection"]
    browser.all(".verdict button")[1].click()
    assert browser.one("h2").text == f"{L3}.conv_projection"


@pytest.mark.parametrize("path", [f"{L3}.fusion.convolution", f"{L3}.conv_projection", f"{L3}.layernorm"])
def test_the_pictures_are_the_tensors(browser, wrong, path):
    """Every pixel of the three canvases has the color of its element; tokens lie where unfolding took them from."""
    golden, _ = golden_and_network()
    found, expected = planted("concat_order")[path].astype(np.float64), golden.tensors[path]
    if path.endswith("layernorm"):  # (4, 16, 16): four pixels of a patch, four by four patches, features
        found, expected = (
            x.reshape(2, 2, 4, 4, 16).transpose(4, 2, 0, 3, 1).reshape(1, 16, 8, 8) for x in (found, expected)
        )
    browser.open(wrong)
    block(browser, path).click()
    chips = browser.all(".chips label")
    off = np.abs(found - expected)[0].max(axis=(1, 2))
    assert [chip.text.split()[1] for chip in chips] == [str(i) for i in np.argsort(-off, kind="stable")[: len(chips)]]
    assert len(chips) > 3
    for chip in (chips[2], chips[0]):
        chip.click()
        channel = int(chip.text.split()[1])
        ours, theirs = expected[0, channel], found[0, channel]
        low, high = min(ours.min(), theirs.min()), max(ours.max(), theirs.max())
        span = np.abs(theirs - ours).max()
        scales = [(ours, low, high), (theirs, low, high), (theirs - ours, -span, span)]
        for which, (values, least, most) in enumerate(scales):
            pixels, colors = browser.run(
                """
                const canvas = document.querySelectorAll(".frame canvas")[arguments[0]];
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                return [[canvas.height, canvas.width, ...data], shadesFor(arguments[0], false)];
                """,
                which,
            )
            drawn = np.array(pixels[2:]).reshape(*pixels[:2], 4)[..., :3]
            codes = np.rint((values - least) / (most - least) * 254).astype(int)
            assert np.array_equal(drawn, np.array(colors)[codes])
        ring = browser.all(".frame .mark")[2]
        y, x = np.unravel_index(np.abs(theirs - ours).argmax(), ours.shape)
        side = len(ours)
        percent = browser.run("return [arguments[0].style.top, arguments[0].style.left].map(parseFloat)", ring)
        assert percent == pytest.approx([(y + 0.5) / side * 100, (x + 0.5) / side * 100])


def test_the_colors_go_up_evenly(browser, wrong):
    """From dark to light for values; for differences one way below nought and another above."""
    browser.open(wrong)
    for dark in (False, True):
        browser.paint(dark)
        values, differences = (
            np.array(browser.run("return shadesFor(arguments[0], false)", which)) for which in (0, 2)
        )
        light = values[:255] @ [0.2126, 0.7152, 0.0722]
        assert np.all(np.diff(light) >= -1.5)
        assert light[-1] - light[0] > 150
        middle, ends = differences[127], differences[[0, 254]]
        assert np.ptp(middle) < 12
        assert (middle.mean() < 60) == dark
        assert ends[0][2] > ends[0][0] + 40 > 0
        assert ends[1][0] > ends[1][2] + 40 > 0
        assert not any(np.array_equal(each, values[255]) for each in [*values[:255], *differences[:255]])


def test_pointing_at_a_picture_reads_its_values(browser, wrong):
    golden, _ = golden_and_network()
    path = f"{L3}.fusion.convolution"
    browser.open(wrong)
    row = next(row for row in compare(golden, planted("concat_order")).rows if row.path == path)
    _, channel, y, x = row.difference.worst
    assert browser.all(".chips label")[0].text.startswith(f"channel {channel} ")
    browser.run("arguments[0].scrollIntoView({ block: 'center' })", browser.one("#pictures"))
    ActionChains(browser.driver).move_to_element(browser.all(".frame .mark")[1]).perform()
    said = browser.one(".readout").text
    place, _, values = said.partition(": golden ≈ ")
    assert place == f"row {y}, column {x}"
    ours, theirs, off = (float(each.split()[-1]) for each in values.replace("≈ ", "").split(", "))
    expected = golden.tensors[path][0, channel]
    half = 0.5 * (max(expected.max(), row.difference.found) - expected.min()) / 254 + 0.005 * abs(row.difference.found)
    assert ours == pytest.approx(row.difference.expected, abs=3 * half)
    assert theirs == pytest.approx(row.difference.found, abs=3 * half)
    assert off == pytest.approx(row.difference.found - row.difference.expected, rel=0.01)


def test_vectors_are_bars_and_probabilities_matrices(browser, wrong):
    golden, _ = golden_and_network()
    browser.open(wrong)
    block(browser, "logits").click()
    assert [canvas.get_attribute("aria-label").partition(",")[0] for canvas in browser.all(".bars .frame canvas")] == [
        "golden",
        "port",
        "difference",
    ]
    heights = browser.run(
        """
        const canvas = document.querySelector(".frame canvas"), { width, height } = canvas;
        const { data } = canvas.getContext("2d").getImageData(0, 0, width, height), count = arguments[0];
        return Array.from({ length: count }, (_, i) => {
          const x = Math.floor(((i + 0.5) * width) / count);
          return Array.from({ length: height }, (_, y) => data[4 * (y * width + x) + 3] > 0).filter(Boolean).length;
        });
    """,
        golden.tensors["logits"].size,
    )
    sizes = np.abs(golden.tensors["logits"][0])
    assert np.argmax(heights) == np.argmax(sizes)
    assert np.corrcoef(heights, sizes)[0, 1] > 0.99
    block(browser, f"{L3}.transformer.layer.1.attention.attention.probabilities").click()
    assert browser.all(".chips label")[0].text.startswith("head ")
    assert browser.run("const c = document.querySelector('.matrix canvas'); return [c.height, c.width]") == [16, 16]


def test_it_can_be_used_by_keyboard(browser, wrong):
    golden, _ = golden_and_network()
    paths = [path for path in golden.tensors if path != "image"]
    first = paths.index(f"{L3}.fusion.convolution")
    browser.open(wrong)
    listed = browser.one("[role=listbox]")

    def at():
        chosen = browser.one("[role=option][aria-selected=true]")
        assert listed.get_attribute("aria-activedescendant") == chosen.get_attribute("id")
        assert browser.one("h2").text == chosen.get_attribute("data-path")
        assert browser.one("#said").get_attribute("textContent").startswith(f"{browser.one('h2').text}: ")
        return paths.index(chosen.get_attribute("data-path"))

    assert at() == first
    listed.send_keys(Keys.ARROW_DOWN)
    assert at() == first + 1
    listed.send_keys(Keys.ARROW_UP, Keys.ARROW_UP)
    assert at() == first - 1
    listed.send_keys("n")
    assert at() == first
    listed.send_keys(Keys.END)
    assert at() == len(paths) - 1
    listed.send_keys("n")
    assert at() == len(paths) - 1
    listed.send_keys("p")
    assert at() == len(paths) - 2
    listed.send_keys(Keys.HOME, Keys.PAGE_DOWN)
    assert at() == 10
    listed.send_keys("/")
    field = browser.one("#filter")
    assert browser.driver.switch_to.active_element == field
    field.send_keys("Fusion.conv")
    shown = shown_blocks(browser)
    assert shown == [path for path in paths if "fusion.conv" in path]
    assert browser.one("#count").text == f"{len(shown)} of {len(paths)}"
    field.clear()
    field.send_keys(" ", Keys.BACKSPACE)
    browser.one("#only").click()
    assert shown_blocks(browser) == [row.path for row in compare(golden, planted("concat_order")).bad]
    radios = browser.all(".chips input")
    radios[0].send_keys(Keys.ARROW_RIGHT)
    assert radios[1].is_selected()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW, PHONE], ids=["wide", "narrow", "phone"])
def test_it_fits_and_can_be_read(browser, tmp_path, dark, size):
    """Nothing is cut off, or scrolled to the side; text on blocks, tags and verdict has a contrast of 4.5 (WCAG AA)."""
    file, _ = page_of(tmp_path, planted("scale_by_width"), golden_and_network()[1])
    browser.open(file, size=size, dark=dark)
    assert browser.cut_off() == []
    contrasts = browser.contrasts("""[...document.querySelectorAll([
        ".legend li", ".cell", ".tag", ".verdict *", ".status", ".name", ".lead", "td", "th", "h1", "h2", "h3", ".note",
        ".readout", ".chips span", "footer p"].join())]""")
    assert len(contrasts) > 600
    assert [each for each in contrasts if each[0] < 4.5] == []
    paint = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paint[4:-1].split(","))) < 200) == dark
    cells = browser.run("return [...document.querySelectorAll('.block .cell')].map((cell) => cell.textContent)")
    assert {cell.partition(",")[0] for cell in cells} == {"✓within", "✕off"}  # not by color alone


def test_on_a_phone_a_tap_goes_to_the_pictures_and_a_button_back(browser, wrong):
    browser.open(wrong, size=NARROW)
    top = "return document.querySelector(arguments[0]).getBoundingClientRect().top"
    assert browser.run(top, "#detail") > NARROW[1]
    block(browser, f"{L3}.fusion.convolution").click()
    browser.wait("""
        const look = () => Math.abs(document.getElementById("detail").getBoundingClientRect().top) < 30
          ? done(true) : setTimeout(look, 50);
        look();
    """)
    browser.one("#detail .up").click()
    assert abs(browser.run(top, ".network")) < 30


def test_pictures_are_drawn_anew_where_the_system_turns_dark(browser, wrong):
    browser.open(wrong)
    middle = """
        const canvas = document.querySelectorAll(".scale canvas")[2];
        return [...canvas.getContext("2d").getImageData(127, 0, 1, 1).data].slice(0, 3);
    """
    assert min(browser.run(middle)) > 230
    browser.paint(True)
    browser.wait("requestAnimationFrame(() => requestAnimationFrame(done))")
    assert max(browser.run(middle)) < 60


def test_hostile_names_and_numbers_do_no_harm(browser, tmp_path):
    name = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    values = np.arange(48.0).reshape(3, 16)
    off = values.copy()
    off[1, 3], off[2, 5] = np.nan, -np.inf
    golden = Golden("operator", {}, {name: values, "output": values}, {name: 1e-7, "output": 1e-7}, name=name)
    file, _ = page_of(tmp_path, {name: off, "output": values}, golden=golden, name=name)
    browser.open(file)
    assert browser.driver.title == f"{name} against {name}"
    assert browser.one("h2").text == name
    assert (numbers(browser)["largest error"], numbers(browser)["is"]) == (["inf"], ["nan"])
    assert "0 in the reference, 1 in the port" in browser.one("#pictures").text
    assert browser.all("img") == []
    assert browser.requests() == [file.as_uri()]
    assert browser.complaints() == []


def test_the_page_could_fetch_nothing_if_it_tried(browser, wrong):
    browser.open(wrong)
    assert browser.requests() == [wrong.as_uri()]
    refused = browser.wait("""
        const seen = [];
        document.addEventListener("securitypolicyviolation", (event) => {
          seen.push(event.effectiveDirective);
          if (seen.length === 3) done(seen.sort());
        });
        document.body.append(Object.assign(new Image(), { src: "http://127.0.0.1:9/a.png" }));
        const script = document.createElement("script");
        script.textContent = "document.title = 'owned'";
        document.body.append(script);
        fetch("http://127.0.0.1:9/b").catch(() => {});
    """)
    assert refused == ["connect-src", "img-src", "script-src-elem"]
    assert browser.driver.title == "port.npz against golden"


def test_the_log_would_show_a_request(browser, tmp_path):
    """Without this the tests above might pass for want of a log."""
    page = tmp_path / "page.html"
    page.write_text('<!doctype html><title>x</title><img src="http://127.0.0.1:9/a.png">', encoding="utf-8")
    browser.open(page)
    browser.wait("setTimeout(done, 200)")
    assert browser.requests() == [page.as_uri(), "http://127.0.0.1:9/a.png"]
    assert any("a.png" in complaint for complaint in browser.complaints())


def test_the_data_in_the_page_are_json(browser, wrong):
    browser.open(wrong)
    data = json.loads(browser.one("#data").get_attribute("textContent"))
    assert len(data["tensors"]) == len(browser.all(".block"))
