"""Measure the parity table of tutorials/figures.md and print it: ``python tests/parity/table.py``. Takes some minutes.

The networks are those of the tests beside this file, and an error beyond the tests' limits ends it as it ends them.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]

import conftest  # noqa: E402, F401  (before timm and transformers: it readies torch for them)
import test_activations  # noqa: E402
import test_timm  # noqa: E402
import test_transformers  # noqa: E402
import timm  # noqa: E402
import transformers  # noqa: E402
from oracle import LIMITS, compare  # noqa: E402

from mobilevit_np.ops import ACTIVATIONS  # noqa: E402


def rows() -> Iterable[tuple[str, str, str, list[tuple[int, float]]]]:
    """(oracle, what, dtype, [(activations, worst error) of each network])"""
    hugging_face, ross = f"transformers {transformers.__version__}", f"timm {timm.__version__}"
    for dtype in LIMITS:
        chosen = test_transformers.PUBLISHED
        networks = [compare(*test_transformers.published(*choice), dtype) for choice in chosen]
        yield hugging_face, "three sizes, strides 32, 16 and 8", dtype.__name__, networks
        networks = [compare(*test_transformers.drawn(i), dtype) for i in range(len(test_transformers.DRAWN))]
        yield hugging_face, "random configurations", dtype.__name__, networks
        networks = [compare(*test_activations.network(name, "segmenter"), dtype) for name in ACTIVATIONS]
        yield hugging_face, "every activation function", dtype.__name__, networks
        networks = [test_timm.compare(name, dtype) for name in test_timm.MODELS]
        yield ross, "three sizes", dtype.__name__, networks


def main() -> None:
    print("| oracle | networks | dtype | activations compared | worst relative error |")
    print("|---|---|---|---|---|")
    for oracle, what, dtype, networks in rows():
        count, worst = sum(count for count, _ in networks), max(worst for _, worst in networks)
        print(f"| {oracle} | {what} ({len(networks)}) | {dtype} | {count:,} | {worst:.1e} |", flush=True)


if __name__ == "__main__":
    main()
