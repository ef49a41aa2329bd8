"""Feed hostile files to everything that reads files: ``python tests/fuzz/run.py --count 100000 --seed 7``.

Any exception but MobileViTError fails, and so does one that says nothing. Each case has a number of its own:
``--target torch --seed 7 --first 4711 --count 1`` makes that one again. ``--processes 200`` runs so many whole commands
instead, under limits of the system and with signals (POSIX only).
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

if __package__ in (None, ""):  # run as a file: find the package beside tests/, and this folder as ``fuzz``
    sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

from fuzz import processes
from fuzz.targets import SHARES, TARGETS
from mobilevit_np.errors import MobileViTError, MobileViTWarning

SLOWEST = 20.0  # seconds of the processor's time a single case may take; the inputs are a few kilobytes


def run_case(target: str, seed: int, number: int) -> str | None:
    """Run one case. None where it's right, else what went wrong."""
    random = np.random.default_rng([seed, list(TARGETS).index(target), number])
    start = time.process_time()  # which a busy machine, or one that sleeps, doesn't lengthen
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", MobileViTWarning)
            TARGETS[target](random)
    except MobileViTError as error:
        if not str(error):
            return f"a {type(error).__name__} that says nothing"
    except BaseException:
        return traceback.format_exc()
    if time.process_time() - start > SLOWEST:
        return f"took {time.process_time() - start:.0f} s"
    return None


def run(target: str, count: int, seed: int, first: int = 0) -> list[str]:
    """Run ``count`` cases of one target. The failures, each with the command that makes it again."""
    return [f"{command}\n{problem}" for command, problem, _ in cases(target, count, seed, first) if problem is not None]


def cases(target: str, count: int, seed: int, first: int = 0) -> Iterator[tuple[str, str | None, float]]:
    """Each case as it's run: the command that makes it again, what went wrong, how many seconds it took."""
    for number in range(first, first + count):
        start = time.perf_counter()
        problem = run_case(target, seed, number)
        command = f"python tests/fuzz/run.py --target {target} --seed {seed} --first {number} --count 1"
        yield command, problem, time.perf_counter() - start


def run_processes(count: int, seed: int, first: int = 0) -> int:
    """Run ``count`` commands, print those that ended badly, and return the exit code."""
    failed = 0
    for number in range(first, first + count):
        problem = processes.run_case(seed, number)
        if problem is not None:
            failed += 1
            print(f"python tests/fuzz/run.py --processes 1 --seed {seed} --first {number}\n{problem}", flush=True)
    print(f"{count} commands {failed} failures")
    return 1 if failed else 0


def peak_megabytes() -> float:
    """The most memory that this process has had, so far; 0 where the system doesn't tell."""
    try:
        import resource
    except ImportError:
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="cases, of all targets or of the one given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--target", choices=TARGETS, help="only this one")
    parser.add_argument("--processes", type=int, metavar="N", help="run N commands under limits and signals instead")
    options = parser.parse_args()
    if options.processes is not None:
        return run_processes(options.processes, options.seed, options.first)
    plan = (
        {options.target: options.count} if options.target else {t: options.count * s // 100 for t, s in SHARES.items()}
    )
    failed = 0
    for target, count in plan.items():
        results = list(cases(target, count, options.seed, options.first))
        failures = [f"{command}\n{problem}" for command, problem, _ in results if problem is not None]
        failed += len(failures)
        seconds = [duration for *_, duration in results]
        slowest = options.first + int(np.argmax(seconds)) if seconds else None
        print(
            f"{target:<16} {count:>8} cases {len(failures):>5} failures {sum(seconds):8.1f} s; "
            f"slowest {max(seconds, default=0):.2f} s (case {slowest}), peak {peak_megabytes():.0f} MB so far",
            flush=True,
        )
        for failure in failures[:3]:
            print(failure)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
