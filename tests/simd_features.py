"""The vector instructions that NumPy chooses between at run time and this processor has.

Printed for NPY_DISABLE_CPU_FEATURES; their names differ between versions ("AVX2 FMA3" in 2.0, "X86_V3" in 2.4), and a
name that NumPy or the processor doesn't know disables nothing, with a warning. ``--assert-off NAMES`` fails unless all
of them are off.
"""

import sys

from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

if __name__ == "__main__":
    on = [name for name in __cpu_dispatch__ if __cpu_features__[name]]
    if sys.argv[1:2] == ["--assert-off"]:
        still_on = sorted(set(" ".join(sys.argv[2:]).split()) & set(on))
        sys.exit(f"still on: {still_on}" if still_on else 0)
    if not on:
        sys.exit("this NumPy has no instructions to switch off here")
    print(*on)
