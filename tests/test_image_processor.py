"""The image processor's own behavior: what comes in, what comes out, per-call overrides, files, errors.

Its values are proven elsewhere: against recordings of transformers 4.46.3, and live in parity/.
"""

import enum
import inspect
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mobilevit_np.errors import CheckpointError, ConfigError, ImageError, InputError, MobileViTWarning
from mobilevit_np.huggingface import (
    AutoImageProcessor,
    BatchFeature,
    MobileViTFeatureExtractor,
    MobileViTImageProcessor,
)
from mobilevit_np.ops.resize import resize_bilinear
from mobilevit_np.preprocess import PROFILES, preprocess

RGB = np.random.default_rng(0).integers(0, 256, (33, 47, 3), dtype=np.uint8)
PIL_IMAGE = Image.fromarray(RGB)
PROCESSOR = MobileViTImageProcessor(size=24, crop_size=20)
EXPECTED = PROCESSOR(RGB, return_tensors="np").pixel_values


class Tensor:
    """What torch and jax look like from here."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)


def test_defaults_are_those_of_the_page():
    settings = MobileViTImageProcessor().to_dict()
    assert settings == {
        "image_processor_type": "MobileViTImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": 224},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_center_crop": True,
        "crop_size": {"height": 256, "width": 256},
        "do_flip_channel_order": True,
        "do_reduce_labels": False,
    }
    parameters = inspect.signature(MobileViTImageProcessor.preprocess).parameters
    assert parameters["data_format"].default == "channels_first"
    assert all(inspect.signature(MobileViTImageProcessor).parameters[name].default is True for name in settings
               if name.startswith("do_") and name != "do_reduce_labels")  # fmt: skip


def test_goes_through_the_same_steps_as_the_profiles():
    processor = MobileViTImageProcessor(size=288)
    photo = np.random.default_rng(1).integers(0, 256, (300, 411, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        processor(photo, return_tensors="np").pixel_values, preprocess(photo, PROFILES["huggingface-classifier"])
    )


def test_feature_extractor_is_the_old_name():
    assert MobileViTFeatureExtractor is MobileViTImageProcessor


# -- what comes in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "image",
    [PIL_IMAGE, RGB, RGB.transpose(2, 0, 1), Tensor(RGB), [RGB], (PIL_IMAGE,), RGB[None], Tensor(RGB[None]), [[RGB]],
     [RGB[None]], RGB.astype(np.int64), RGB.astype(np.float32)],
)  # fmt: skip
def test_one_photo_in_many_guises(image):
    np.testing.assert_array_equal(PROCESSOR(image, return_tensors="np")["pixel_values"], EXPECTED)


def test_paths_and_bytes(tmp_path):
    path = tmp_path / "photo.png"
    PIL_IMAGE.save(path)
    for image in (path, str(path), path.read_bytes(), [path, path][:1]):
        np.testing.assert_array_equal(PROCESSOR(image, return_tensors="np")["pixel_values"], EXPECTED)


def test_lists_and_batches():
    other = RGB[:30, :40]
    features = PROCESSOR([RGB, PIL_IMAGE, other])
    assert isinstance(features.pixel_values, list)
    assert [each.shape for each in features.pixel_values] == [(3, 20, 20)] * 3
    np.testing.assert_array_equal(features.pixel_values[1], EXPECTED[0])
    batch = PROCESSOR(np.stack([RGB, RGB[::-1]]), return_tensors="np").pixel_values
    assert batch.shape == (2, 3, 20, 20)
    np.testing.assert_array_equal(batch[1], PROCESSOR(RGB[::-1]).pixel_values[0])


def test_gray_photos():
    gray = np.ascontiguousarray(RGB[..., 0])
    expected = PROCESSOR(gray[..., None]).pixel_values[0]
    assert expected.shape == (1, 20, 20)
    for image in (gray, Image.fromarray(gray), gray[None]):
        np.testing.assert_array_equal(PROCESSOR(image).pixel_values[0], expected)
    batch = PROCESSOR(np.stack([gray, gray]), input_data_format="none", return_tensors="np").pixel_values
    np.testing.assert_array_equal(batch, np.stack([expected] * 2))


def test_layouts():
    last = PROCESSOR(RGB, data_format="channels_last", return_tensors="np").pixel_values
    np.testing.assert_array_equal(last, EXPECTED.transpose(0, 2, 3, 1))
    first = PROCESSOR(RGB.transpose(2, 0, 1), input_data_format="channels_first", return_tensors="np").pixel_values
    np.testing.assert_array_equal(first, EXPECTED)

    class Layout(str, enum.Enum):
        LAST = "channels_last"

    np.testing.assert_array_equal(PROCESSOR(RGB, data_format=Layout.LAST, return_tensors="np").pixel_values, last)
    np.testing.assert_array_equal(PROCESSOR(RGB, data_format=None, return_tensors="np").pixel_values, EXPECTED)


@pytest.mark.parametrize(
    ("shape", "channels"), [((3, 9, 3), 3), ((1, 9, 3), 1), ((4, 9, 3), 3), ((4, 9, 8), 4), ((8, 9, 4), 4)]
)
def test_where_the_channels_are_seen(shape, channels):
    """(1, 9, 3) and (3, 9, 3) are first, as in every transformers; (4, 9, 3) is a photo 4 pixels high, as in 4.x."""
    assert PROCESSOR(np.zeros(shape, np.uint8)).pixel_values[0].shape == (channels, 20, 20)


# -- overrides and toggles ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"do_resize": False}, {"size": 30}, {"size": {"height": 21, "width": 40}}, {"size": (21, 40)},
        {"resample": Image.Resampling.NEAREST}, {"do_rescale": False}, {"rescale_factor": 1 / 128},
        {"do_center_crop": False}, {"crop_size": 9}, {"crop_size": {"height": 50, "width": 3}},
        {"do_flip_channel_order": False}, {"resample": "box"},
    ],
)  # fmt: skip
def test_a_call_overrides_the_processor_and_leaves_it(change):
    before = PROCESSOR.to_dict()
    called = PROCESSOR(RGB, **change).pixel_values[0]
    built = MobileViTImageProcessor(**{"size": 24, "crop_size": 20, **change})
    np.testing.assert_array_equal(called, built(RGB).pixel_values[0])
    assert called.shape != EXPECTED[0].shape or not np.array_equal(called, EXPECTED[0])
    assert PROCESSOR.to_dict() == before


def test_everything_off_gives_the_photo_back():
    off = {"do_resize": False, "do_rescale": False, "do_center_crop": False, "do_flip_channel_order": False}
    np.testing.assert_array_equal(PROCESSOR(RGB, **off, data_format="channels_last").pixel_values[0], RGB)


def test_floats_in_0_to_1_are_rescaled_twice_with_a_warning_unless_told_not_to():
    """What transformers does: the resize leaves them in 0..1 (with eight bits), the rescaling divides by 255 again."""
    fractions = RGB / 255
    kept = PROCESSOR(fractions, do_rescale=False).pixel_values[0]
    assert kept.dtype == np.float32
    assert np.abs(kept - EXPECTED[0]).max() < 1.01 / 255  # cutting to eight bits, where rounding was wanted
    with pytest.warns(MobileViTWarning, match=r"in 0\.\.1 already, .* give do_rescale=False") as warned:
        twice = PROCESSOR([RGB, fractions, fractions]).pixel_values[1]
    assert len(warned) == 1  # however many there are
    np.testing.assert_allclose(twice, kept / 255, rtol=1e-6)


@pytest.mark.parametrize(
    "given", [RGB, RGB // 128, np.float32(RGB), RGB / 255 - 0.1, RGB[..., 0] > 99, Image.fromarray(RGB).convert("1")]
)
def test_nothing_else_gets_that_warning(given):
    """Warnings are errors in these tests. uint8 in 0..1 is a very dark photo."""
    PROCESSOR(given, do_resize=False)


# -- three channels of whatever comes in -------------------------------------------------------------------------------

RGBA = np.dstack([RGB, np.arange(RGB[..., 0].size, dtype=np.uint8).reshape(RGB.shape[:2])])
PLAIN = {"do_resize": False, "do_center_crop": False, "do_rescale": False, "do_flip_channel_order": False}


def on_white(rgba, whole=True):
    """Alpha blended onto white, by the definition, number by number."""
    rgb, alpha = rgba[..., :3].astype(np.float64), rgba[..., 3:] / (255 if whole else 1)
    blended = alpha * rgb + (1 - alpha) * (255 if whole else 1)
    return (np.round(blended) if whole else blended).transpose(2, 0, 1)


@pytest.mark.parametrize("said", ["file", "argument", "call"])
def test_do_convert_rgb_is_obeyed_wherever_it_is_said(tmp_path, said):
    """And where nobody says it, nothing is converted."""
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_convert_rgb": True} if said == "file" else {}))
    made = MobileViTImageProcessor.from_pretrained(tmp_path)
    processor = MobileViTImageProcessor(do_convert_rgb=True) if said == "argument" else made
    call = {**PLAIN, **({"do_convert_rgb": True} if said == "call" else {})}
    blended = processor(RGBA, **call).pixel_values[0]
    np.testing.assert_array_equal(blended, on_white(RGBA))
    assert blended.dtype == np.uint8
    fractions = (RGBA / 255).astype(np.float32)
    np.testing.assert_allclose(processor(fractions, **call).pixel_values[0], on_white(fractions, False), rtol=1e-6)
    gray = RGB[..., 0]
    for one in (gray, gray[None], Image.fromarray(gray)):
        np.testing.assert_array_equal(processor(one, **call).pixel_values[0], np.stack([gray] * 3))
    np.testing.assert_array_equal(processor(RGB, **call).pixel_values[0], RGB.transpose(2, 0, 1))
    image = processor(Image.fromarray(RGBA), **call).pixel_values[0]
    assert np.abs(image - on_white(RGBA)).max() <= 1  # Pillow rounds in steps of its own
    call["do_convert_rgb"] = False
    assert processor(RGBA, **call).pixel_values[0].shape[0] == 4
    assert MobileViTImageProcessor()(gray, **PLAIN).pixel_values[0].shape[0] == 1


def test_do_convert_rgb_is_saved_as_it_was_said(tmp_path):
    for said in (True, False, None):
        MobileViTImageProcessor(do_convert_rgb=said).save_pretrained(tmp_path)
        kept = json.loads((tmp_path / "preprocessor_config.json").read_text())
        assert kept.get("do_convert_rgb") is said
        assert ("do_convert_rgb" in kept) == (said is not None)
        assert MobileViTImageProcessor.from_pretrained(tmp_path).do_convert_rgb is said


def test_what_can_not_be_made_rgb_is_said():
    with pytest.raises(ConfigError, match="do_convert_rgb must be true or false, not 'yes'"):
        MobileViTImageProcessor(do_convert_rgb="yes")
    for wrong in (np.float32(RGBA), np.full((4, 4, 4), np.nan)):
        with pytest.raises(ImageError, match=r"must lie in 0\.\.1 to be made RGB"):
            MobileViTImageProcessor(do_convert_rgb=True)(wrong, do_resize=False)


# -- what comes out ----------------------------------------------------------------------------------------------------


def test_features_are_a_dict_with_attributes():
    features = PROCESSOR(RGB)
    assert isinstance(features, BatchFeature)
    assert list(features) == ["pixel_values"]
    assert features.pixel_values is features["pixel_values"]
    assert (lambda **inputs: list(inputs))(**features) == ["pixel_values"]
    assert not hasattr(features, "labels")


def test_return_tensors():
    class Kind(str, enum.Enum):
        NUMPY = "np"

    assert PROCESSOR(RGB, return_tensors=Kind.NUMPY).pixel_values.shape == (1, 3, 20, 20)
    for kind in ("numpy", True, ["np"], 7):
        with pytest.raises(InputError, match=r'is not made here: use "np", "pt", "tf" or "jax"'):
            PROCESSOR(RGB, return_tensors=kind)
    with pytest.raises(InputError, match="set do_center_crop"):
        PROCESSOR([RGB, RGB[:, :40]], do_center_crop=False, return_tensors="np")


def test_segmentation_maps():
    labels = (RGB[..., 0] % 21).astype(np.uint8)
    features = PROCESSOR(RGB, labels, return_tensors="np")
    assert features.labels.shape == (1, 20, 20)
    assert features.labels.dtype == np.int64
    assert set(np.unique(features.labels)) <= set(range(21))
    for given in (Image.fromarray(labels), [labels], labels[None], labels.astype(np.int32), Tensor(labels)):
        np.testing.assert_array_equal(PROCESSOR(RGB, segmentation_maps=given).labels[0], features.labels[0])
    palette = Image.fromarray(labels)
    palette.putpalette(bytes(range(256)) * 3)
    np.testing.assert_array_equal(PROCESSOR(RGB, palette).labels[0], features.labels[0])


def test_reduced_labels():
    labels = np.array([[0, 1, 2], [21, 254, 255]], np.uint8)
    plain = {"do_resize": False, "do_center_crop": False}
    reduced = PROCESSOR(RGB, labels, do_reduce_labels=True, **plain).labels[0]
    np.testing.assert_array_equal(reduced, [[255, 0, 1], [20, 253, 255]])
    assert labels[0, 0] == 0  # transformers changes the caller's array here
    padded = PROCESSOR(RGB, labels, do_reduce_labels=True, do_resize=False, crop_size=4).labels[0]
    assert padded[0, 0] == 0  # the padding comes after, as in transformers


@pytest.mark.parametrize(
    ("given", "options", "dtype"),
    [
        (RGB, {}, np.float32),
        (RGB / 255, {}, np.float32),
        (RGB, {"do_rescale": False}, np.uint8),
        (RGB.astype(np.int64), {"do_rescale": False}, np.uint8),
        (RGB / 255, {"do_rescale": False}, np.float32),
        (RGB / 255, {"do_rescale": False, "do_resize": False}, np.float64),
        (RGB.astype(np.int64), {"do_rescale": False, "do_resize": False}, np.int64),
    ],
)
@pytest.mark.filterwarnings("ignore:the pixel values lie in 0..1 already")
def test_dtypes_are_those_of_the_docstring(given, options, dtype):
    assert PROCESSOR(given, **options).pixel_values[0].dtype == dtype


# -- post-processing ---------------------------------------------------------------------------------------------------


def test_post_process_semantic_segmentation():
    logits = np.random.default_rng(2).normal(size=(2, 5, 8, 6)).astype(np.float32)
    outputs = SimpleNamespace(logits=logits)
    small = PROCESSOR.post_process_semantic_segmentation(outputs)
    assert [each.shape for each in small] == [(8, 6), (8, 6)]
    np.testing.assert_array_equal(small[1], logits[1].argmax(axis=0))
    maps = PROCESSOR.post_process_semantic_segmentation(outputs, target_sizes=[(17, 13), (8, 6)])
    np.testing.assert_array_equal(maps[0], resize_bilinear(logits[:1], (17, 13))[0].argmax(axis=0))
    np.testing.assert_array_equal(maps[1], small[1])
    assert maps[0].dtype == np.int64
    arrays = PROCESSOR.post_process_semantic_segmentation(outputs, target_sizes=np.array([[17, 13], [8, 6]]))
    np.testing.assert_array_equal(arrays[0], maps[0])


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint8])
def test_whole_numbers_for_logits_are_interpolated_as_what_they_are(dtype):
    """A quantized network's: between 0 and 10 the first class wins until 5, in the middle of the map."""
    outputs = SimpleNamespace(logits=np.array([[[[0, 10]], [[5, 5]]]], dtype))
    (found,) = PROCESSOR.post_process_semantic_segmentation(outputs, target_sizes=[(1, 4)])
    np.testing.assert_array_equal(found, [[1, 1, 0, 0]])
    np.testing.assert_array_equal(PROCESSOR.post_process_semantic_segmentation(outputs)[0], [[1, 0]])


def test_a_large_map_is_made_in_strips(monkeypatch):
    logits = np.random.default_rng(2).normal(size=(1, 5, 8, 6)).astype(np.float32)
    monkeypatch.setattr("mobilevit_np.ops.resize._STRIP_BYTES", 600)
    (strips,) = PROCESSOR.post_process_semantic_segmentation(SimpleNamespace(logits=logits), target_sizes=[(37, 13)])
    np.testing.assert_array_equal(strips, resize_bilinear(logits, (37, 13))[0].argmax(axis=0))


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ([(3, 4)], "1 target sizes for 2 images"),
        ([], "0 target sizes"),
        ([3, 4], "a target size must be .height, width."),
        ([(3, 4), (0, 4)], "whole pixels"),
        ([(3, 4), (3.5, 4)], "whole pixels"),
    ],
)
def test_wrong_target_sizes(sizes, says):
    with pytest.raises(ValueError, match=says):
        PROCESSOR.post_process_semantic_segmentation(SimpleNamespace(logits=np.zeros((2, 3, 4, 5))), sizes)


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "options", "error", "says"),
    [
        ([], {}, InputError, "no image in the list"),
        (None, {}, ImageError, "NoneType is not a photo"),
        ("no-such.png", {}, ImageError, "no such file"),
        (np.zeros((5, 6, 7), np.uint8), {}, ImageError, "set input_data_format"),
        (np.zeros((5, 6, 7), np.uint8), {"input_data_format": "channels_last"}, ImageError, "has 7 channels"),
        (np.zeros((0, 6, 3), np.uint8), {}, ImageError, "is not a photo"),
        (np.zeros((2, 2, 5, 6, 3), np.uint8), {}, ImageError, "is not a photo"),
        (np.zeros((5, 6, 3, 3), np.uint8), {"input_data_format": "none"}, ImageError, "is not a photo"),
        (np.array([["a"]]), {}, ImageError, "is not a photo"),
        (np.full((5, 6, 3), 300), {}, InputError, "values from 300 to 300"),
        (np.full((5, 6, 3), np.nan), {}, InputError, "values from nan"),
        (np.full((5, 6, 3), 1.5), {}, InputError, "set do_resize=False"),
        (np.zeros((600, 2, 4), np.uint8), {"size": 2000}, ImageError, "is too big"),
        (RGB, {"data_format": "first"}, InputError, "data_format must be one of channels_first"),
        (RGB, {"data_format": "none"}, InputError, "data_format"),
        (RGB, {"input_data_format": "HWC"}, InputError, "input_data_format must be one of"),
        (RGB, {"size": {"longest_edge": 3}}, ConfigError, "shortest_edge"),
        (RGB, {"resample": 7}, ConfigError, "resample"),
        (RGB, {"segmentation_maps": RGB[..., None]}, ImageError, "not a segmentation map"),
        (RGB, {"segmentation_maps": PIL_IMAGE}, ImageError, "not a segmentation map"),
    ],
)
def test_what_does_not_fit(images, options, error, says):
    with pytest.raises(error, match=says) as caught:
        PROCESSOR(images, **options)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_a_truncated_pil_image_is_an_image_error():
    buffer = io.BytesIO()
    PIL_IMAGE.save(buffer, "PNG")
    with pytest.raises(ImageError, match="can't be read"):
        PROCESSOR(Image.open(io.BytesIO(buffer.getvalue()[:-900])))


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [MobileViTImageProcessor.from_pretrained, AutoImageProcessor.from_pretrained])
def test_saved_and_loaded(tmp_path, load):
    processor = MobileViTImageProcessor(size=(30, 40), crop_size=12, resample=0, do_flip_channel_order=False, note="x")
    processor.save_pretrained(tmp_path / "new" / "folder")
    path = tmp_path / "new" / "folder" / "preprocessor_config.json"
    assert json.loads(path.read_text())["size"] == {"height": 30, "width": 40}
    for where in (path.parent, str(path.parent), path):
        loaded = load(where)
        assert isinstance(loaded, MobileViTImageProcessor)
        assert loaded.to_dict() == processor.to_dict()
        assert loaded.to_dict()["note"] == "x"
    assert load(path, do_resize=False, crop_size=8).crop_size == {"height": 8, "width": 8}


def test_its_file_is_found_as_a_checkpoint_s_are(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    load = MobileViTImageProcessor.from_pretrained
    MobileViTImageProcessor(size=99).save_pretrained(tmp_path / "folder" / "inner")
    for name in ("model.safetensors", "one.pt", "two.pt"):  # none of which is read, since the file says the order
        (tmp_path / "folder" / "inner" / name).touch()
    (tmp_path / "other.json").write_text('{"size": 99}')
    for where in ("~/folder/inner", "~/folder/inner/model.safetensors", "~/other.json"):
        assert load(where).size == {"shortest_edge": 99}
    assert load("~/folder", subfolder="inner").size == {"shortest_edge": 99}
    with pytest.raises(InputError, match="subfolder must name a folder inside"):
        load("~/folder", subfolder="inner/../inner")
    with pytest.raises(CheckpointError, match=r"no file or folder 'some/other\.json'"):  # not a hub id
        load("some/other.json")


def test_the_hubs_old_spelling(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(
        '{"crop_size": 256, "do_center_crop": true, "do_flip_channels": true, "do_resize": true,'
        '"feature_extractor_type": "MobileViTFeatureExtractor", "resample": 2, "size": 288}'
    )
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    assert processor.size == {"shortest_edge": 288}
    assert processor.do_flip_channel_order is True
    assert processor.to_dict() == MobileViTImageProcessor(size=288).to_dict()
    assert AutoImageProcessor.from_pretrained(tmp_path, do_flip_channel_order=False).do_flip_channel_order is False


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        (None, CheckpointError, "preprocessor_config.json"),
        ("{", CheckpointError, "is not JSON"),
        ("[]", CheckpointError, "not an object"),
        ('{"image_processor_type": "ViTImageProcessor"}', ConfigError, "ViTImageProcessor"),
        ('{"size": "large"}', ConfigError, "size"),
        ('{"pretrained_cfg": {}}', ConfigError, "timm"),
    ],
)
def test_files_that_do_not_fit(tmp_path, text, error, says):
    if text is not None:
        (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(error, match=says):
        AutoImageProcessor.from_pretrained(tmp_path)


def test_repr_shows_the_settings():
    assert '"shortest_edge": 24' in repr(PROCESSOR)
