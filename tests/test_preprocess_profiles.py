"""Profiles as data, their steps, what can be listened to and replaced, the crop's place, and the settings files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilevit_np.errors import ConfigError, ImageError, InputError
from mobilevit_np.preprocess import (
    PROFILES,
    Profile,
    crop_region,
    from_preprocessor_config,
    from_timm_config,
    named_profile,
    output_size,
    preprocess,
    profile_from_settings,
    run_steps,
    to_preprocessor_config,
)
from mobilevit_np.preprocess import steps as steps_module
from mobilevit_np.preprocess.crop import crop_start
from mobilevit_np.scope import Scope


def noise(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("photo", [(1, 1), (40, 61), (300, 211), (7, 500)])
@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_takes_every_photo(name, photo):
    pixel_values = preprocess(noise(*photo), named_profile(name))
    side = 512 if name.endswith("segmenter") else 256
    assert pixel_values.shape == (1, 3, side, side)
    assert pixel_values.dtype == np.float32
    assert pixel_values.flags.c_contiguous
    assert 0 <= pixel_values.min() <= pixel_values.max() <= 1


def test_the_profiles_differ_from_each_other():
    results = [preprocess(noise(300, 410), profile) for profile in PROFILES.values() if profile.size != 544]
    same_size = [each for each in results if each.shape[-1] == 256]
    for index, one in enumerate(same_size):
        assert not any(np.array_equal(one, other) for other in same_size[index + 1 :])


def test_rescaling_is_in_double_precision_and_float64_stays():
    plain = Profile("plain", None, "bilinear", None, flip_channels=False)
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    exact = np.arange(256).reshape(1, 1, 16, 16) * (1 / 255)
    np.testing.assert_array_equal(preprocess(ramp, plain, dtype=np.float64), exact)
    np.testing.assert_array_equal(preprocess(ramp, plain), exact.astype(np.float32))


def test_channels_are_flipped_not_rows():
    plain = Profile("plain", None, "bilinear", None, flip_channels=True, rescale_factor=None)
    image = noise(2, 3)
    np.testing.assert_array_equal(run_steps(image.transpose(2, 0, 1), plain), image[..., ::-1].transpose(2, 0, 1))


def test_mean_and_std_are_in_rgb_order_and_after_padding():
    profile = Profile("m", None, "bilinear", (2, 2), False, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0))
    image = np.full((1, 1, 3), 255, np.uint8)
    result = preprocess(image, profile, dtype=np.float64)[0]
    np.testing.assert_allclose(result[:, 1, 1], [0.9, 0.4, 0.175], rtol=1e-15)
    np.testing.assert_allclose(result[:, 0, 0], [-0.1, -0.1, -0.075], rtol=1e-15)  # (0 - mean) / std
    with pytest.raises(InputError, match="3 and 3 numbers for 1 channels"):
        preprocess(noise(4, 4, 1), profile)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_preprocess_wants_a_decoded_photo(image):
    with pytest.raises(InputError, match="decode"):
        preprocess(image, PROFILES["timm"])


# -- scope -------------------------------------------------------------------------------------------------------------


def test_every_step_is_heard_in_order():
    heard = {}
    scope = Scope({}).listen(lambda path, output: heard.__setitem__(path, output.shape))
    preprocess(noise(40, 61), PROFILES["huggingface-classifier"], scope)
    assert heard == {
        "preprocessing.resize": (3, 288, 439),
        "preprocessing.rescale": (3, 288, 439),
        "preprocessing.center_crop": (3, 256, 256),
        "preprocessing.flip_channel_order": (3, 256, 256),
        "preprocessing": (3, 256, 256),
    }


MISTAKES = {
    "nearest instead of bilinear": (
        "resize",
        lambda compute, x, scope, size, resample, keep: compute(x, scope, size, "nearest", keep),
    ),
    "bicubic instead of bilinear": (
        "resize",
        lambda compute, x, scope, size, resample, keep: compute(x, scope, size, "bicubic", keep),
    ),
    "256 without the 288 step": (
        "resize",
        lambda compute, x, scope, size, resample, keep: compute(x, scope, 256, resample, keep),
    ),
    "mean and std": (
        "rescale",
        lambda compute, x, scope, *rest: (compute(x, scope, *rest) - np.float32(0.45)) / np.float32(0.22),
    ),
    "RGB": ("flip_channel_order", lambda compute, x, scope: x),
    "rows flipped": ("flip_channel_order", lambda compute, x, scope: x[:, ::-1]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_known_mistake_can_be_switched_on_from_outside(mistake):
    profile, photo = PROFILES["huggingface-classifier"], noise(300, 411)
    step, replacement = MISTAKES[mistake]
    right = preprocess(photo, profile)
    wrong = preprocess(photo, profile, Scope({}).wrap(f"preprocessing.{step}", replacement))
    assert wrong.shape == right.shape
    assert np.abs(wrong - right).max() > 0.05
    np.testing.assert_array_equal(preprocess(photo, profile), right)


# -- photos that would be too big when resized -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["huggingface-classifier", "huggingface-segmenter", "timm", "ml-cvnets-classifier"])
@pytest.mark.parametrize("photo", [(40, 401), (401, 40), (3, 40)])
def test_only_what_the_crop_keeps_is_made_of_a_panorama(monkeypatch, name, photo):
    monkeypatch.setattr(steps_module, "WHOLE", 2**30)
    whole = preprocess(noise(*photo), PROFILES[name])
    monkeypatch.setattr(steps_module, "WHOLE", 0)
    kept = []
    scope = Scope({}).listen(lambda path, output: kept.append(output.shape[1:]))
    np.testing.assert_array_equal(preprocess(noise(*photo), PROFILES[name], scope), whole)
    assert kept[0] == PROFILES[name].crop


def test_a_panorama_of_60000_by_20_is_answered():
    assert preprocess(noise(20, 60000), PROFILES["huggingface-classifier"]).shape == (1, 3, 256, 256)
    uncropped = Profile("no crop", 288, "bilinear", None, flip_channels=True)
    with pytest.raises(ImageError, match="crop it first"):
        preprocess(noise(20, 60000), uncropped)


# -- the crop's place --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROFILES)
def test_crop_region_is_where_the_pixels_come_from(name):
    """A photo whose red and green say where a pixel lies: the crop's corners must agree with the region."""
    profile, height, width = PROFILES[name], 700, 1000
    photo = np.zeros((height, width, 3), np.uint8)
    photo[..., 0] = (np.arange(height) * 255 / height)[:, None].round()
    photo[..., 1] = (np.arange(width) * 255 / width).round()
    pixels = preprocess(photo, profile)[0]
    pixels = pixels[::-1] if profile.flip_channels else pixels
    region = crop_region(height, width, profile)
    seen = np.array([pixels[0, 0, 0], pixels[1, 0, 0], pixels[0, -1, -1], pixels[1, -1, -1]])
    place = np.array([region.top / height, region.left / width, region.bottom / height, region.right / width])
    np.testing.assert_allclose(seen, place, atol=1.5 / 255)


def test_crop_region_reaches_beyond_a_photo_that_was_padded():
    profile = Profile("pad", None, "bilinear", (6, 10), flip_channels=False)
    region = crop_region(3, 20, profile)
    assert (region.top, region.left, region.bottom, region.right) == (-2.0, 5.0, 4.0, 15.0)
    assert crop_region(9, 7, PROFILES["ml-cvnets-segmenter"]).bottom == 9.0


@given(st.integers(1, 500), st.integers(1, 500), st.sampled_from(list(PROFILES)))
def test_crop_region_has_the_crops_size_in_the_photos_scale(height, width, name):
    profile = PROFILES[name]
    region = crop_region(height, width, profile)
    new_height, new_width = output_size(height, width, profile.size)
    crop = profile.crop or (new_height, new_width)
    assert np.isclose(region.bottom - region.top, crop[0] * height / new_height)
    assert np.isclose(region.right - region.left, crop[1] * width / new_width)


# -- settings ----------------------------------------------------------------------------------------------------------

OLD_FORM = {
    "crop_size": 256, "do_center_crop": True, "do_flip_channels": True, "do_resize": True,
    "feature_extractor_type": "MobileViTFeatureExtractor", "resample": 2, "size": 288,
}  # fmt: skip
TIMM = {
    "architecture": "mobilevit_s",
    "num_classes": 1000,
    "pretrained_cfg": {
        "input_size": [3, 256, 256], "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "center",
        "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0],
    },
}  # fmt: skip


def same_but_for_the_name(one, other):
    return {**vars(one), "name": ""} == {**vars(other), "name": ""}


def test_the_hubs_old_form():
    assert same_but_for_the_name(from_preprocessor_config(OLD_FORM), PROFILES["huggingface-classifier"])
    segmenter = {**OLD_FORM, "crop_size": 512, "size": 544}
    assert same_but_for_the_name(from_preprocessor_config(segmenter), PROFILES["huggingface-segmenter"])
    assert not from_preprocessor_config({**OLD_FORM, "do_flip_channels": False}).flip_channels


@pytest.mark.parametrize("name", ["huggingface-classifier", "huggingface-segmenter"])
def test_the_new_form_is_written_and_read_back(name):
    written = to_preprocessor_config(PROFILES[name])
    assert written["size"] == {"shortest_edge": PROFILES[name].size}
    assert same_but_for_the_name(profile_from_settings(written), PROFILES[name])


def test_what_a_file_leaves_out_has_the_defaults_of_the_page():
    expected = Profile("", 224, "bilinear", (256, 256), flip_channels=True)
    assert same_but_for_the_name(from_preprocessor_config({}), expected)


def test_switched_off_steps_survive_the_round_trip():
    profile = Profile("x", None, "lanczos", None, flip_channels=False, rescale_factor=None)
    assert same_but_for_the_name(from_preprocessor_config(to_preprocessor_config(profile)), profile)
    squash = Profile("x", (512, 384), "box", None, flip_channels=True)
    assert same_but_for_the_name(from_preprocessor_config(to_preprocessor_config(squash)), squash)


def test_what_the_hugging_face_form_cannot_say():
    with pytest.raises(ConfigError, match="opencv-bilinear"):
        to_preprocessor_config(PROFILES["ml-cvnets-classifier"])
    with pytest.raises(ConfigError, match="mean"):
        to_preprocessor_config(Profile("x", 8, "bilinear", (8, 8), False, mean=(0.5,), std=(0.5,)))


def test_timms_form():
    assert same_but_for_the_name(profile_from_settings(TIMM), PROFILES["timm"])
    assert same_but_for_the_name(from_timm_config(TIMM["pretrained_cfg"]), PROFILES["timm"])
    squash = from_timm_config({**TIMM["pretrained_cfg"], "crop_mode": "squash", "crop_pct": 1.0})
    assert (squash.size, squash.crop) == ((256, 256), (256, 256))
    normalized = from_timm_config({"input_size": [3, 256, 256], "interpolation": "bilinear"})
    assert (normalized.size, normalized.mean) == (292, (0.485, 0.456, 0.406))  # timm's defaults


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"size": -1}, "size takes whole numbers"),
        ({"size": 0}, "from 1 to"),
        ({"size": "big"}, "size"),
        ({"size": {"longest_edge": 3}}, "shortest_edge, or height and width"),
        ({"size": [1, 2, 3]}, "size"),
        ({"size": True}, "size"),
        ({"size": np.array([224, 224])}, "whole numbers"),
        ({"size": {"shortest_edge": 2.5}}, "whole numbers"),
        ({"size": 10**9}, "from 1 to 16384"),
        ({"size": {"height": 16000, "width": 16000}}, "make it smaller"),
        ({"crop_size": {"shortest_edge": 3}}, "crop_size must have height and width"),
        ({"crop_size": None, "resample": 9}, "resample must be one of 0 .nearest."),
        ({"resample": True}, "resample"),
        ({"resample": "cubic"}, "resample"),
        ({"do_resize": "yes"}, "do_resize must be true or false"),
        ({"rescale_factor": float("nan")}, "rescale_factor takes finite numbers"),
        ({"rescale_factor": "1/255"}, "rescale_factor"),
        ({"image_processor_type": "ViTImageProcessor"}, "settings for 'ViTImageProcessor'"),
        ({"feature_extractor_type": ["x"]}, "settings for"),
        ({"input_size": [3, 256, 224], "interpolation": "bicubic"}, "input_size"),
        ({"input_size": [3, "a", "a"], "interpolation": "bicubic"}, "input_size"),
        ({"input_size": 256, "interpolation": "bicubic"}, "input_size"),
        ({"input_size": [3, 256, 256], "interpolation": "random"}, "interpolation must be one of"),
        ({"input_size": [3, 256, 256], "interpolation": "bicubic", "crop_pct": 2}, "crop_pct"),
        ({"input_size": [3, 256, 256], "interpolation": "bicubic", "crop_pct": 1e-300}, "crop_pct"),
        ({"input_size": [3, 256, 256], "interpolation": "bicubic", "crop_mode": "border"}, "crop_mode"),
        ({"input_size": [3, 256, 256], "interpolation": "bicubic", "mean": 0.5}, "mean must be a list"),
        ({"input_size": [3, 256, 256], "interpolation": "bicubic", "std": [0, 1, 1]}, "std must not contain 0"),
        ({"input_size": [3, 256, 256], "interpolation": "bicubic", "std": ["a"]}, "std takes finite"),
        ({"pretrained_cfg": 3}, "pretrained_cfg"),
        ({"rescale_factor": 10**400}, "rescale_factor takes finite numbers"),
        ({"input_size": [3, 10**400, 10**400], "interpolation": "bicubic"}, "input_size"),
        ({"input_size": [3, 256, 256], "interpolation": "bicubic", "crop_pct": 5e-324}, "crop_pct"),
        ({"input_size": [3, 256, 256], "interpolation": "bicubic", "mean": [[0]]}, "mean takes finite"),
    ],
)
def test_settings_that_make_no_sense(settings, says):
    with pytest.raises(ConfigError, match=says) as caught:
        profile_from_settings(settings)
    assert "\n" not in str(caught.value)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = [*OLD_FORM, *TIMM["pretrained_cfg"], "pretrained_cfg", "do_flip_channel_order", "rescale_factor", "do_rescale"]


@given(st.dictionaries(st.sampled_from(KEYS), junk, max_size=5))
def test_any_json_gives_a_profile_or_a_config_error(settings):
    try:
        assert isinstance(profile_from_settings(settings), Profile)
    except ConfigError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_profiles_by_name():
    assert named_profile("timm") is PROFILES["timm"]
    with pytest.raises(ConfigError, match="'Timm'; there are huggingface-classifier"):
        named_profile("Timm")


@pytest.mark.parametrize(
    "changes",
    [
        {"center": "left"}, {"resample": "cubic"}, {"mean": (0.5,)}, {"crop": (0, 3)}, {"crop": (3,)},
        {"size": (True, 3)}, {"size": (8,)}, {"size": ()}, {"size": 0},
    ],
)  # fmt: skip
def test_a_profile_checks_itself(changes):
    fields = {"name": "x", "size": 8, "resample": "bilinear", "crop": (8, 8), "flip_channels": False}
    with pytest.raises(ConfigError):
        Profile(**{**fields, **changes})


def test_steps_refuse_what_no_photo_is_made_of():
    with pytest.raises(InputError, match="of complex128"):
        run_steps(np.zeros((3, 4, 4), complex), PROFILES["timm"])


@pytest.mark.parametrize(
    ("length", "transformers", "torchvision"), [(225, 0, 0), (226, 1, 1), (227, 1, 2), (229, 2, 2)]
)
def test_a_crop_s_place_is_rounded_as_its_library_does(length, transformers, torchvision):
    """Down, or to the nearest even number."""
    assert crop_start(length, 224) == transformers
    assert crop_start(length, 224, "torchvision") == torchvision
