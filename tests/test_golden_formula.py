"""Weights by formula: the same bits from a second implementation in Python and a third in C; the committed files."""

import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mobilevit_np.checkpoints import parameter_shapes
from mobilevit_np.config import VARIANTS, NetworkConfig
from mobilevit_np.errors import CheckpointError, InputError
from mobilevit_np.golden import read_golden
from mobilevit_np.golden.file import write_golden
from mobilevit_np.golden.formula import make, remake, save_weights, tensor
from mobilevit_np.golden.measure import error
from mobilevit_np.golden.operators import CASES, make_operator

HERE = Path(__file__).parent
LEAVES = ("weight", "bias", "running_mean", "running_var", "pixel_values", "x")
MASK = 0xFFFFFFFF


def by_the_book(name, shape, seed):
    """The docstring once more, number by number, in Python's own integers."""

    def mix(x):
        x = (x ^ x >> 16) * 2146121005 & MASK
        x = (x ^ x >> 15) * 2221713035 & MASK
        return x ^ x >> 16

    h = 2166136261
    for byte in name.encode():
        h = (h ^ byte) * 16777619 & MASK
    start, leaf = mix(h + seed * 2654435769 & MASK), name.split(".")[-1]
    for i in range(math.prod(shape)):
        u16 = mix(start + i & MASK) >> 16
        k = u16 - 32768
        if leaf == "running_var" or (leaf == "weight" and len(shape) == 1):
            yield (98304 + u16) / 2**17
        elif leaf in ("bias", "running_mean"):
            yield k / 2**17
        elif leaf == "weight":
            fan = math.prod(shape[1:])
            yield k * max(m for m in range(1, 256) if m == 1 or m * m * fan <= 2**18) / 2**23
        else:
            yield u16 / 2**16 if leaf == "pixel_values" else k / 2**14


@given(
    st.sampled_from(LEAVES),
    st.text(max_size=5),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.integers(0, MASK),
)
def test_it_is_what_its_docstring_says(leaf, prefix, shape, seed):
    name = f"{prefix}.{leaf}"
    made = tensor(name, shape, seed)
    assert made.dtype == np.float32
    assert made.astype(np.float64).ravel().tolist() == list(by_the_book(name, shape, seed))


def test_wide_layers_have_small_weights():
    for fan in (1, 4, 9, 320, 2880, 2**18, 2**20):
        made = tensor("weight", (2, fan))
        bound = max(1, min(math.isqrt(2**18 // fan), 255))
        assert np.abs(made).max() <= bound / 2**8
        assert made.any()


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """tests/golden_reader.c, compiled. Where there's no compiler the tests fail: the proof would be missing."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    assert compiler, "no C compiler (cc, gcc, clang) on this machine: install one, the golden files' proof needs it"
    program = tmp_path_factory.mktemp("reader") / "golden_reader"
    options = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"]
    subprocess.run([compiler, *options, "-o", program, HERE / "golden_reader.c", "-lm"], check=True)
    return program


def test_c_makes_the_same_weights(reader):
    shapes = parameter_shapes(NetworkConfig(**VARIANTS["xx_small"], num_labels=10), "classifier")
    for name in ["mobilevit.conv_stem.convolution.weight", *list(shapes)[1::37], "pixel_values"]:
        shape = shapes.get(name, (1, 3, 8, 8))
        arguments = [str(length) for length in shape]
        out = subprocess.run([reader, "bits", name, "7", *arguments], check=True, capture_output=True, text=True).stdout
        total = 0
        for bits in tensor(name, shape, 7).view(np.uint32).ravel().tolist():
            total = (total * 31 + bits) & MASK
        assert int(out) == total, name


def test_c_checks_every_convolution(reader):
    files = sorted((HERE / "golden").glob("conv2d_*.safetensors"))
    assert len(files) == 15
    out = subprocess.run([reader, "check", *files], check=True, capture_output=True, text=True).stdout
    assert out.count("operands bit by bit") == len(files)


@pytest.mark.parametrize("name", ["weight", "output"])
def test_c_notices_a_changed_number(reader, tmp_path, name):
    golden = make_operator("conv2d_3x3_stride2_dilation1_grouped")
    golden.tensors[name].flat[3] *= 1.001
    path = write_golden(tmp_path / "conv2d_3x3_stride2_dilation1_grouped.safetensors", golden)
    out = subprocess.run([reader, "check", path], capture_output=True, text=True)
    assert out.returncode == 1
    assert ("formula" if name == "weight" else "differs") in out.stdout


@pytest.mark.parametrize("name", CASES)
def test_the_committed_files_are_those_made_today(name):
    committed, made = read_golden(HERE / "golden" / f"{name}.safetensors"), make_operator(name)
    assert list(committed.tensors) == list(made.tensors)
    assert (committed.config, committed.input) == (made.config, made.input)
    for key, value in made.inputs.items():
        np.testing.assert_array_equal(committed.tensors[key], value)
    for key, value in made.activations.items():
        assert error(committed.tensors[key], value) <= 1e-12  # float64, on whatever machine
        assert committed.noise[key] < 2e-6


def test_the_committed_files_are_small():
    files = list((HERE / "golden").iterdir())
    assert {file.stem for file in files} == set(CASES)
    assert sum(file.stat().st_size for file in files) < 300_000


@pytest.mark.parametrize(
    ("variant", "task"), [("xx_small", "classifier"), ("xx_small", "segmenter"), ("small", "classifier")]
)
def test_activations_stay_of_order_one(variant, task):
    golden = make(variant, task=task, size=64)
    for name, value in golden.activations.items():
        if not name.endswith("probabilities"):
            assert 0.05 < value.std() < 5, name
    assert max(golden.noise.values()) < 3e-6


def test_a_golden_by_formula_needs_no_weights():
    golden = make("xx_small", size=32, seed=3)
    network = remake(golden)
    assert network.weights == golden.weights
    other = make("xx_small", size=32, seed=4)
    assert other.weights["sha256"] != golden.weights["sha256"]
    golden.weights["sha256"] = "0" * 64
    with pytest.raises(CheckpointError, match="aren't the weights"):
        remake(golden)


@pytest.mark.parametrize(
    "options", [{"variant": "tiny"}, {"variant": "small", "task": "backbone"}, {"variant": "small", "size": 0},
                {"variant": "small", "seed": -1}, {"variant": "xx_small", "size": 2048}]
)  # fmt: skip
def test_impossible_requests_are_refused(options):
    with pytest.raises(InputError):
        make(**options)


def test_a_seed_has_32_bits_for_operators_and_weights_too(tmp_path):
    with pytest.raises(InputError, match=r"seed must be in 0\.\.2\^32-1, not 4294967296"):
        make_operator("gelu", 2**32)
    with pytest.raises(InputError, match="not -1"):
        save_weights(tmp_path / "w", "xx_small", seed=-1)
    assert not (tmp_path / "w").exists()


def test_the_command_makes_the_same_bytes_every_time(tmp_path, capsys):
    options = ["trace", "--formula", "xx_small", "--seed", "2", "--size", "32", "--depth", "4", "-o"]
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    assert run([*options, str(first)]) == run([*options, str(second)]) == 0
    assert first.read_bytes() == second.read_bytes()
    assert "wrote" in capsys.readouterr().out
    assert run([*options, str(tmp_path / "c.bin")]) == 2
    made = make("xx_small", seed=2, size=32, depth=4)
    assert read_golden(first).weights == made.weights
    np.testing.assert_array_equal(read_golden(first).tensors["logits"], made.tensors["logits"])


def test_trace_writes_a_golden(tmp_path, capsys):
    from mobilevit_np.checkpoints import save_checkpoint

    golden = make("xx_small", size=32)
    weights = {name: value.astype(np.float32) for name, value in remake(golden).tensors.items()}
    save_checkpoint(tmp_path / "w", weights, {"model_type": "mobilevit", **golden.config})
    pixels, out = tmp_path / "input.npy", tmp_path / "out.npz"
    np.save(pixels, golden.tensors["pixel_values"])
    assert run(["trace", str(pixels), "--weights", str(tmp_path / "w"), "--depth", "4", "-o", str(out)]) == 0
    assert "wrote" in capsys.readouterr().out
    traced = read_golden(out)
    assert traced.weights["sha256"] == golden.weights["sha256"]
    np.testing.assert_array_equal(traced.tensors["logits"], golden.tensors["logits"])
    np.savez(tmp_path / "port.npz", logits=traced.tensors["logits"].astype(np.float32))
    compared = ["compare", str(out), str(tmp_path / "port.npz"), "--replay", "--weights", str(tmp_path / "w")]
    assert run(compared) == 0


def test_a_bare_model_and_a_photo_are_traced(tmp_path):
    """A backbone's paths are those it has in a classifier; the photo is kept, and how it was prepared."""
    from mobilevit_np.checkpoints import save_checkpoint

    golden = make("xx_small", size=32)
    weights = {
        name.removeprefix("mobilevit."): value.astype(np.float32)
        for name, value in remake(golden).tensors.items()
        if name.startswith("mobilevit.")
    }
    config = {"model_type": "mobilevit", "architectures": ["MobileViTModel"], **golden.config}
    save_checkpoint(tmp_path / "w", weights, config)
    pixels, out = tmp_path / "input.npy", tmp_path / "out.npz"
    np.save(pixels, golden.tensors["pixel_values"])
    assert run(["trace", str(pixels), "--weights", str(tmp_path / "w"), "-o", str(out)]) == 0
    traced = read_golden(out)
    assert list(traced.tensors) == [name for name in golden.tensors if name not in ("classifier", "logits")]
    np.testing.assert_array_equal(traced.tensors["mobilevit"], golden.tensors["mobilevit"])
    port = {name: value.astype(np.float32) for name, value in traced.tensors.items()}
    np.savez(tmp_path / "port.npz", **port)
    assert run(["diagnose", str(out), str(tmp_path / "port.npz"), "--weights", str(tmp_path / "w")]) == 0
    drawn = np.random.default_rng(0).integers(0, 256, (300, 350, 3), np.uint8)
    Image.fromarray(drawn).save(tmp_path / "photo.png")
    photo = ["trace", str(tmp_path / "photo.png"), "--weights", str(tmp_path / "w"), "--depth", "1"]
    assert run([*photo, "--profile", "timm", "-o", str(out)]) == 0
    traced = read_golden(out)
    assert list(traced.tensors) == ["image", "pixel_values", "mobilevit"]
    np.testing.assert_array_equal(traced.tensors["image"], drawn)
    assert traced.profile["name"] == "timm"
