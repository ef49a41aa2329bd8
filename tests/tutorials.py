"""The tutorials' cells, run by doctest with nothing skipped and nothing left open; and what writes their outputs anew.

    python tests/tutorials.py            runs all chapters, says what isn't as it stands there
    python tests/tutorials.py --record   the same, and writes anew what depends on the shipped weights: the outputs of
                                         the cells marked for it, and the pictures
    python tests/tutorials.py --record --all 08   for the writing of a chapter: its other cells' outputs as well

A cell is a block of ``>>>`` lines between fences. One whose output depends on the shipped weights has the line MARK
above its fence, and is the only kind that new weights may change.
"""

from __future__ import annotations

import argparse
import doctest
import functools
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

REPOSITORY = Path(__file__).resolve().parent.parent
TUTORIALS = REPOSITORY / "tutorials"
CHAPTERS = sorted(TUTORIALS.glob("[0-9][0-9]-*.md"))
MARK = "<!-- the output depends on the shipped weights -->"
_CELL = re.compile(r"^```pycon\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CLOSE, ENOUGH = 2, 0.995  # levels that a pixel may be off, and the part of all pixels that must be as close


@dataclass(frozen=True)
class Cell:
    """A block between fences: its text, the number of its first line, and whether new weights may change its output."""

    text: str
    line: int
    marked: bool

    @property
    def typed(self) -> list[str]:
        """The lines that a reader types."""
        return [line for line in self.text.splitlines() if line.startswith((">>>", "..."))]


@dataclass(frozen=True)
class Difference:
    """An example that gave something else than what stands below it."""

    chapter: Path
    example: doctest.Example
    got: str
    marked: bool

    def __str__(self) -> str:
        place = f"{self.chapter.name}:{self.example.lineno + 1}{' (marked)' if self.marked else ''}"
        return f"{place}\n{self.example.source}  stands there: {self.example.want!r}\n  came: {self.got!r}"


def cells(chapter: Path) -> list[Cell]:
    """Every cell of a chapter, solutions included."""
    text = chapter.read_text(encoding="utf-8")
    found = []
    for match in _CELL.finditer(text):
        before = text[: match.start()]
        found.append(Cell(match[1], before.count("\n") + 2, before.endswith(f"{MARK}\n")))
    return found


def commands(text: str) -> list[str]:
    """The lines that a page gives to a shell."""
    return "".join(re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)).splitlines()


def differences(chapter: Path, names: dict[str, object] | None = None) -> list[Difference]:
    """What a chapter's examples give that isn't what stands there, run one after the other in an empty folder.

    Into ``names`` go the chapter's own, as they are before its exercises.
    """
    text = chapter.read_text(encoding="utf-8")
    test = doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, chapter.stem, str(chapter), 0)
    exercises = text.partition("## Exercises")[0].count("\n")
    runner = _Runner(exercises, names, optionflags=0, verbose=False)
    with desk(), as_before():
        runner.run(test, out=lambda _: None, clear_globs=names is None)  # functions keep what they were made among
    marked = [range(cell.line, cell.line + cell.text.count("\n")) for cell in cells(chapter) if cell.marked]
    return [
        Difference(chapter, example, got, any(example.lineno + 1 in lines for lines in marked))
        for example, got in runner.failed
    ]


class _Runner(doctest.DocTestRunner):
    """A doctest runner that keeps what failed instead of printing it, and the names there are at a line."""

    def __init__(self, line: int, names: dict[str, object] | None, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.failed: list[tuple[doctest.Example, str]] = []
        self.line, self.names = line, names

    def report_start(self, out, test, example):  # type: ignore[no-untyped-def]
        if self.names == {} and example.lineno >= self.line:
            self.names.update(test.globs)

    def report_failure(self, out, test, example, got):  # type: ignore[no-untyped-def]
        self.failed.append((example, got))

    def report_unexpected_exception(self, out, test, example, exc_info):  # type: ignore[no-untyped-def]
        self.failed.append((example, f"{exc_info[0].__name__}: {exc_info[1]}"))


@contextmanager
def desk() -> Iterator[Path]:
    """An empty folder to work in, with links to what a checkout has there: what a chapter saves goes into it."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("tutorials", "weights"):
            Path(folder, name).symlink_to(REPOSITORY / name)
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(here)


@contextmanager
def as_before() -> Iterator[None]:
    """Modules that a chapter takes from its own folder, and threads that it asks for, are gone afterwards."""
    from mobilevit_np.fast import crew

    path, threads = list(sys.path), dict(crew._setting)
    try:
        yield
    finally:
        sys.path[:] = path
        for script in TUTORIALS.glob("*.py"):
            sys.modules.pop(script.stem, None)
        if "limits" in crew._setting and "limits" not in threads:
            crew._setting["limits"].restore_original_limits()
        crew._setting.clear()
        crew._setting.update(threads)


def record(chapter: Path, found: list[Difference]) -> None:
    """Write what came in the place of what stood there."""
    lines = chapter.read_text(encoding="utf-8").splitlines()
    for difference in sorted(found, key=lambda each: -each.example.lineno):
        example = difference.example
        start = example.lineno + example.source.count("\n")
        got = [line or "<BLANKLINE>" for line in difference.got.splitlines()]
        lines[start : start + example.want.count("\n")] = got
    chapter.write_text("\n".join(lines) + "\n", encoding="utf-8")


def distance(found: Image.Image, path: Path) -> float:
    """The part of all pixels that are more than CLOSE levels off the picture in the file."""
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB")).astype(int)
    pixels = np.asarray(found.convert("RGB")).astype(int)
    if pixels.shape != expected.shape:
        return 1.0
    return float((np.abs(pixels - expected).max(axis=2) > CLOSE).mean())


@functools.cache
def picture_maker() -> ModuleType:
    """tutorials/make_pictures.py as a module; what it imports lies beside it."""
    spec = importlib.util.spec_from_file_location("make_pictures", TUTORIALS / "make_pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(TUTORIALS))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(TUTORIALS))
    return module


def main() -> int:
    """Run, report, and write where asked to. 1 where something is left that isn't as it stands there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "chapters", nargs="*", metavar="NUMBER", help="of the chapters to run (default: all, and pictures)"
    )
    parser.add_argument("--record", action="store_true", help="write anew what depends on the shipped weights")
    parser.add_argument("--all", action="store_true", help="with --record: other cells' outputs as well")
    options = parser.parse_args()
    asked, writes = tuple(options.chapters), options.record
    left = 0
    for chapter in CHAPTERS:
        if asked and not chapter.name.startswith(asked):
            continue
        found = differences(chapter)
        for difference in found:
            print(difference)
        written = [each for each in found if writes and (each.marked or options.all)]
        if written:
            record(chapter, written)
        left += len(found) - len(written)
        print(f"{chapter.name}: {len(found)} outputs differ, {len(written)} written anew")
    return 1 if left + (_pictures_left(writes) if not asked else 0) else 0


def _pictures_left(writes: bool) -> int:
    maker, left = picture_maker(), 0
    for name, make in maker.PICTURES.items():
        path, image = maker.FOLDER / f"{name}.png", make()
        off = distance(image, path) if path.exists() else 1.0
        if off <= 1 - ENOUGH:
            continue
        print(f"pictures/{name}.png: {off:.1%} of its pixels differ{', written anew' if writes else ''}")
        left += not writes
        if writes:
            image.save(path, optimize=True)
    return left


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))  # this checkout and its weights, whatever is installed
    sys.exit(main())
