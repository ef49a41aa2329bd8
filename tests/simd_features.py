"""Print the vector instructions that this NumPy chooses between at run time, for NPY_DISABLE_CPU_FEATURES.

Their names differ between versions ("AVX2 FMA3" in 2.0, "X86_V3" in 2.4), and a name that NumPy doesn't know disables
nothing.
"""

from numpy._core._multiarray_umath import __cpu_dispatch__

if __name__ == "__main__":
    print(*__cpu_dispatch__)
