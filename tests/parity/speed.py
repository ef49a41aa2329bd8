"""How fast the reference engine is beside PyTorch, and how much memory it takes: ``python tests/parity/speed.py``.

The small network on one photo of 256x256, float32, both engines in turn in one process. The memory is that of another
process that runs only the reference.
"""

import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
RUNS = 15


def reference(size=256):
    """A call of the reference, and its tensors."""
    from mobilevit_np import reference
    from mobilevit_np.checkpoints import draw_parameters
    from mobilevit_np.config import VARIANTS, NetworkConfig
    from mobilevit_np.scope import Scope

    config = NetworkConfig(**VARIANTS["small"])
    tensors = draw_parameters(config, "classifier")
    pixel_values = np.random.default_rng(0).random((1, 3, size, size), np.float32)
    return lambda: reference.classifier(pixel_values, Scope(tensors), config)[0], tensors, pixel_values


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    import conftest  # noqa: F401  (lets transformers import)
    import torch
    from transformers import MobileViTConfig, MobileViTForImageClassification

    torch.set_num_threads(2)
    ours, tensors, pixel_values = reference()
    model = MobileViTForImageClassification(MobileViTConfig(num_labels=1000)).eval()
    model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, strict=False)
    inputs = torch.from_numpy(pixel_values)
    ratios, times = [], ([], [])
    with torch.inference_mode():
        for _ in range(RUNS):
            start = time.perf_counter()
            theirs = model(inputs).logits.numpy()
            between = time.perf_counter()
            logits = ours()
            end = time.perf_counter()
            times[0].append(between - start)
            times[1].append(end - between)
            ratios.append((end - between) / (between - start))
    difference = np.abs(logits - theirs).max() / np.abs(theirs).max()
    assert difference < 1e-5, difference
    torch_ms, our_ms = (1000 * statistics.median(each) for each in times)
    command = [sys.executable, __file__, "--memory"]
    peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    print(f"small, 256x256, one photo: PyTorch {torch.__version__} eager {torch_ms:.0f} ms, reference {our_ms:.0f} ms")
    print(f"median ratio over {RUNS} pairs {statistics.median(ratios):.2f}; peak memory of the process {peak} MB")


if __name__ == "__main__":
    if sys.argv[1:] == ["--memory"]:
        reference()[0]()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    else:
        main()
