"""The house's floors: a file imports only from floors below its own, or from its own package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mobilevit_np

PACKAGE = Path(mobilevit_np.__file__).parent
FLOORS = (  # from the ground up; what lies on one floor doesn't know of its neighbors
    {"errors", "fence", "labels", "matrix_library"},
    {"config", "scope", "ops", "formats"},
    {"model", "fast", "preprocess", "pages"},
    {"checkpoints", "engines"},
    {"golden", "pipelines", "huggingface"},
    {"explain", "testing"},
    {"cli"},
)
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
DOORS = {"__init__", "__main__"}  # the package's own two files open onto every floor
GROUND = {"_version", "errors"}  # they import nothing
AT_RUN_TIME = {"numpy", "PIL", "safetensors"}
WHERE_USED = {"huggingface_hub", "threadpoolctl", "dask"}  # extras: imported inside the functions that need them
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    """What the file belongs to: its package, or itself where it stands alone."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(source: str, package: list[str]) -> list[tuple[str, bool]]:
    """Every absolute module name that the source imports, and whether at the top (not in a function).

    ``package`` are the names of the packages it lies in, ``["mobilevit_np", "ops"]``. What only type checkers see isn't
    imported.
    """
    found = []

    def visit(node: ast.AST, top: bool) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for child in node.orelse:
                visit(child, top)
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, top) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            found.extend((f"{start}.{alias.name}", top) for alias in node.names)
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, top and not inside)

    visit(ast.parse(source), True)
    return found


def complaints(path: Path, source: str) -> list[str]:
    """What the file imports and mustn't."""
    inside = path.relative_to(PACKAGE)
    mine = room(path)
    wrong = []
    for name, top in imports(source, ["mobilevit_np", *inside.parts[:-1]]):
        first, _, rest = name.partition(".")
        if first == "mobilevit_np":
            theirs = rest.partition(".")[0]
            if theirs == mine or theirs in GROUND or mine in DOORS:
                continue
            if FLOOR.get(theirs, 99) >= FLOOR[mine]:
                wrong.append(f"{inside} (floor {FLOOR[mine]}) imports {theirs} (floor {FLOOR.get(theirs)})")
            if mine == "ops" and theirs != "errors":
                wrong.append(f"{inside} imports {theirs}: ops stands on NumPy alone")
        elif (first in WHERE_USED and not top) or first in sys.stdlib_module_names:
            continue
        elif first not in AT_RUN_TIME or (mine == "ops" and first != "numpy"):
            wrong.append(f"{inside} imports {first}")
    return wrong


def test_every_room_has_a_floor():
    assert {room(path) for path in FILES} <= set(FLOOR) | DOORS | GROUND


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_come_from_below(path):
    assert complaints(path, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("ops/linear.py", "from ..model import aspp"),
        ("ops/linear.py", "from ..scope import Scope"),
        ("ops/linear.py", "from mobilevit_np import scope"),
        ("ops/linear.py", "import safetensors"),
        ("ops/linear.py", "def f():\n    import torch"),
        ("model.py", "from .checkpoints import saving"),
        ("model.py", "from . import engines"),
        ("formats/files.py", "from ..checkpoints import parameter_names"),
        ("formats/hub.py", "import huggingface_hub"),
        ("pipelines/common.py", "def f():\n    from ..cli import common"),
        ("scope.py", "from .config import NetworkConfig"),
        ("errors.py", "from .scope import Scope"),
        ("model.py", "import scipy.special"),
        ("model.py", "import mobilevit_np.fast.network"),
        ("golden/network.py", "from ..pipelines import common"),
    ],
)
def test_wrong_imports_are_noticed(file, source):
    assert complaints(PACKAGE / file, source)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("ops/linear.py", "import numpy.lib\nfrom .resize import resize_bilinear\nfrom ..errors import InputError"),
        ("model.py", "from . import ops\nfrom .ops.linear import linear\nfrom .scope import Scope"),
        ("formats/hub.py", "def f():\n    import huggingface_hub"),
        ("ops/linear.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
        ("__init__.py", "from .cli import main"),
    ],
)
def test_right_imports_are_let_through(file, source):
    assert complaints(PACKAGE / file, source) == []


def test_importing_the_package_loads_nothing_heavy():
    script = (
        "import sys, mobilevit_np; mobilevit_np.__version__;"
        "print(*sorted({'numpy', 'PIL', 'safetensors', 'argparse'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
