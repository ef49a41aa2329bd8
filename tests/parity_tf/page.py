"""The page on a checked TFLite port, run: ``python tests/parity_tf/page.py`` writes its answers anew.

Its Python and bash blocks are run in order, Python as one program; the plain block after a bash block is its answer.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "tutorials" / "port_checked_tflite.md"
BLOCK = re.compile(r"```(python|bash)\n(.*?)```(\n\n```\n(.*?)```)?", re.DOTALL)
FILES = re.compile(r"(?<![\w/-])(tutorials|weights)/")


def run(folder: Path, variables: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Each bash block's answer as the page shows it, and as it is now.

    Files are written into the folder, and the Python blocks' variables into the dictionary.
    """
    for kind, code, _, shown in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        code = FILES.sub(rf"{REPOSITORY}/\1/", code)
        if kind == "python":
            _run_python(code, folder, variables)
        else:
            code = re.sub(r"^python ", f"{sys.executable} ", code, flags=re.MULTILINE)
            found = subprocess.run(
                code,
                shell=True,
                cwd=folder,
                capture_output=True,
                text=True,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "120"},
            )
            assert found.returncode in (0, 1), found.stderr
            yield shown, found.stdout.replace(f"{folder}{os.sep}", "")


def _run_python(code: str, folder: Path, variables: dict[str, object]) -> None:
    before = Path.cwd()
    os.chdir(folder)
    try:
        exec(compile(code, PAGE.name, "exec"), variables)
    finally:
        os.chdir(before)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        answers = iter([now for _, now in run(Path(folder), {})])
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BLOCK.sub(lambda block: _answered(block, answers), text), encoding="utf-8")


def _answered(block: re.Match[str], answers: Iterator[str]) -> str:
    if block[1] == "python":
        return block[0]
    return f"```bash\n{block[2]}```\n\n```\n{next(answers)}```"


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))
    main()
