"""A Core ML conversion held against a golden file, on a Mac: ``python tests/parity/coreml_on_a_mac.py``.

Needs what tests/parity needs, and ``pip install coremltools``. transformers' xx_small is converted in float32, with
every module's output as an output of its own, and run on the CPU, since Core ML computes in float16 elsewhere. Models
can be converted anywhere, and run on macOS only: ``--convert-only`` stops before. Beyond that the script is untested.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[up]) for up in (0, 1, 2)]
    import conftest  # noqa: F401  # transformers can't be imported without it

import coremltools
import numpy as np
import torch
from golden_models import hugging_face
from port_table import Port, golden_and_network, print_table


class EveryOutput(torch.nn.Module):
    """A network that gives what each of its modules does: ``names``, once it has been run, in order of execution."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network
        self.found: dict[str, torch.Tensor] = {}
        for name, module in network.named_modules():
            if name:
                module.register_forward_hook(lambda _, __, output, name=name: self.see(name, output))

    def see(self, name: str, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            self.found[name] = output

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.found.clear()
        self.found["logits"] = self.network(pixel_values, return_dict=False)[0]
        self.names = list(self.found)
        return tuple(each * 1 for each in self.found.values())  # else two names of one tensor would be one output


def convert(task: str) -> tuple[Any, dict[str, str]]:
    """The converted model, and what each of its outputs is: ``{output: module}``."""
    pixels = torch.from_numpy(golden_and_network(task)[0].tensors["pixel_values"].astype(np.float32))
    model = EveryOutput(hugging_face(task)).eval()
    exported = torch.export.export(model, (pixels,), strict=False).run_decompositions({})
    converted = coremltools.convert(
        exported,
        compute_precision=coremltools.precision.FLOAT32,
        compute_units=coremltools.ComputeUnit.CPU_ONLY,
        minimum_deployment_target=coremltools.target.macOS13,
    )
    outputs = converted.get_spec().description.output
    with torch.no_grad():
        for output, name, tensor in zip(outputs, model.names, model(pixels), strict=True):
            assert tuple(output.type.multiArrayType.shape) == tuple(tensor.shape), name
    return converted, {output.name: name for output, name in zip(outputs, model.names, strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--convert-only", action="store_true")
    options = parser.parse_args()
    ports = []
    for task in ("classifier", "segmenter"):
        model, names = convert(task)
        print(f"{task}: converted, {len(names)} outputs", flush=True)
        if not options.convert_only:
            pixels = golden_and_network(task)[0].tensors["pixel_values"].astype(np.float32)
            answers = model.predict({"pixel_values": pixels})
            found = {"pixel_values": pixels} | {name: answers[output] for output, name in names.items()}
            ports.append(Port(f"Core ML, coremltools {coremltools.__version__}", task, found, None))
    if ports:
        print_table(ports)


if __name__ == "__main__":
    main()
