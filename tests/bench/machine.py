"""Where a race was run: processor, threads, NumPy and its matrix library; memory of a process."""

from __future__ import annotations

import contextlib
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from mobilevit_np.fast import cores


def settings(threads: int) -> dict[str, Any]:
    """What the figures depend on besides the code."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": _blas(),
    }


def peak_bytes() -> int | None:
    """The most memory this process has held at a time, libraries included; None where the system doesn't tell.

    Linux's VmHWM counts from the process's own start; ``ru_maxrss`` may hold what its parent had before.
    """
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def settle() -> None:
    """Wait until this process's threads sleep, but half a second at most.

    After a call they go on waiting busily for the next: ONNX Runtime's and OpenBLAS's for 50 to 100 ms, in which
    whoever comes next would find the cores taken.
    """
    for _ in range(25):
        before = time.process_time()  # of all threads together
        time.sleep(0.02)
        if time.process_time() - before < 0.001:
            return


def _processor() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def _blas() -> str:
    """The matrix library under NumPy; the processor it believes to be on, where threadpoolctl can tell."""
    about: Any = np.show_config(mode="dicts")
    built = about["Build Dependencies"]["blas"]
    name = f"{built.get('name', 'unknown')} {built.get('version', '')}".strip()
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return name
    kinds = [pool.get("architecture") for pool in threadpool_info() if pool.get("user_api") == "blas"]
    return f"{name} ({', '.join(kind for kind in kinds if kind)})" if any(kinds) else name
