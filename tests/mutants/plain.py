"""Plain changes to the code: a sign, an off-by-one, a branch that is dropped. Do the plain tests notice each?

``python -m tests.mutants`` makes each change in a copy of the checkout, one at a time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
NEEDED = ("mobilevit_np", "tests", "tutorials", "weights", "pyproject.toml", "README.md", "CHANGELOG.md")


CHANGES = {  # (file in the package, tests that are asked): {a text that occurs once in it: what stands there instead}
    ("ops/convolution.py", "ops_convolution"): {
        "dilation * (kernel_width - 1) + 1)": "dilation * (kernel_height - 1) + 1)",
    },
    ("ops/convolution.py", "ops_arguments ops_convolution"): {
        "or weight.shape[0] % groups:": "or False:",
    },
    ("ops/normalization.py", "ops_normalization"): {
        "running_var + float(eps)": "running_var - float(eps)",
        "bias - running_mean * scale": "bias + running_mean * scale",
        "np.square(centered).mean(axis=-1": "np.square(centered).mean(axis=-2",
    },
    ("ops/attention.py", "ops_attention"): {
        "math.sqrt(query.shape[-1])": "math.sqrt(query.shape[-2])",
        "x.transpose(0, 2, 1, 3).reshape(B, N, h * d)": "x.reshape(B, N, h * d)",
    },
    ("ops/patches.py", "model_layers model"): {
        "x.transpose(0, 5, 3, 1, 4, 2)": "x.transpose(0, 5, 3, 2, 4, 1)",
    },
    ("ops/patches.py", "ops_attention"): {
        "or BP % (p * p) or": "or",
    },
    ("ops/resize.py", "ops_resize"): {
        "(size_in / size_out) - 0.5, 0.0)": "(size_in / size_out), 0.0)",
        "if size_out > 1 else 0.0": "if size_out > 0 else 0.0",
    },
    ("ops/losses.py", "ops_losses"): {
        "-picked[counted].mean()": "-picked.mean()",
        "np.exp(-np.abs(logits))": "np.exp(-logits)",
    },
    ("ops/pooling.py", "ops_normalization fast"): {
        "0.5 * (global_average_pool(x)": "(global_average_pool(x)",
    },
    ("model.py", "model"): {
        "(weight.shape[-1] - 1) // 2 * dilation": "(weight.shape[-1] - 1) // 2",
        "stride=stride if i == 0 else 1)": "stride=stride)",
        "return -(-H // patch_size) * patch_size,": "return H // patch_size * patch_size,",
    },
    ("model.py", "model huggingface_models"): {
        'linear(pooled, scope / "classifier") if config.num_labels > 0': 'linear(pooled, scope / "classifier") if True',
    },
    ("preprocess/resize.py", "preprocess_resize preprocess_profiles"): {
        "int(size * long / short)": "round(size * long / short)",
    },
    ("preprocess/resize.py", "preprocess_resize"): {
        "if width <= height else": "if width >= height else",
    },
    ("preprocess/crop.py", "preprocess_profiles image_processor"): {
        "return (length - crop) // 2\n": "return (length - crop + 1) // 2\n",
        "top, left = max(-top, 0), max(-left, 0)": "top, left = 0, 0",
    },
    ("preprocess/crop.py", "preprocess_profiles"): {
        "return round((length - crop) / 2) if": "return (length - crop) // 2 if",
    },
    ("preprocess/steps.py", "image_processor"): {
        "if low >= 0 and high <= 1:": "if low >= 0 and high <= 2:",
    },
    ("preprocess/steps.py", "preprocess_profiles explain_page pipelines_segmenter"): {
        "(top + profile.crop[0]) * down": "(top + profile.crop[0]) * across",
    },
    ("preprocess/profiles.py", "preprocess_profiles image_processor"): {
        "if (self.mean is None) != (self.std is None):": "if False:",
    },
    ("preprocess/decoding.py", "preprocess_decode"): {
        "if orientation in (5, 6, 7, 8):": "if orientation in (5, 6, 8):",
        "if orientation in (2, 3, 6, 7):": "if orientation in (2, 3, 6):",
        'startswith("I;16") or image.format == "PNG":': 'startswith("I;16"):',
        "np.floor(levels + 0.5)": "np.floor(levels)",
        "255 * (255 - alpha) + 127) // 255": "255 * (255 - alpha)) // 255",
    },
    ("fast/folding.py", "fast"): {
        ".astype(np.float64) + BATCH_NORM_EPS)": ".astype(np.float64))",
        'shift = shift + weight @ norm["bias"]': 'shift = shift - weight @ norm["bias"]',
        "weight, shift = _centered(weight.T).T, _centered(shift)": "weight = _centered(weight.T).T",
    },
    ("fast/attention.py", "fast"): {
        "if not (sums.min() > 1 / SAFE_SUM and sums.max() < SAFE_SUM):": "if not sums.min() > 1 / SAFE_SUM:",
        "sound = (sums > 1 / SAFE_SUM) & (sums < SAFE_SUM)": "sound = sums < SAFE_SUM",
        "range(0, tokens, rows)": "range(0, tokens - 1, rows)",
    },
    ("fast/convolutions.py", "fast"): {
        "self.out_factor = factor if self.adds_input else 1.0": "self.out_factor = 1.0",
        "above = max(0, -start)": "above = 0",
    },
    ("fast/dense.py", "fast"): {
        "first, last = max(0, strip.top - pad),": "first, last = max(0, strip.top),",
        "if height % TILE or width % TILE:": "if height % TILE:",
    },
    ("fast/products.py", "fast"): {
        "range(fewest, rows // MIN_ROWS + 1)": "range(fewest, rows + 1)",
        "return is_limited() and has_avx512()": "return has_avx512()",
    },
    ("fast/winograd.py", "fast"): {
        "[0.5, -0.5, 0.5]": "[0.5, 0.5, 0.5]",
        "BIAS = 5": "BIAS = 0",
    },
    ("fast/heads.py", "fast"): {
        "and (i, j) != (1, 1):": "and i != 1:",
        "np.maximum if self.factor > 0 else np.minimum": "np.maximum",
    },
    ("fast/block.py", "fast"): {
        "np.repeat([factor, self.project_act.factor], channels)": "np.repeat([factor, factor], channels)",
    },
    ("golden/layouts.py", "golden_matching"): {
        "elected = votes.get(kind, fits[0])": "elected = fits[0]",
        "if len(fits) == 1:": "if fits:",
    },
    ("golden/matching.py", "golden_matching"): {
        "_ENOUGH_KNOWN = 0.5": "_ENOUGH_KNOWN = 0.1",
    },
    ("golden/measure.py", "golden_measure"): {
        "return min(multiple * noise, MAX_ERROR) if": "return multiple * noise if",
        'return max(noise, UNITS["float32"]) *': "return noise *",
        "off[np.isnan(off)] = np.inf": "off[np.isnan(off)] = 0",
    },
    ("golden/measure.py", "golden_measure golden_adapters"): {
        "names.count(name) > _SHARE * len(names)": "names.count(name) > 0",
    },
    ("golden/replay.py", "golden_comparison"): {
        'return max(found, UNITS["float32"] * math.sqrt(pixels))': "return found",
    },
    ("golden/rounding.py", "golden_comparison golden_adapters"): {
        "weight.ndim > 1 and weight.size >= _MIN_QUANTIZED": "weight.ndim > 1",
    },
    ("golden/diagnosis.py", "golden_diagnosis"): {
        "key=lambda i: (-len(explained[i]), len(broken[i]), fitting[i][1])": "key=lambda i: fitting[i][1]",
    },
    ("golden/identity.py", "golden_identity golden_weights"): {
        "CLOSE = 0.02": "CLOSE = 0.5",
    },
}


def report() -> Iterator[tuple[str, bool]]:
    """A line for each change, and whether the tests noticed it."""
    with tempfile.TemporaryDirectory() as folder:
        for name in NEEDED:
            source, target = REPOSITORY / name, Path(folder, name)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "recipe", "parity*"))
            else:
                shutil.copy(source, target)
        broken = [tests for tests in dict.fromkeys(tests for _, tests in CHANGES) if not _pass(tests, folder)]
        if broken:
            raise SystemExit(f"these fail without any change, so they can't tell: {', '.join(broken)}")
        for (name, tests), changes in CHANGES.items():
            file = Path(folder, "mobilevit_np", name)
            text = file.read_text(encoding="utf-8")
            for before, after in changes.items():
                file.write_text(text.replace(before, after), encoding="utf-8")
                noticed = not _pass(tests, folder)
                yield f"{'killed' if noticed else 'SURVIVED':<9} {name}: {before.strip()} -> {after.strip()}", noticed
            file.write_text(text, encoding="utf-8")


def _pass(tests: str, folder: str) -> bool:
    """Whether these tests of the copy pass. One that takes no notice in five minutes hangs, which is noticing."""
    files = [f"tests/test_{name}.py" for name in tests.split()]
    environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *files]
    try:
        found = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=300)
    except subprocess.TimeoutExpired:
        return False
    return found.returncode == 0
