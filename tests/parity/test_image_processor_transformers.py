"""The image processor against transformers' own Pillow-based one, live: equal bit for bit.

transformers 5 has no ``data_format`` any more; what it had is recorded from 4.46.3 in the torch-free tests. Its
default filter became bicubic, so the filter is always given here.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.mobilevit.image_processing_pil_mobilevit import MobileViTImageProcessorPil

from mobilevit_np.huggingface.image_processing import MobileViTImageProcessor

FILTERS = range(6)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def assert_equal(images, arguments, maps=None, **call):
    """Both processors, built with ``arguments``, give the same values, shapes and dtypes."""
    theirs_maps = None if maps is None else [each.copy() for each in maps]  # they change their input
    theirs = MobileViTImageProcessorPil(**arguments)(images, segmentation_maps=theirs_maps, **call)
    ours = MobileViTImageProcessor(**arguments)(images, segmentation_maps=maps, **call)
    assert ours.keys() == dict(theirs).keys()
    for name in ours:
        assert len(ours[name]) == len(theirs[name])
        for our, their in zip(ours[name], theirs[name], strict=True):
            assert our.dtype == their.dtype
            np.testing.assert_array_equal(our, their)


side = st.integers(1, 60)
one_size = st.integers(1, 60) | st.fixed_dictionaries({"shortest_edge": side})
two_sizes = st.fixed_dictionaries({"height": side, "width": side}) | st.tuples(side, side)
arguments = st.fixed_dictionaries(
    {
        "do_resize": st.sampled_from([True, True, True, False]),
        "size": one_size | two_sizes,
        "resample": st.sampled_from(FILTERS),
        "do_rescale": st.sampled_from([True, True, False]),
        "rescale_factor": st.sampled_from([1 / 255, 1 / 127.5, 2, 1e-3]),
        "do_center_crop": st.sampled_from([True, True, False]),
        "crop_size": side | two_sizes,
        "do_flip_channel_order": st.booleans(),
    }
)


@settings(max_examples=400)
@given(arguments, side, side, st.integers(0, 999), st.booleans())
def test_photos(arguments, height, width, seed, as_pil):
    photo = noise(height, width, 3, seed=seed)
    if as_pil:
        assert_equal(Image.fromarray(photo), arguments)
    else:
        assert_equal(photo, arguments, input_data_format="channels_last")
        assert_equal(photo.transpose(2, 0, 1), arguments, input_data_format="channels_first")


@settings(max_examples=100)
@given(arguments, side, side, st.sampled_from(["L", "RGBA", "1", "P"]), st.integers(0, 99))
def test_pil_images_of_other_modes(arguments, height, width, mode, seed):
    """transformers takes what the image stores: palette indices, bits, alpha as a fourth channel. So do we here."""
    channels = () if mode in ("L", "1", "P") else (4,)
    image = Image.fromarray(noise(height, width, *channels, seed=seed))
    image = image.convert(mode) if mode in ("1", "P") else image
    assert_equal(image, arguments)


@settings(max_examples=150)
@given(arguments, side, side, st.booleans(), st.integers(0, 99))
def test_segmentation_maps(arguments, height, width, reduce_labels, seed):
    maps = [noise(height, width, seed=seed) % np.uint8(23) + np.uint8(233 * (seed % 2))]  # with 255 and without
    photo = Image.fromarray(noise(height, width, 3))
    assert_equal(photo, {**arguments, "do_reduce_labels": reduce_labels}, maps)
    assert_equal(photo, {**arguments, "do_reduce_labels": reduce_labels}, [maps[0].astype(np.int64)])


@pytest.mark.filterwarnings("ignore:the pixel values lie in 0..1 already")
@settings(max_examples=100)
@given(arguments, side, side, st.sampled_from(["fractions", "whole", "int64", "float16"]), st.integers(0, 99))
def test_arrays_of_other_dtypes(arguments, height, width, kind, seed):
    """Floats in 0..1 too: cut to eight bits by the resize, and divided by 255 once more where rescaled."""
    photo = noise(height, width, 3, seed=seed)
    photo = {
        "fractions": photo / 255,
        "whole": photo.astype(np.float32),
        "int64": photo.astype(np.int64),
        "float16": (photo / 256).astype(np.float16),
    }[kind]
    assert_equal(photo, arguments, input_data_format="channels_last")


@pytest.mark.filterwarnings("ignore:the pixel values lie in 0..1 already")
@settings(max_examples=150)
@given(arguments, side, side, st.sampled_from(["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK"]), st.integers(0, 99))
def test_pil_images_made_rgb(arguments, height, width, mode, seed):
    image = Image.fromarray(noise(height, width, 4, seed=seed)).convert(mode if mode != "PA" else "P")
    image = image.convert("PA") if mode == "PA" else image
    if mode == "P" and seed % 2:
        image.info["transparency"] = seed % 256
    assert_equal(image, {**arguments, "do_convert_rgb": True})
    assert_equal(image, arguments, do_convert_rgb=True)


@pytest.mark.filterwarnings("ignore:the pixel values lie in 0..1 already")
@settings(max_examples=150)
@given(
    arguments, side, side, st.sampled_from([1, 3, 4]), st.sampled_from(["u1", "i8", "f2", "f4", "f8"]), st.booleans()
)
def test_arrays_made_rgb(arguments, height, width, channels, dtype, last):
    photo = noise(height, width, channels) if last else noise(channels, height, width)
    photo = (photo / (255 if dtype[0] == "f" else 1)).astype(dtype)
    layout = "channels_last" if last else "channels_first"
    assert_equal(photo, {**arguments, "do_convert_rgb": True}, input_data_format=layout)


@pytest.mark.parametrize(
    ("height", "width"), [(300, 411), (411, 300), (700, 288), (97, 131), (1, 1), (288, 288), (31, 900)]
)
@pytest.mark.parametrize(("crop", "size"), [(256, 288), (512, 544)])
def test_published_settings_on_photos_of_real_size(height, width, crop, size):
    published = {"size": size, "crop_size": crop, "resample": 2}
    assert_equal(Image.fromarray(noise(height, width, 3)), published, return_tensors="np")


@pytest.mark.parametrize("number", FILTERS)
@pytest.mark.parametrize("shape", [(480, 640), (640, 480), (1500, 400)])
def test_every_filter_on_photos_of_real_size(number, shape):
    assert_equal(Image.fromarray(noise(*shape, 3)), {"size": 288, "resample": number}, return_tensors="np")


def test_lists_batches_tensors_and_calls_that_override():
    photos = [noise(20, 31, 3), noise(25, 18, 3, seed=1)]
    settings = {"size": 17, "crop_size": 13, "resample": 2}
    assert_equal(photos, settings, return_tensors="np")
    assert_equal(noise(3, 20, 31, 3), settings, return_tensors="np")
    assert_equal(torch.from_numpy(noise(3, 20, 31)), settings)
    assert_equal(photos, settings, size={"height": 9, "width": 30}, resample=Image.Resampling.LANCZOS, do_rescale=False)
    assert_equal(photos, settings, crop_size={"height": 40, "width": 7}, do_flip_channel_order=False)


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_post_process_semantic_segmentation(height, width, new_height, new_width, seed):
    """Labels equal wherever the two greatest logits differ by more than rounding; float32 both."""
    logits = np.random.default_rng(seed).normal(size=(2, 5, height, width)).astype(np.float32)
    sizes = [(new_height, new_width), (new_width, new_height)]
    outputs = SimpleNamespace(logits=torch.from_numpy(logits))
    theirs = MobileViTImageProcessorPil().post_process_semantic_segmentation(outputs, sizes, True)
    ours = MobileViTImageProcessor().post_process_semantic_segmentation(SimpleNamespace(logits=logits), sizes)
    for our, their in zip(ours, theirs, strict=True):
        scores = np.sort(their.segmentation_scores.numpy(), axis=0)
        clear = scores[-1] - scores[-2] > 1e-5
        assert our.shape == tuple(their.segmentation.shape)
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(our[clear], their.segmentation.numpy()[clear])
    plain = MobileViTImageProcessor().post_process_semantic_segmentation(SimpleNamespace(logits=logits))
    for our, their in zip(plain, MobileViTImageProcessorPil().post_process_semantic_segmentation(outputs), strict=True):
        np.testing.assert_array_equal(our, their.numpy())


def test_settings_files_are_understood_by_both(tmp_path):
    ours = MobileViTImageProcessor(size=288, crop_size=250, resample=3, do_reduce_labels=True)
    ours.save_pretrained(tmp_path / "ours")
    theirs = MobileViTImageProcessorPil.from_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    assert MobileViTImageProcessor.from_pretrained(tmp_path / "theirs")._with() == ours._with()
    photo = noise(300, 411, 3)
    np.testing.assert_array_equal(theirs(photo).pixel_values[0], ours(photo).pixel_values[0])
