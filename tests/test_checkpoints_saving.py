"""Checkpoints written and converted: the hub's layout, round trips to the bit, failures that leave nothing."""

import errno
import json
import os

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from fuzz.samples import safetensors_file, tiny_config, tiny_tensors, torch_file
from tiny import CLASSES, save_tiny

from mobilevit_np.checkpoints import convert, init_parameters, open_checkpoint, quantize, save_checkpoint
from mobilevit_np.checkpoints import parameter_names as names
from mobilevit_np.checkpoints.configurations import full_config
from mobilevit_np.checkpoints.wrappers import find_network
from mobilevit_np.config import VARIANTS, NetworkConfig
from mobilevit_np.errors import CheckpointError, ConfigError, InputError, OutputError
from mobilevit_np.formats.tensor_file import read_tensor_file

CONFIG = full_config(tiny_config(), "classifier", tuple("abcde"))
PREPROCESSOR = {"do_flip_channel_order": True, "size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}}


def _same(first, second):
    assert set(first) == set(second)
    for name, tensor in first.items():
        assert (tensor.dtype, tensor.shape) == (second[name].dtype, second[name].shape), name
        assert tensor.tobytes() == second[name].tobytes(), name


def test_what_was_saved_is_opened(tmp_path):
    tensors = tiny_tensors()
    paths = save_checkpoint(tmp_path / "a/b", tensors, CONFIG, PREPROCESSOR, metadata={"about": "a test"})
    assert sorted(path.name for path in paths) == ["config.json", "model.safetensors", "preprocessor_config.json"]
    checkpoint = open_checkpoint(tmp_path / "a/b")
    _same(tensors, checkpoint.tensors)
    assert checkpoint.labels == tuple("abcde")
    assert checkpoint.preprocessing == PREPROCESSOR
    with safetensors.safe_open(tmp_path / "a/b/model.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt", "about": "a test"}  # transformers asks for the first


def test_counters_are_added_where_they_are_missing(tmp_path):
    tensors = {name: tensor for name, tensor in tiny_tensors().items() if not name.endswith("num_batches_tracked")}
    save_checkpoint(tmp_path / "a", tensors, CONFIG)
    assert len(read_tensor_file(tmp_path / "a/model.safetensors").tensors) == 347
    assert not (tmp_path / "a/preprocessor_config.json").exists()


@pytest.mark.parametrize(
    ("dtype", "stored"), [("float16", "F16"), ("bfloat16", "BF16"), ("F64", "F64"), ("half", "F16")]
)
def test_saving_in_a_dtype(dtype, stored, tmp_path):
    save_checkpoint(tmp_path / "a", tiny_tensors(), CONFIG, dtype=dtype)
    dtypes = read_tensor_file(tmp_path / "a/model.safetensors").dtypes
    assert set(dtypes.values()) == {stored, "I64"}


def test_what_can_not_be_saved_is_an_error_and_leaves_nothing(tmp_path):
    for arguments, kind in (
        (({"x": np.zeros(1, complex)}, CONFIG), InputError),
        ((tiny_tensors(), {"x": object()}), ConfigError),
        (({"x": np.array([1e300])}, CONFIG), None),
    ):
        if kind is None:
            with pytest.raises(CheckpointError, match="doesn't fit"):
                save_checkpoint(tmp_path / "a", *arguments, dtype="float16")
        else:
            with pytest.raises(kind):
                save_checkpoint(tmp_path / "a", *arguments)
        assert os.listdir(tmp_path) == []
    with pytest.raises(InputError, match="float64, float32, float16, bfloat16"):
        save_checkpoint(tmp_path / "a", tiny_tensors(), CONFIG, dtype="int8")


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("existed", [True, False])
@pytest.mark.parametrize("after", [0, 2])
def test_a_failure_in_the_middle_leaves_what_was_there(error, existed, after, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    if existed:
        save_checkpoint(folder, tiny_tensors(), CONFIG, PREPROCESSOR)
    before = {path.name: path.read_bytes() for path in folder.iterdir()} if existed else {}
    calls = []
    real = os.fsync

    def failing(file):
        calls.append(file)
        if len(calls) > after:
            raise error
        real(file)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        save_checkpoint(folder, {name: tensor * 2 for name, tensor in tiny_tensors().items()}, {}, {})
    assert folder.exists() == existed
    assert ({path.name: path.read_bytes() for path in folder.iterdir()} if existed else {}) == before


ROUTES = [
    (task, scheme)
    for task in ("classifier", "segmenter", "backbone")
    for scheme in names.SCHEMES
    if (task, scheme) != ("segmenter", names.TIMM)
]


@pytest.mark.parametrize(
    ("task", "scheme", "stored"),
    [(*route, stored) for i, route in enumerate(ROUTES) for stored in ("F32", ("F64", "F16", "BF16")[i % 3])],
)
def test_round_trips_are_exact_to_the_bit(task, scheme, stored, tmp_path):
    start = tmp_path / "start.safetensors"
    tensors = tiny_tensors(task)
    formats = {name: stored for name, tensor in tensors.items() if tensor.dtype.kind == "f"}
    start.write_bytes(safetensors_file(tensors, stored_as=formats))
    there = convert(start, tmp_path / "there.safetensors", scheme=scheme)
    assert there.paths == (tmp_path / "there.safetensors",)
    back = convert(*there.paths, tmp_path / "back.safetensors")
    assert (tmp_path / "back.safetensors").read_bytes() == start.read_bytes()
    flipped = any("reversed" in note for note in there.notes)
    assert flipped == (scheme == names.TIMM) == any("reversed" in note for note in back.notes)
    converted = read_tensor_file(*there.paths)
    assert find_network(converted.tensors).scheme == scheme
    assert set(converted.dtypes.values()) == {stored, "I64"}


def test_between_all_three_schemes_and_back(tmp_path):
    start = tmp_path / "0.safetensors"
    start.write_bytes(safetensors_file(tiny_tensors()))
    here = start
    for number, scheme in enumerate(["timm", "ml-cvnets", "huggingface", "ml-cvnets", "timm", "huggingface"], start=1):
        (here,) = convert(here, tmp_path / f"{number}.safetensors", scheme=scheme).paths
    assert here.read_bytes() == start.read_bytes()


def test_the_stem_is_flipped_between_timm_and_the_others(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(torch_file(tiny_tensors()))
    note = "the stem's input axis was reversed: the weights took BGR, now RGB"
    assert note in convert(path, tmp_path / "timm.safetensors", scheme="timm").notes
    stem = tiny_tensors()[names.STEM]
    np.testing.assert_array_equal(
        read_tensor_file(tmp_path / "timm.safetensors").tensors["stem.conv.weight"], stem[:, ::-1]
    )
    assert not any("reversed" in note for note in convert(path, tmp_path / "c.safetensors", scheme="ml-cvnets").notes)
    converted = read_tensor_file(tmp_path / "c.safetensors").tensors["conv_1.block.conv.weight"]
    np.testing.assert_array_equal(converted, stem)


@pytest.mark.parametrize(
    ("kind", "classes"), [("multi_label_classification", 5), ("regression", 1), (None, 5), (None, 1)]
)
def test_a_problem_type_goes_along_or_is_said_to_be_lost(tmp_path, kind, classes):
    source = save_tiny(tmp_path / "w", labels=CLASSES[:classes], fields={"problem_type": kind})
    expected = open_checkpoint(source).problem_type
    for out in ("folder", "cvnets"):
        conversion = convert(source, tmp_path / out, scheme="ml-cvnets" if out == "cvnets" else "huggingface")
        assert open_checkpoint(tmp_path / out).problem_type == expected
        assert not any("problem_type" in note for note in conversion.notes)
    notes = convert(source, tmp_path / "one.safetensors").notes
    lost = open_checkpoint(tmp_path / "one.safetensors").problem_type != expected
    assert lost == (kind is not None)
    assert (f"no file that's written says that the problem_type is {expected}" in notes) == lost


def test_weights_that_take_rgb_already_are_not_flipped_for_timm(tmp_path):
    save_checkpoint(tmp_path / "a", tiny_tensors(), CONFIG, {"do_flip_channel_order": False})
    conversion = convert(tmp_path / "a", tmp_path / "timm.safetensors", scheme="timm")
    assert not any("reversed" in note for note in conversion.notes)
    conversion = convert(tmp_path / "a", tmp_path / "b")
    assert conversion.notes == ()  # the processor goes along
    assert open_checkpoint(tmp_path / "b").channel_order == "RGB"


def _rgb(folder, scheme, key="do_flip_channel_order"):
    """A folder of weights that take RGB, though their scheme's usually take BGR, as the processor's file says."""
    save_checkpoint(folder, tiny_tensors(), CONFIG, {**PREPROCESSOR, "do_flip_channel_order": None, key: False})
    (folder / "model.safetensors").write_bytes(safetensors_file(names.from_hugging_face(tiny_tensors(), scheme)))
    return folder


def _as_bgr(checkpoint):
    """The stem as it would be for BGR."""
    stem = checkpoint.tensors[names.STEM]
    return stem if checkpoint.profile.flip_channels else stem[:, ::-1]


KEYS = ("do_flip_channel_order", "do_flip_channels")
CHANGES = [
    (source, target, out, key)
    for source in ("huggingface", "ml-cvnets")
    for target in ("huggingface", "ml-cvnets", "int8", "timm")
    for out, keys in {"out": KEYS, "out.safetensors": KEYS[:1]}.items()
    for key in keys
    if (target, out) != ("timm", "out")  # timm has no network of these widths to write a config.json for
]


@pytest.mark.parametrize(("source", "target", "out", "key"), CHANGES)
def test_whatever_is_written_is_opened_in_its_own_channel_order(source, target, out, key, tmp_path):
    """Where the order changes, so does what the processor's file says of it; where nothing can say it, it changes."""
    where, out = _rgb(tmp_path / "rgb", source, key), tmp_path / out
    conversion = quantize(where, out) if target == "int8" else convert(where, out, scheme=target)
    before, after = open_checkpoint(where), open_checkpoint(out)
    assert before.channel_order == "RGB"
    assert (after.channel_order == "BGR") is after.profile.flip_channels
    np.testing.assert_allclose(_as_bgr(after), _as_bgr(before), rtol=0, atol=1e-3 if target == "int8" else 0)
    reversed_notes = [note for note in conversion.notes if "reversed" in note]
    assert len(reversed_notes) == (after.channel_order != "RGB")
    if out.is_dir():
        assert (after.profile.size, after.profile.crop) == (72, (64, 64))
        assert not reversed_notes or "do_flip_channels" not in after.preprocessing


def test_an_older_processor_s_file_goes_where_none_is_written(tmp_path, monkeypatch):
    """It would win over timm's config.json. Nothing goes where the conversion fails."""
    source, out = _published(tmp_path), tmp_path / "out"
    assert not any("removed" in note for note in convert(source, out).notes)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        with pytest.raises(OutputError):
            convert(source, out, scheme="timm")
    assert open_checkpoint(out).preprocessing == PREPROCESSOR
    notes = convert(source, out, scheme="timm").notes
    path = out / "preprocessor_config.json"
    assert f"{path} was removed: it was made for the weights that these replace" in notes
    assert sorted(os.listdir(out)) == ["config.json", "model.safetensors"]
    assert open_checkpoint(out).channel_order == "RGB"
    np.testing.assert_array_equal(_as_bgr(open_checkpoint(out)), _as_bgr(open_checkpoint(source)))


def test_so_it_does_where_its_form_cannot_say_how_photos_are_prepared(tmp_path):
    (tmp_path / "a.pt").write_bytes(torch_file(names.from_hugging_face(tiny_tensors(), names.ML_CVNETS)))
    save_checkpoint(tmp_path / "out", tiny_tensors(), CONFIG, {"do_flip_channel_order": False})
    notes = convert(tmp_path / "a.pt", tmp_path / "out").notes
    assert any("preprocessor_config.json is left out" in note for note in notes)
    assert any("preprocessor_config.json was removed" in note for note in notes)
    assert open_checkpoint(tmp_path / "out").channel_order == "BGR"


def test_a_bare_model_is_one_in_timms_form_too(tmp_path):
    network = NetworkConfig(**VARIANTS["xx_small"], num_labels=2)
    config = full_config(network, "backbone", ("LABEL_0", "LABEL_1"))
    save_checkpoint(tmp_path / "bare", init_parameters(network, "backbone"), config)
    convert(tmp_path / "bare", tmp_path / "timm", scheme="timm")
    assert json.loads((tmp_path / "timm/config.json").read_text())["num_classes"] == 0
    assert open_checkpoint(tmp_path / "timm").task == "backbone"


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("options", [{"dtype": "float16"}, {"scheme": "ml-cvnets"}])
def test_a_conversion_never_takes_the_original_s_place(name, options, tmp_path):
    """Neither its weights', nor that of the json files that belong to them, nor their folder."""
    folder, links = tmp_path / "model", tmp_path / "links"
    save_checkpoint(folder, tiny_tensors(), CONFIG, PREPROCESSOR)
    if name.endswith(".bin"):
        (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(torch_file(tiny_tensors()))
    links.symlink_to(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for where in (folder, folder / name, links):
        for out in (folder, links, *([] if name.endswith(".bin") else [folder / name])):
            with pytest.raises(OutputError, match="holds the weights that are to be converted; write the result else"):
                convert(where, out, **options)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    convert(folder, folder / "beside.safetensors", **options)


def test_a_dtype_for_the_file(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(torch_file(tiny_tensors()))
    convert(path, tmp_path / "b.safetensors", dtype="bfloat16")
    assert set(read_tensor_file(tmp_path / "b.safetensors").dtypes.values()) == {"BF16", "I64"}
    convert(tmp_path / "b.safetensors", tmp_path / "c.safetensors", dtype="float32")
    _same(read_tensor_file(tmp_path / "b.safetensors").tensors, read_tensor_file(tmp_path / "c.safetensors").tensors)


def _published(tmp_path, labels=5):
    network = NetworkConfig(**VARIANTS["xx_small"], num_labels=labels)
    config = full_config(network, "classifier", tuple(f"label {i}" for i in range(labels)))
    save_checkpoint(tmp_path / "hf", init_parameters(network, "classifier"), config, PREPROCESSOR)
    return tmp_path / "hf"


def test_a_folder_of_timms_form(tmp_path):
    source = open_checkpoint(_published(tmp_path))
    convert(tmp_path / "hf", tmp_path / "timm", scheme="timm")
    assert sorted(os.listdir(tmp_path / "timm")) == ["config.json", "model.safetensors"]
    config = json.loads((tmp_path / "timm/config.json").read_text())
    assert (config["architecture"], config["num_classes"]) == ("mobilevit_xxs", 5)
    assert config["pretrained_cfg"]["interpolation"] == "bilinear"
    there = open_checkpoint(tmp_path / "timm")
    assert (there.channel_order, there.labels, there.config) == ("RGB", source.labels, source.config)
    assert (there.profile.size, there.profile.crop, there.profile.flip_channels) == (72, (64, 64), False)
    convert(tmp_path / "timm", tmp_path / "back")
    back = open_checkpoint(tmp_path / "back")
    _same(source.tensors, back.tensors)
    assert (back.config, back.labels, back.channel_order) == (source.config, source.labels, "BGR")
    assert (back.profile.size, back.profile.crop, back.profile.resample) == (72, (64, 64), "bilinear")


@pytest.mark.parametrize("scheme", [*names.SCHEMES, "int8"])
def test_a_pooling_is_never_lost(scheme, tmp_path):
    network = NetworkConfig(**VARIANTS["xx_small"], num_labels=2, global_pool="max")
    save_checkpoint(
        tmp_path / "a", init_parameters(network, "classifier"), full_config(network, "classifier", ("x", "y"))
    )
    write = quantize if scheme == "int8" else lambda *places: convert(*places, scheme=scheme)
    notes = write(tmp_path / "a", tmp_path / "b").notes
    assert open_checkpoint(tmp_path / "b").config.global_pool == "max"
    assert any("transformers ignores it" in note for note in notes) == (scheme != names.TIMM)
    with pytest.raises(InputError, match="one file can't say that this network pools by 'max'; write a folder"):
        write(tmp_path / "a", tmp_path / "c.safetensors")
    assert not (tmp_path / "c.safetensors").exists()


@pytest.mark.parametrize(
    ("size", "crop"), [(288, 256), (284, 256), (544, 512), (72, 64), (100, 99), (3, 1), (256, 256)]
)
def test_crop_pct_gives_the_size_back(size, crop, tmp_path):
    from mobilevit_np.checkpoints.saving import _crop_pct

    assert int(crop / _crop_pct(crop, size)) == size
    assert len(str(_crop_pct(crop, size))) < 8


def test_what_timm_does_not_have(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(torch_file(tiny_tensors()))
    with pytest.raises(CheckpointError, match="timm only knows the widths"):
        convert(path, tmp_path / "timm", scheme="timm")
    path.write_bytes(torch_file(tiny_tensors("segmenter")))
    with pytest.raises(CheckpointError, match="timm has no place"):
        convert(path, tmp_path / "timm.safetensors", scheme="timm")
    with pytest.raises(InputError, match="scheme must be one of huggingface, timm, ml-cvnets"):
        convert(path, tmp_path / "x", scheme="keras")
    assert os.listdir(tmp_path) == ["a.pt"]


def test_a_file_that_can_not_be_written(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(torch_file(tiny_tensors()))
    with pytest.raises(OutputError):
        convert(path, tmp_path / "missing/out.safetensors")
    with pytest.raises(OutputError):
        convert(path, path / "folder")
    assert os.listdir(tmp_path) == ["a.pt"]


@pytest.mark.parametrize(
    ("name", "fields"),
    [("preprocessor_config.json", {"image_processor_type": []}), ("config.json", {"architecture": {}})],
)
def test_a_folder_whose_json_says_nonsense_is_left_alone(tmp_path, tiny_classifier, name, fields):
    (tmp_path / name).write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(OutputError, match="isn't a MobileViT's; write into another folder"):
        convert(tiny_classifier, tmp_path)
    assert json.loads((tmp_path / name).read_text(encoding="utf-8")) == fields


@pytest.mark.parametrize("name", ["model.bin", "model.pt", "model.onnx"])
def test_another_format_s_name_makes_no_folder(tmp_path, tiny_classifier, name):
    for write, where in ((convert, tiny_classifier), (convert, "nowhere"), (quantize, "nowhere")):  # before reading
        with pytest.raises(OutputError, match=r"written as \.safetensors, or into a folder"):
            write(where, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / name).mkdir()  # but who has made one means it
    assert convert(tiny_classifier, tmp_path / name).paths[-1] == tmp_path / name / "model.safetensors"
