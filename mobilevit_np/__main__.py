"""``python -m mobilevit_np``, also installed as ``mobilevit-np``.

The fast engine runs threads of its own, and NumPy's matrix library must not start more inside each of them. The library
reads its setting once, when NumPy is imported, so it is set here, before anything else, unless the environment has
set it already.
"""

from __future__ import annotations

import os
import sys

from .fence import fenced, ignore_signals, signals_interrupt
from .matrix_library import keep_to_one_thread


def main() -> int:
    """Run the command line; the exit code is the answer."""
    try:
        return fenced(_run)
    except KeyboardInterrupt:  # a second one, while the first was being reported
        return 2
    finally:
        ignore_signals()


def _run() -> int:
    signals_interrupt()
    keep_to_one_thread()
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  # None if it was closed: `>&-`
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115

    from .cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
