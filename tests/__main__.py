"""``python -m tests``: all tests, in two processes beside each other, each with half of the files.

pytest's own options go to both: ``python -m tests -x``. The first one's progress is seen as it comes, what the second
says follows it. The exit code is 0 if both have passed, else 1.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SECOND = ("test_golden_*.py", "test_readme.py", "test_tutorials.py")  # they take as long as all the others


def run(number: int, *arguments: str, **options: object) -> subprocess.Popen:
    """Half of the tests. Each half's coverage, where it's asked for, goes to a file of its own."""
    environment = {**os.environ, "COVERAGE_FILE": f".coverage.{number}"}
    command = [sys.executable, "-m", "pytest", *sys.argv[1:], *arguments]
    return subprocess.Popen(command, cwd=HERE.parent, env=environment, **options)


def main() -> int:
    files = sorted(str(path) for pattern in SECOND for path in HERE.glob(pattern))
    with tempfile.TemporaryFile() as said:
        second = run(2, *files, stdout=said, stderr=said)
        try:
            codes = run(1, *(f"--ignore-glob={HERE / pattern}" for pattern in SECOND)).wait(), second.wait()
        finally:
            second.terminate()
        said.seek(0)
        sys.stdout.write(said.read().decode(errors="replace"))
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
