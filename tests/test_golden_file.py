"""The golden file: what it holds, that it comes back as it went in, that the same golden gives the same bytes."""

import hashlib
import io
import json
import re
import tracemalloc
import zipfile
from dataclasses import asdict, replace

import numpy as np
import pytest
from commands import run
from fuzz.samples import torch_file
from golden_ports import golden_and_network, port
from safetensors.numpy import load
from tiny import open_tiny, save_photo, save_tiny

from mobilevit_np.checkpoints import save_checkpoint
from mobilevit_np.errors import CheckpointError, InputError, MobileViTError, OutputError
from mobilevit_np.formats.safetensors_file import serialize
from mobilevit_np.golden import file, read_golden, trace, write_golden
from mobilevit_np.golden.file import METADATA, read_tensors
from mobilevit_np.golden.measure import error
from mobilevit_np.golden.network import make_pixel_values, network_for, paths_of, profile_of
from mobilevit_np.golden.operators import make_operator
from mobilevit_np.preprocess import named_profile
from mobilevit_np.scope import Scope


def test_it_holds_the_photo_the_input_every_activation_and_the_logits_in_order():
    golden, network = golden_and_network()
    names = list(golden.tensors)
    assert names[:2] == ["image", "pixel_values"]
    assert names[-1] == "logits"
    seen = []
    network.run(golden.tensors["pixel_values"], network.scope().listen(lambda path, _: seen.append(path or "logits")))
    assert names[2:] == seen
    assert golden.tensors["image"].dtype == np.uint8
    np.testing.assert_array_equal(
        golden.tensors["pixel_values"], make_pixel_values(golden.tensors["image"], network.profile, Scope({}))
    )


def test_noise_is_how_far_float32_is_from_float64():
    golden, network = golden_and_network()
    coarse = port(golden, network)
    assert set(golden.noise) == set(coarse) - {"pixel_values"}
    for name, noise in golden.noise.items():
        expected = np.abs(coarse[name] - golden.tensors[name]).max() / np.abs(golden.tensors[name]).max()
        assert noise == pytest.approx(expected, rel=1e-12)
    assert 1e-8 < golden.noise["logits"] < 1e-5


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize("setting", ["classifier", "segmenter"])
def test_it_comes_back_as_it_was_and_the_bytes_are_the_same(tmp_path, suffix, setting):
    golden, _ = golden_and_network(setting)
    first, second = tmp_path / f"golden{suffix}", tmp_path / f"again{suffix}"
    write_golden(first, golden)
    write_golden(second, read_golden(first))
    assert first.read_bytes() == second.read_bytes()
    back = read_golden(first)
    assert list(back.tensors) == list(golden.tensors)
    for name, tensor in golden.tensors.items():
        assert back.tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(back.tensors[name], tensor)
    assert back.noise == golden.noise
    assert json.dumps(back.config) == json.dumps(golden.config)
    assert profile_of(back) == profile_of(golden)
    assert back.weights == golden.weights


def test_a_profile_of_version_0_1_is_read_and_an_unknown_one_refused():
    golden, network = golden_and_network("classifier")
    fields = dict(golden.profile)
    old = replace(golden, profile={"centre": fields.pop("center"), **fields})
    assert profile_of(old) == profile_of(golden) == network.profile
    with pytest.raises(CheckpointError, match="profile has fields that no profile has; make it again"):
        profile_of(replace(golden, profile={**fields, "middle": "transformers"}))


def test_others_can_read_it(tmp_path):
    golden, _ = golden_and_network()
    path = write_golden(tmp_path / "golden.safetensors", golden)
    assert set(load(path.read_bytes())) == set(golden.tensors)
    with np.load(write_golden(tmp_path / "golden.npz", golden)) as archive:
        assert [name for name in archive.files if name != "__metadata__"] == list(golden.tensors)


def test_two_traces_give_the_same_bytes_and_float32_is_the_float32_run(tmp_path):
    golden, network = golden_and_network("odd")
    pixels = golden.tensors["pixel_values"].astype(np.float32)
    again, coarse = trace(pixels, network), trace(pixels, network, dtype="float32")
    write_golden(tmp_path / "a.npz", golden), write_golden(tmp_path / "b.npz", again)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert coarse.noise == golden.noise
    expected = port(golden, network)
    for name, tensor in coarse.activations.items():
        assert tensor.dtype == np.float32
        np.testing.assert_array_equal(tensor, expected[name])


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"only": "*.layer.3.layernorm"}, ["mobilevit.encoder.layer.3.layernorm"]),
        (
            {"depth": 2},
            ["mobilevit.conv_stem", "mobilevit.encoder", "mobilevit.conv_1x1_exp", "mobilevit", "classifier"],
        ),
        ({"depth": 4, "only": "*.layer.?"}, [f"mobilevit.encoder.layer.{i}" for i in range(5)]),
    ],
)
def test_only_and_depth_keep_what_they_say(options, kept):
    golden, network = golden_and_network("odd")
    found = trace(golden.tensors["pixel_values"], network, **options)
    assert list(found.tensors) == ["pixel_values", *kept, "logits"]
    assert set(found.noise) == {*kept, "logits"}
    for name in kept:
        np.testing.assert_array_equal(found.tensors[name], golden.tensors[name])


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_a_tensor_is_read_from_any_file(tmp_path, suffix):
    golden, network = golden_and_network("odd")
    pixels = golden.tensors["pixel_values"].astype(np.float32)
    path = tmp_path / f"input{suffix}"
    if suffix == ".npy":
        np.save(path, pixels)
    elif suffix == ".npz":
        np.savez(path, anything=pixels[0])
    else:
        write_golden(path, golden)
    found = trace(path, network)
    assert error(found.tensors["logits"], golden.tensors["logits"]) == 0
    assert found.input["name"] == path.name


@pytest.mark.parametrize(
    "hold",
    [
        lambda tensors: {"outputs": tensors, "epoch": 3},
        lambda tensors: {f"module._orig_mod.{name}": tensor for name, tensor in tensors.items()},
    ],
)
def test_what_holds_all_tensors_of_a_torch_file_is_no_part_of_their_names(tmp_path, hold):
    tensors = {"stages.0.a": np.ones(2, np.float32), "stages.0.b": np.zeros(3, np.float32)}
    (tmp_path / "port.pt").write_bytes(torch_file(hold(tensors)))
    assert list(read_tensors(tmp_path / "port.pt")[0]) == list(tensors)


@pytest.mark.parametrize("name", ["golden.npz", "GOLDEN.NPZ"])
def test_a_goldens_photo_serves_again(tmp_path, name):
    golden, network = golden_and_network()
    found = trace(write_golden(tmp_path / name, golden), network)
    np.testing.assert_array_equal(found.tensors["image"], golden.tensors["image"])
    assert found.input["image_sha256"] == golden.input["image_sha256"]


def test_other_weights_are_refused():
    golden, network = golden_and_network()
    assert network_for(golden, network.tensors).config == network.config
    other = {name: tensor + (name == "classifier.bias") for name, tensor in network.tensors.items()}
    with pytest.raises(CheckpointError, match="aren't the weights"):
        network_for(golden, other)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((1, 4, 8, 8), np.float32), "4 channels"),
        (np.full((1, 3, 8, 8), np.nan, np.float32), "aren't finite"),
        (np.zeros((3, 8), np.float32), "batch"),
        (np.broadcast_to(np.float32(0), (1, 3, 2048, 2048)), "1 x 2048x2048 pixels would take 34.4 GB in float64"),
        (np.broadcast_to(np.float32(0), (10**7, 3, 64, 64)), "give a smaller input"),
    ],
)
def test_impossible_inputs_are_refused(source, message):
    with pytest.raises(InputError, match=message):
        trace(source, golden_and_network("odd")[1])


def test_impossible_options_are_refused(tmp_path):
    golden, network = golden_and_network("odd")
    with pytest.raises(InputError, match="dtype"):
        trace(golden.tensors["pixel_values"], network, dtype="float16")
    with pytest.raises(InputError, match=r"no activation's path matches 'encoder\.layer\.9'"):
        trace(golden.tensors["pixel_values"], network, only="encoder.layer.9")
    with pytest.raises(InputError, match=r"matches '\*qkv' within 2 names"):
        trace(golden.tensors["pixel_values"], network, only="*qkv", depth=2)
    with pytest.raises(OutputError, match=r"\.safetensors or \.npz"):
        write_golden(tmp_path / "golden.bin", golden)
    np.savez(tmp_path / "two.npz", a=np.zeros(1), b=np.zeros(1))
    with pytest.raises(InputError, match="holds 2 tensors"):
        trace(tmp_path / "two.npz", network)


def damaged(tmp_path, change):
    """A golden file whose metadata were changed."""
    path = write_golden(tmp_path / "golden.npz", golden_and_network("odd")[0])
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(np.load(io.BytesIO(entries["__metadata__.npy"])).tobytes())
    inner = json.loads(about[METADATA])
    change(inner)
    text = json.dumps({METADATA: json.dumps(inner)}).encode()
    out = io.BytesIO()
    np.save(out, np.frombuffer(text, np.uint8))
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**entries, "__metadata__.npy": out.getvalue()}.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about.update(version=2), "version 2"),
        (lambda about: about.pop("order"), "damaged"),
        (lambda about: about.update(order=["nothing"]), "damaged"),
        (lambda about: about.update(noise=[1]), "damaged"),
        (lambda about: about.update(noise={"logits": "much"}), "damaged"),
        (lambda about: about.update(noise={"logits": 10**400}), "damaged"),
        (lambda about: about.update(config=None), "damaged"),
    ],
)
def test_damaged_files_are_named(tmp_path, change, message):
    with pytest.raises(CheckpointError, match=message):
        read_golden(damaged(tmp_path, change))


NO_NUMBERS = (float("inf"), float("-inf"), float("nan"))
STEM = "mobilevit.conv_stem.convolution"


@pytest.mark.parametrize("noise", [*NO_NUMBERS, "inf", -1e-9])
def test_a_noise_floor_that_is_no_number_is_refused_on_reading(tmp_path, noise, capsys):
    """By name, and so is it by every command that reads one."""
    path = damaged(tmp_path, lambda about: about["noise"].update({STEM: noise}))
    words = re.escape(f"golden.npz: the noise floor of {STEM} is {float(noise)}, and no port can be compared with that")
    with pytest.raises(CheckpointError, match=words):
        read_golden(path)
    np.savez(tmp_path / "port.npz", **port(*golden_and_network("odd")))
    for command in (["compare"], ["diagnose"], ["compare", "--html", str(tmp_path / "page.html")]):
        assert run([command[0], str(path), str(tmp_path / "port.npz"), *command[1:]]) == 2
        assert re.search(words, capsys.readouterr().err)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("name", ["pixel_values", STEM, "logits"])
def test_tensors_that_are_not_finite_are_neither_written_nor_read(tmp_path, monkeypatch, suffix, value, name):
    golden, _ = golden_and_network("odd")
    tensor = golden.tensors[name].copy()
    tensor.flat[-1] = value
    bad, path = replace(golden, tensors={**golden.tensors, name: tensor}), tmp_path / f"golden{suffix}"
    with pytest.raises(InputError, match=f"^{re.escape(name)} holds NaN or infinity, and no port"):
        write_golden(path, bad)
    assert not path.exists()
    with monkeypatch.context() as patch:
        patch.setattr(file, "_flaw", lambda _: None)
        write_golden(path, bad)
    with pytest.raises(CheckpointError, match=f"{re.escape(path.name)}: {re.escape(name)} holds NaN or infinity"):
        read_golden(path)


@pytest.mark.parametrize(
    ("scale", "words"),
    [(1e39, "the noise floor of {} is inf, and no port"), (1e308, "{} holds NaN or infinity, and no")],
)
def test_a_trace_that_overflows_says_where_and_writes_nothing(tmp_path, capsys, scale, words):
    """In float32 only, which leaves no noise floor, or in float64 too."""
    made, layer = open_tiny(save_tiny(tmp_path / "w"), np.float64), "mobilevit.conv_1x1_exp.normalization"
    changed = {f"{layer}.weight": scale, f"{layer}.running_var": 1e-3}
    tensors = made.tensors | {name: np.full_like(made.tensors[name], value) for name, value in changed.items()}
    folder = tmp_path / "huge"
    save_checkpoint(folder, tensors, made.config_fields, made.preprocessing)
    image, target = save_photo(tmp_path / "photo.png"), tmp_path / "golden.npz"
    assert run(["trace", str(image), "--weights", str(folder), "-o", str(target)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"mobilevit-np: {words.format(layer)}")
    assert said.count("\n") == 1
    assert not target.exists()


def test_files_that_are_no_golden_are_named(tmp_path):
    np.savez(tmp_path / "port.npz", a=np.zeros(3))
    with pytest.raises(CheckpointError, match="isn't a golden file"):
        read_golden(tmp_path / "port.npz")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(CheckpointError, match="damaged array, or one of objects"):
        read_tensors(tmp_path / "objects.npy")
    data = write_golden(tmp_path / "golden.npz", golden_and_network("odd")[0]).read_bytes()
    for length in (10, 100, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.npz").write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            read_golden(tmp_path / "cut.npz")


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_npz_never_gives_anything_but_our_error(tmp_path, seed):
    """Bytes of a compressed golden changed, anywhere and in the directory at its end; and its beginning alone."""
    golden, path = make_operator("self_attention"), tmp_path / "golden.npz"
    with np.load(write_golden(path, golden)) as archive:
        np.savez_compressed(path, **archive)
    data, random = path.read_bytes(), np.random.default_rng(seed)
    assert list(read_golden(path).tensors) == list(golden.tensors)
    said = []
    for trial in range(100):
        damaged = bytearray(data[: random.integers(len(data))] if trial % 10 == 0 else data)
        start = len(damaged) * (trial % 2) * 9 // 10
        for place in random.integers(start, len(damaged), 3):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read_golden(path)
        except MobileViTError as error:
            said.append(str(error))
    assert len(said) > 50
    assert "\n" not in "".join(said)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': (), 'fortran_order': False, 'shape': (1,), }",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (%s,), }" % (b"9" * 30),
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (1",
        b"-" * 5000 + b"1",
        b"(" * 5000,
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_header_is_named(tmp_path, header, packed):
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)
    if packed:
        with zipfile.ZipFile(tmp_path / "port.npz", "w") as archive:
            archive.writestr("a.npy", data)
    else:
        (tmp_path / "port.npz").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"port\.npz holds a damaged array"):
        read_tensors(tmp_path / "port.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_npz_that_numpy_did_not_pack_is_named(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "port.npz", "w", method) as archive:
        archive.writestr("a.npy", b"")
    with pytest.raises(CheckpointError, match=r"write it with numpy\.savez"):
        read_tensors(tmp_path / "port.npz")


def test_an_npz_in_an_npz_is_named(tmp_path):
    np.savez(tmp_path / "inner.npz", a=np.zeros(3))
    with zipfile.ZipFile(tmp_path / "port.npz", "w") as archive:
        archive.write(tmp_path / "inner.npz", "a.npy")
    with pytest.raises(CheckpointError, match="damaged array"):
        read_tensors(tmp_path / "port.npz")


def test_weights_have_one_sum_whatever_file_they_came_in():
    _, network = golden_and_network()
    backwards = dict(reversed(network.scope(np.float32)._tensors.items()))
    golden, _ = golden_and_network()
    assert network_for(golden, {name: tensor.astype(np.float64) for name, tensor in backwards.items()})
    assert len(golden.weights["sha256"]) == len(hashlib.sha256().hexdigest())


# -- checked completely on reading -------------------------------------------------------------------------------------

PROFILE = asdict(named_profile("timm"))


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about["config"].update(color="red"),
        lambda about: about["config"].update(num_attention_heads=True),
        lambda about: about["config"].update(hidden_sizes=[1 << 18] * 3, num_attention_heads=1),  # a trillion weights
        lambda about: about["config"].update(num_channels=4),
        lambda about: about.update(task="detector"),
        lambda about: about.update(task=["classifier"]),
        lambda about: about.update(task="operator"),
        lambda about: about.update(profile=3),
        lambda about: about.update(profile={"name": "x"}),
        lambda about: about.update(profile={**PROFILE, "crop": [1, 2, 3]}),
        lambda about: about.update(profile={**PROFILE, "size": {}}),
        lambda about: about.update(profile={**PROFILE, "resample": {}}),
        lambda about: about["order"].remove("pixel_values"),
        lambda about: about["noise"].update(pixel_values=0.0),
        lambda about: about["noise"].update(ghost=0.0),
        lambda about: about.update(order=[["logits"]]),
        lambda about: about.update(dtype="int8"),
        lambda about: about["weights"].update(name={"a": []}),
        lambda about: about["input"].update(name=["a"]),
    ],
)
def test_whatever_is_wrong_in_a_golden_is_found_on_reading(tmp_path, change):
    with pytest.raises(CheckpointError, match=r"golden\.npz is a damaged golden file: .*; make it again"):
        read_golden(damaged(tmp_path, change))


@pytest.mark.parametrize(
    "tensors",
    [
        {"pixel_values": np.array(0.5)},
        {"pixel_values": np.zeros((1, 3, 0, 8))},
        {"pixel_values": np.zeros((1, 3, 8, 8), np.int8)},
        {"image": np.zeros(5, np.uint8)},
        {"logits": np.zeros((1, 5), complex)},
    ],
)
def test_tensors_that_are_not_what_they_are_called_are_found_on_reading(tmp_path, tensors):
    golden = golden_and_network("odd")[0]
    changed = {**golden.tensors, **tensors}
    path = write_golden(tmp_path / "golden.npz", replace(golden, tensors=changed))
    with pytest.raises(CheckpointError, match="is a damaged golden file"):
        read_golden(path)


def test_what_an_npz_unpacks_to_has_a_bound(tmp_path, monkeypatch):
    """Of zeros, a hundred times the file's size is no more than a port of zeros; a thousand times is refused."""
    np.savez_compressed(tmp_path / "zeros.npz", a=np.zeros(1 << 20))
    assert not read_tensors(tmp_path / "zeros.npz")[0]["a"].any()
    monkeypatch.setattr(file, "MIN_UNPACKED", 16 << 20)
    entry = io.BytesIO()
    np.save(entry, np.zeros(1 << 19))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(5):
            archive.writestr(f"{number}.npy", entry.getvalue())
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=r"bomb\.npz: its zip would unpack"):
            read_tensors(tmp_path / "bomb.npz")
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def test_a_header_that_claims_more_than_there_is_asks_for_no_memory(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000000,), }"
    (tmp_path / "port.npy").write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(64))
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="damaged array"):
            read_tensors(tmp_path / "port.npy")
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_a_tensor_called_module_and_nothing_else(tmp_path):
    for names, read in (
        (["module." * 1500], ["module." * 1500]),
        (["module.module.x", "module.module.y"], ["x", "y"]),
        (["module._orig_mod.x", "module.x"], ["_orig_mod.x", "x"]),
    ):
        (tmp_path / "port.safetensors").write_bytes(serialize({name: np.zeros(3) for name in names}))
        assert sorted(read_tensors(tmp_path / "port.safetensors")[0]) == read


def test_half_a_character_in_the_metadata_is_refused(tmp_path):
    path = damaged(tmp_path, lambda about: about["weights"].update(name="\ud800"))
    with pytest.raises(CheckpointError, match=r"the metadata of .*golden\.npz is not JSON"):
        read_golden(path)


def test_the_paths_of_a_golden_do_not_depend_on_its_widths():
    golden = golden_and_network("odd")[0]
    wide = replace(golden, config={**golden.config, "hidden_sizes": [1 << 10] * 3, "aspp_out_channels": 1 << 12})
    tracemalloc.start()
    try:
        assert paths_of(wide) == paths_of(golden) >= set(golden.tensors)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
