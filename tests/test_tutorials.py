"""The tutorials: every output is true, nothing is skipped, cells are short, links lead somewhere, pictures are ours.

tests/tutorials.py runs the chapters by doctest, with no option switched on: outputs are compared to the letter.
"""

import doctest
import json
import os
import re
import shlex
import subprocess
import sys
import warnings
from functools import cache

import numpy as np
import pytest
from commands import run
from PIL import Image
from tiny import REPOSITORY

from mobilevit_np import fast
from mobilevit_np.checkpoints import init_parameters, open_checkpoint, save_checkpoint, shipped
from mobilevit_np.golden.file import VERSION
from tutorials import (
    CHAPTERS,
    ENOUGH,
    MARK,
    TUTORIALS,
    cells,
    commands,
    desk,
    differences,
    distance,
    picture_maker,
    record,
)

PAGES = [TUTORIALS / "README.md", *CHAPTERS]
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
PACKAGE = REPOSITORY / "mobilevit_np"
SMALL = 200_000  # bytes of a picture
EXPLAINED = (  # in the package, as patterns
    *("model.py", "scope.py", "config.py", "engines.py", "testing.py", "explain/summary.py", "golden/**/*.py"),
    *(f"{package}/*.py" for package in ("ops", "preprocess", "pipelines", "formats", "checkpoints", "fast")),
)
SHORTER = {  # what is added to commands that take their time
    "tests.bench": "--variants xx_small --batch 1 --size 32 --rounds 1 --peers none --json",
    "tutorials/measure_ideas.py": "--side 12 --rounds 1",
}
ELSEWHERE = "tutorials/classify_folder.py"  # its command runs in tests/scale, which have Dask
PICTURES = sorted(picture_maker().PICTURES)
by_name = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
on_pages = pytest.mark.parametrize("name", TEXTS)


@cache
def learning():
    """What is false in the chapter that trains, the longest to run, and the names that its pictures are made of."""
    names = {}
    (chapter,) = (chapter for chapter in CHAPTERS if chapter.stem == "14-learning")
    return differences(chapter, names), names


@by_name
def test_every_output_is_true(chapter):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = learning()[0] if chapter.stem == "14-learning" else differences(chapter)
    assert not found, "\n".join(map(str, found))


def test_the_golden_file_s_page_is_true_and_whole():
    page = TUTORIALS / "golden-file.md"
    found = differences(page)
    assert not found, "\n".join(map(str, found))
    text = page.read_text(encoding="utf-8")
    (fields,) = re.findall(r"^>>> print\(\*about, sep=\", \"\)\n(.*)$", text, re.MULTILINE)
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == fields.split(", ")
    assert f"format, version {VERSION}" in text


@by_name
def test_doctest_itself_sees_every_cell(chapter):
    """Each typed line is one that doctest runs: ``python -m doctest CHAPTER`` is all that a reader needs."""
    examples = doctest.DocTestParser().get_examples(chapter.read_text(encoding="utf-8"))
    typed = [line for cell in cells(chapter) for line in cell.typed]
    assert sum(example.source.count("\n") for example in examples) == len(typed)
    assert sum(line.startswith(">>>") for line in typed) == len(examples) > 10


@by_name
def test_cells_are_short_and_end_with_an_empty_line(chapter):
    """The empty line is where an output ends, for doctest."""
    for cell in cells(chapter):
        assert 1 <= len(cell.typed) <= 6, f"{chapter.name}:{cell.line} has {len(cell.typed)} lines"
        assert cell.text.endswith("\n\n"), f"{chapter.name}:{cell.line}"
        assert len(cell.text.splitlines()) <= 20, f"{chapter.name}:{cell.line} shows too much"


@by_name
def test_nothing_is_skipped_or_left_open(chapter):
    text = TEXTS[chapter.name]
    assert [text.count(word) for word in ("SKIP", "ELLIPSIS", "doctest:", "NORMALIZE", "IGNORE")] == [0] * 5
    assert text.count("```pycon") == len(cells(chapter)) == len(re.findall(r"```pycon\n>>> ", text))
    assert text.count(MARK) == sum(cell.marked for cell in cells(chapter))


@by_name
def test_a_chapter_has_its_parts(chapter):
    text = TEXTS[chapter.name]
    number = int(chapter.name[:2])
    assert text.startswith(f"# {number}. ")
    assert re.search(r"^\*\d+ minutes\. Explains \[", text, re.MULTILINE)
    assert "Paper: " in text
    for part in ("**What you will do.**", "**What you will learn.**", "**What you need.**", "## Exercises"):
        assert text.count(part) == 1, part
    assert text.count("<summary>Solution</summary>") == text.count("<details>") == text.count("</details>") >= 3
    assert set(re.findall(r"^\*\*(\d)\.\*\* ", text, re.MULTILINE)) >= {"1", "2", "3"}
    neighbors = [other.name for other in CHAPTERS if abs(int(other.name[:2]) - number) == 1]
    for line in (text.split("**What you will do.**")[0], text.split("\n---\n")[-1]):
        assert set(re.findall(r"\((\S+\.md)\)", line)) >= {"README.md", *neighbors}


def test_reading_times_stand_in_the_index_too():
    minutes = {name: int(time) for name, time in re.findall(r"\]\((\S+\.md)\) \| (\d+) minutes", TEXTS["README.md"])}
    assert sorted(minutes) == [chapter.name for chapter in CHAPTERS]
    for name, time in minutes.items():
        assert f"*{time} minutes. " in TEXTS[name]
        prose = re.sub(r"^```.*?^```$", "", TEXTS[name], flags=re.MULTILINE | re.DOTALL)
        typed = sum(len(cell.typed) for cell in cells(TUTORIALS / name))
        estimate = len(prose.split()) / 150 + typed / 6  # words a minute, lines typed a minute
        assert 10 <= time <= 30
        assert estimate / 1.4 < time < estimate * 1.4, f"{name}: about {estimate:.0f} minutes"


@on_pages
def test_links_lead_somewhere(name):
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[name]) if "://" not in target]
    assert len(targets) > 5
    for target in targets:
        path, _, anchor = target.partition("#")
        page = (TUTORIALS / path).resolve() if path else TUTORIALS / name
        assert page.exists(), f"{name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}, target


@on_pages
def test_lines_fit(name):
    assert max(len(line) for line in TEXTS[name].splitlines() if not line.startswith(("|", "!["))) <= 130


@on_pages
def test_commands_run(name, capfd):
    """Ours as they stand; doctest's on a chapter is ``test_every_output_is_true``, and pip's is .ci/run's."""
    for line in commands(TEXTS[name]):
        words = shlex.split(line)
        if words[:3] == ["python", "-m", "mobilevit_np"]:
            with desk():
                assert run(words[3:]) == 0, line
            assert capfd.readouterr().err == "", line
        elif (words[1].endswith(".py") and words[1] != ELSEWHERE) or words[:3] == ["python", "-m", "tests.bench"]:
            more = next(SHORTER[word] for word in words if word in SHORTER)
            with desk() as folder:
                done = subprocess.run(
                    [sys.executable, *words[1:], *more.split()], cwd=folder, capture_output=True, text=True,
                    encoding="utf-8", env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(REPOSITORY)},
                )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert done.stderr == "" or "tests.bench" in words, line  # which says how far it is
        else:
            assert words[1] in ("install", ELSEWHERE) or words[:3] == ["python", "-m", "doctest"], line


def test_source_files_and_chapters_name_each_other():
    """Every file that is explained names its chapter, or its room does for all of its files; the chapter links back.

    model.py names those of its sections.
    """
    files = {path for pattern in EXPLAINED for path in PACKAGE.glob(pattern) if path.name != "__init__.py"}
    assert len(files) > 70
    for path in sorted(files):
        named = chapters_named(path) or chapters_named(path.with_name("__init__.py"))
        assert named, f"{path} names no chapter"
        home = path.relative_to(PACKAGE)
        links = [f"(../mobilevit_np/{each})" for each in (home, *list(home.parents)[:-1])]
        for chapter in named:
            assert any(link in TEXTS[chapter] for link in links), f"{chapter} doesn't link to {path}"


@by_name
def test_what_a_chapter_explains_is_there_and_names_it(chapter):
    """The files that its first lines link to name the chapter, and hold the functions that stand there."""
    first_lines = TEXTS[chapter.name].split("Explains ")[1].split("Paper: ")[0]
    linked = [PACKAGE / path for path in re.findall(r"\(\.\./mobilevit_np/(\S+)\)", first_lines)]
    sources = [path.read_text(encoding="utf-8") for path in linked if path.suffix == ".py"]
    assert linked
    for path in linked:
        inside = [path] if path.suffix == ".py" else path.glob("*.py")
        assert any(chapter.name in chapters_named(each) for each in inside), f"{path} doesn't name {chapter.name}"
    for function in re.findall(r"`(\w+)`", first_lines):
        assert any(f"def {function}(" in source for source in sources), f"{chapter.name} explains {function}"


def chapters_named(path):
    """The chapters that a source file names, in its docstring or in the headings of its sections."""
    return set(re.findall(r"tutorials/(\d\d-[\w-]+\.md)", path.read_text(encoding="utf-8")))


def test_recorded_gains_are_the_engine_s():
    """What chapter 12 shows of the gains stands in the engine's own list, word for word."""
    rows = re.findall(r"^\| (.*) \| ([\d., to]+) \|$", TEXTS["12-making-numpy-fast.md"], re.MULTILINE)
    recorded = " ".join(fast.__doc__.replace("``", "`").split())
    assert len(rows) >= 5
    for idea, gain in ((idea.replace("\\", ""), gain) for idea, gain in rows):
        assert re.search(rf"{re.escape(idea)} {re.escape(gain)}(?![\d.]*\d)", recorded), idea


def test_code_shown_is_the_script_s():
    shown = re.findall(r"^```python\n(.*?)^```$", TEXTS["13-more-photos-than-one-machine.md"], re.MULTILINE | re.DOTALL)
    script = (TUTORIALS / "classify_folder.py").read_text(encoding="utf-8")
    assert len(shown) == 3
    for block in shown:
        assert block in script


def test_the_script_says_what_it_lacks(tmp_path):
    program = "import runpy, sys; sys.modules['distributed'] = None; del sys.argv[0]; "
    program += "runpy.run_path(sys.argv[0], run_name='__main__')"
    arguments = [str(TUTORIALS / "classify_folder.py"), str(tmp_path), "-o", "answers.csv"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, 'this needs Dask: pip install "mobilevit-np[scale]"\n')
    assert not list(tmp_path.iterdir())


# -- weights -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def other_weights(tmp_path, monkeypatch):
    """Drawn weights in the place of the shipped ones, for photos of other sizes: what new ones may be like."""
    for name, side in (("pets-xx-small", 160), ("pets-deeplabv3-xx-small", 224)):
        old = open_checkpoint(name)
        sizes = {"size": {"shortest_edge": side + 20}, "crop_size": {"height": side, "width": side}}
        save_checkpoint(
            tmp_path / "weights" / name,
            init_parameters(old.config, old.task, seed=3),
            json.loads((shipped.shipped()[name] / "config.json").read_text()) | {"image_size": side},
            json.loads((shipped.shipped()[name] / "preprocessor_config.json").read_text()) | sizes,
        )
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path)


def test_only_marked_cells_depend_on_the_weights(other_weights, tmp_path):
    long, short = "train_both(rows, labels, 300)", "train_both(rows, labels, 3)"  # what it gives stands in marked cells
    assert long in TEXTS["14-learning.md"]
    found = {}
    for chapter in CHAPTERS:
        if any(cell.marked for cell in cells(chapter)):
            page = tmp_path / chapter.name
            page.write_text(TEXTS[chapter.name].replace(long, short), encoding="utf-8")
            found[chapter.name] = differences(page)
    for name, each in found.items():
        assert not [str(difference) for difference in each if not difference.marked], name
    assert sum(map(len, found.values())) > 5, "other weights changed (almost) nothing: were they used?"
    assert sum(cell.marked for chapter in CHAPTERS for cell in cells(chapter)) <= 15


def test_recording_writes_what_came(tmp_path):
    """And nothing else: an output of another length, one where there was none, one with an empty line in it."""
    page = tmp_path / "00-page.md"
    page.write_text(
        f"# Page\n\n{MARK}\n```pycon\n>>> 1 + 1\n3\n3\n>>> 5\n5\n\n```\n\n```pycon\n>>> for i in range(2):\n"
        "...     print(i)\n\n```\n\nWords.\n\n```pycon\n>>> print('a\\n\\nb')\n\n```\n",
        encoding="utf-8",
    )
    found = differences(page)
    assert [(each.example.lineno, each.marked) for each in found] == [(4, True), (13, False), (21, False)]
    record(page, found)
    assert differences(page) == []
    text = page.read_text(encoding="utf-8")
    assert ">>> 1 + 1\n2\n>>> 5\n5\n\n```" in text
    assert "a\n<BLANKLINE>\nb\n\n```\n" in text
    assert "Words." in text


def test_a_false_output_is_noticed(tmp_path):
    page = tmp_path / CHAPTERS[2].name
    page.write_text(TEXTS[CHAPTERS[2].name].replace("8640", "8641"), encoding="utf-8")
    assert len(differences(page)) == 1


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_pictures_are_made_again_as_they_stand(monkeypatch):
    maker = picture_maker()
    monkeypatch.setattr(maker, "learned", lambda: learning()[1])
    for name, make in maker.PICTURES.items():
        path = maker.FOLDER / f"{name}.png"
        assert distance(make(), path) <= 1 - ENOUGH, f"{name}.png: python tests/tutorials.py --record"
        assert path.stat().st_size < SMALL


def test_every_picture_is_shown_and_every_shown_one_described():
    shown = [
        target for text in TEXTS.values() for target in re.findall(r"!\[[^\]]{20,}\]\(pictures/(\w+)\.png\)", text)
    ]
    light = sorted(picture_maker().MAKERS)
    assert sorted(shown) == light
    assert sorted(light + [f"{name}-dark" for name in light]) == PICTURES
    assert sorted(path.stem for path in (TUTORIALS / "pictures").iterdir()) == PICTURES
    assert "![](" not in "".join(TEXTS.values())


def test_distance_sees_what_differs(tmp_path):
    pixels = np.zeros((10, 20, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "black.png")
    pixels[0, 0] = 2
    assert distance(Image.fromarray(pixels), tmp_path / "black.png") == 0
    pixels[0, :2, 1] = 3
    assert distance(Image.fromarray(pixels), tmp_path / "black.png") == pytest.approx(2 / 200)
    assert distance(Image.new("RGB", (9, 9)), tmp_path / "black.png") == 1


def test_the_attention_picture_shows_the_numbers_of_the_trace():
    """The brightness of a head's map is its share over the head's largest, patch by patch."""
    maker = picture_maker()
    probabilities = maker.run()[0][maker.LAYER]
    row, column = maker.EYE
    picture = np.asarray(maker.PICTURES["attention"]()).astype(float)
    gray = maker.photo().mean(axis=0)
    for head in range(4):
        look = probabilities[0, head, 16 * row + column].reshape(16, 16)
        left = 20 + 122 * (head + 1)
        seen = picture[58:170, left : left + 112, 0].reshape(16, 7, 16, 7).mean(axis=(1, 3)) / 255
        dark = 0.35 * gray.reshape(16, 16, 16, 16).mean(axis=(1, 3))
        assert np.abs(seen - np.minimum(dark + look / look.max(), 1)).max() < 0.08


def test_a_picture_is_on_a_light_card_and_on_a_dark_one():
    """Of the same size, and narrow enough that a phone shrinks their words by less than half."""
    maker = picture_maker()
    for name in maker.MAKERS:
        cards = [Image.open(maker.FOLDER / f"{each}.png") for each in (name, f"{name}-dark")]
        assert cards[0].size == cards[1].size
        assert cards[0].width == 640
        assert [card.convert("RGB").getpixel((2, 2)) for card in cards] == [(255, 255, 255), (32, 36, 44)]
