"""``python tests/mutants``: plant every known port mistake, print who notices, exit 1 if nobody does."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from mutants.proof import report  # noqa: E402

if __name__ == "__main__":
    lines, survivors = report()
    print("\n".join(lines))
    sys.exit(1 if survivors else 0)
