"""``python -m mobilevit_np``, also installed as ``mobilevit-np``."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the command line; the exit code is the answer."""
    from .cli import run

    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  # None where it was closed: `>&-`
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
