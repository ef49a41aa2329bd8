"""Feed hostile files to everything that reads files: ``python tests/fuzz/run.py --count 100000 --seed 7``.

Any exception but MobileViTError fails, and so does a message of more than a line. Each case has a number of its own:
``--target torch --seed 7 --first 4711 --count 1`` makes that one again.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

if __package__ in (None, ""):  # run as a file: find the package beside tests/, and this folder as ``fuzz``
    sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

from fuzz.targets import SHARES, TARGETS
from mobilevit_np.errors import MobileViTError, MobileViTWarning

SLOWEST = 20.0  # seconds a single case may take; the inputs are a few kilobytes


def run_case(target: str, seed: int, number: int) -> str | None:
    """Run one case. None where it's right, else what went wrong."""
    random = np.random.default_rng([seed, list(TARGETS).index(target), number])
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", MobileViTWarning)
            TARGETS[target](random)
    except MobileViTError as error:
        message = str(error)
        if not message or "\n" in message or len(message) > 1500:
            return f"a message that is not one line: {message[:300]!r}"
    except BaseException:
        return traceback.format_exc()
    if time.perf_counter() - start > SLOWEST:
        return f"took {time.perf_counter() - start:.0f} s"
    return None


def run(target: str, count: int, seed: int, first: int = 0) -> list[str]:
    """Run ``count`` cases of one target. The failures, each with the command that makes it again."""
    failures = []
    for number in range(first, first + count):
        problem = run_case(target, seed, number)
        if problem is not None:
            command = f"python tests/fuzz/run.py --target {target} --seed {seed} --first {number} --count 1"
            failures.append(f"{command}\n{problem}")
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="cases, of all targets or of the one given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--target", choices=TARGETS, help="only this one")
    options = parser.parse_args()
    plan = (
        {options.target: options.count} if options.target else {t: options.count * s // 100 for t, s in SHARES.items()}
    )
    failed = 0
    for target, count in plan.items():
        start = time.perf_counter()
        failures = run(target, count, options.seed, options.first)
        failed += len(failures)
        print(
            f"{target:<16} {count:>8} cases {len(failures):>5} failures {time.perf_counter() - start:8.1f} s",
            flush=True,
        )
        for failure in failures[:3]:
            print(failure)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
