"""``python -m tests.audit``: public ports from the package index, each held against the reference."""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mobilevit_np.config import VARIANTS, NetworkConfig
from mobilevit_np.golden import Diagnosis, diagnose, trace
from mobilevit_np.golden.formula import network_by_formula, tensor
from mobilevit_np.golden.tables import diagnosis_lines

from ..bench.with_transformers import skip_torchvisions_fakes
from .frameworks import run

ADAPTERS = Path(__file__).parent / "adapters"
README = Path(__file__).resolve().parents[2] / "README.md"
_PART = re.compile(r".*\.\d+\.")
SIZE = (128, 128)  # its maps are whole patches, which not every port can do without
HEADER = (
    "| port | weights loaded | first wrong layer | cause | fix |",
    "|---|---|---|---|---|",
)
EPILOG = """\
The network is xx_small with weights by formula. An adapter is a Python file with PACKAGE, the distribution's name, and
build(config, (height, width)), which gives the model: a torch.nn.Module in eval(), or a Keras model that takes channels
last. Its weights are found by order and shape, its layers by their weights.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit, print, and answer by the exit code: 1 where a port is wrong."""
    known = sorted(file.stem for file in ADAPTERS.glob("*.py"))
    parser = argparse.ArgumentParser(
        prog="python -m tests.audit",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("ports", nargs="*", metavar="PORT", help=f"{', '.join(known)} (all), or an adapter's file")
    parser.add_argument("--check", action="store_true", help="fail where a row isn't README's instead")
    parser.add_argument("--full", action="store_true", help="what diagnose says of each, below its row")
    options = parser.parse_args(arguments)
    skip_torchvisions_fakes()
    wrong = False
    print(*HEADER, sep="\n", flush=True)
    for port in options.ports or known:
        adapter = load(port)
        diagnosis = audit(adapter)
        told = row(adapter.PACKAGE, diagnosis)
        print(told, flush=True)
        wrong |= told not in README.read_text() if options.check else not diagnosis.clean
        if options.full:
            print("", *diagnosis_lines(diagnosis), "", sep="\n", flush=True)
    return int(wrong)


def load(port: str) -> Any:
    """One of the adapters here by its name, or another by its path."""
    path = ADAPTERS / f"{port}.py" if not port.endswith(".py") else Path(port)
    spec = importlib.util.spec_from_file_location(f"adapter_of_{path.stem}", path)
    if spec is None or spec.loader is None or not path.exists():
        sys.exit(f"there is no adapter {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def audit(adapter: Any) -> Diagnosis:
    """What a port computes with the golden's weights, diagnosed."""
    config = NetworkConfig(**VARIANTS["xx_small"], num_labels=1000)
    network = network_by_formula(config, "classifier", 0)
    golden = trace(tensor("pixel_values", (1, 3, *SIZE)), network)
    torch.manual_seed(0)  # of what a port has and the network hasn't
    with torch.no_grad():
        tensors = run(adapter.build(config, SIZE), golden, network.tensors)
    return diagnose(golden, tensors, network)


def row(package: str, diagnosis: Diagnosis) -> str:
    """One line of the table."""
    comparison = diagnosis.comparison
    identity = comparison.identity
    assert identity is not None
    loaded = f"{identity.count - len(identity.never_loaded)} of {identity.count}"
    first = f"`{comparison.first_bad.path.removeprefix('mobilevit.')}`" if comparison.first_bad else "none"
    causes = "; ".join(_causes(diagnosis)) or "right"
    fixes = "; ".join(finding.mistake.remedy for finding in diagnosis.findings)
    return f"| {package} {version(package)} | {loaded} | {first} | {causes} | {fixes} |"


def _causes(diagnosis: Diagnosis) -> list[str]:
    """What is wrong: the weights by what they're of, the mistakes, and what has no name."""
    parts = Counter(_PART.sub("", name).partition(".")[0] for each in diagnosis.misloaded for name in each.parameters)
    weights = ", ".join(f"{count} of {part}" for part, count in parts.items())
    found = [f"has other weights than the paper's network ({weights})"] if parts else []
    found += [finding.mistake.sentence for finding in diagnosis.findings]
    return [*found, *(f"{each.path}: {each.hint or 'not known'}" for each in diagnosis.unexplained)]


if __name__ == "__main__":
    sys.exit(main())
