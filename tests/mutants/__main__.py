"""``python -m tests.mutants``: are known port mistakes, and plain changes to the code, noticed? Exit 1 if one isn't.

``python -m tests.mutants --known`` plants the port mistakes alone, in seconds; the changes take some minutes.
"""

import argparse
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from mutants import plain, proof  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.mutants", description=__doc__)
    parser.add_argument("--known", action="store_true", help="plant the known port mistakes alone")
    options = parser.parse_args()
    lines, survivors = proof.report()
    print("\n".join(lines), flush=True)
    if options.known:
        return min(survivors, 1)
    results = []
    for line, noticed in plain.report():
        print(line, flush=True)
        results.append(noticed)
    print(f"{sum(results)} of {len(results)} plain changes killed")
    return int(survivors > 0 or not all(results))


if __name__ == "__main__":
    sys.exit(main())
