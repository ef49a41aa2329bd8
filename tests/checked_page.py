"""The pages on checked ports, run: ``python tests/checked_page.py PAGE`` writes a page's answers anew.

Its Python and bash blocks are run in order, Python as one program; the plain block after a block is its answer.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
TFLITE, NCNN = (REPOSITORY / "tutorials" / f"port_checked_{port}.md" for port in ("tflite", "ncnn"))
BLOCK = re.compile(r"```(python|bash)\n(.*?)```(\n\n```\n(.*?)```)?", re.DOTALL)
FILES = re.compile(r"(?<![\w/-])(tutorials|weights)/")


def run(page: Path, folder: Path, variables: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Each answer as the page shows it, and as it is now.

    Files are written into the folder, and the Python blocks' variables into the dictionary.
    """
    for kind, code, answered, shown in BLOCK.findall(page.read_text(encoding="utf-8")):
        code = FILES.sub(rf"{REPOSITORY}/\1/", code)
        answer = _run_python(code, folder, variables) if kind == "python" else _run_bash(code, folder)
        if answered:
            yield shown, answer


def _run_bash(code: str, folder: Path) -> str:
    found = subprocess.run(
        re.sub(r"^python ", f"{sys.executable} ", code, flags=re.MULTILINE),
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "120"},
    )
    assert found.returncode in (0, 1), found.stderr
    return found.stdout.replace(f"{folder}{os.sep}", "")


def _run_python(code: str, folder: Path, variables: dict[str, object]) -> str:
    before, said = Path.cwd(), io.StringIO()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(said):
            exec(compile(code, "page", "exec"), variables)
    finally:
        os.chdir(before)
    return said.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="a page of tutorials/")
    page = parser.parse_args().page
    if importlib.util.find_spec("torch"):
        from tests.bench.with_transformers import skip_torchvisions_fakes

        skip_torchvisions_fakes()
    with tempfile.TemporaryDirectory() as folder:
        answers = iter([now for _, now in run(page, Path(folder), {})])
    text = page.read_text(encoding="utf-8")
    page.write_text(BLOCK.sub(lambda block: _answered(block, answers), text), encoding="utf-8")


def _answered(block: re.Match[str], answers: Iterator[str]) -> str:
    if not block[3]:
        return block[0]
    return f"```{block[1]}\n{block[2]}```\n\n```\n{next(answers)}```"


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))
    main()
