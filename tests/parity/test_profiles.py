"""The five preprocessing profiles against where they come from: transformers, timm, and OpenCV for ml-cvnets.

Hugging Face's and timm's are equal bit for bit; ml-cvnets' promise is 1/255, and equality is what they keep.
"""

import cv2
import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data import create_transform, resolve_data_config
from transformers.models.mobilevit.image_processing_pil_mobilevit import MobileViTImageProcessorPil

from mobilevit_np.preprocess import PROFILES, from_timm_config, preprocess
from mobilevit_np.preprocess.resize import OPENCV_BILINEAR, resize_photo

SIZES = [(300, 411), (411, 300), (97, 131), (64, 48), (1, 1), (7, 5), (256, 256), (284, 284), (288, 288), (289, 500),
         (1000, 333), (40, 700), (576, 1024)]  # fmt: skip
sides = st.integers(1, 400)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def huggingface(photo, size, crop):
    processor = MobileViTImageProcessorPil(size=size, crop_size=crop, resample=2)
    return processor(Image.fromarray(photo), return_tensors="np")["pixel_values"]


def ml_cvnets_classifier(photo):
    """tag cvnets-v0.1: short side 288, cv2's bilinear, center crop rounded down. Written here from its description."""
    height, width = photo.shape[:2]
    size = (int(288 * height / width), 288) if width < height else (288, int(288 * width / height))
    resized = cv2.resize(photo[..., ::-1], size[::-1], interpolation=cv2.INTER_LINEAR)
    top, left = (size[0] - 256) // 2, (size[1] - 256) // 2
    return torch.from_numpy(resized[top : top + 256, left : left + 256].copy()).permute(2, 0, 1)[None].float().div(255)


def ml_cvnets_segmenter(photo):
    resized = cv2.resize(photo[..., ::-1], (512, 512), interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(resized.copy()).permute(2, 0, 1)[None].float().div(255)


TIMM = {
    name: create_transform(**resolve_data_config({}, model=timm.create_model(name, pretrained=False)))
    for name in ("mobilevit_s", "mobilevit_xs", "mobilevit_xxs")
}
ORIGINALS = {
    "huggingface-classifier": lambda photo: huggingface(photo, 288, 256),
    "huggingface-segmenter": lambda photo: huggingface(photo, 544, 512),
    "timm": lambda photo: TIMM["mobilevit_s"](Image.fromarray(photo))[None].numpy(),
    "ml-cvnets-classifier": lambda photo: ml_cvnets_classifier(photo).numpy(),
    "ml-cvnets-segmenter": lambda photo: ml_cvnets_segmenter(photo).numpy(),
}


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("size", SIZES)
def test_profile_equals_its_original(name, size):
    photo = noise(*size)
    ours, theirs = preprocess(photo, PROFILES[name]), ORIGINALS[name](photo)
    assert ours.dtype == theirs.dtype == np.float32
    np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=25)
@given(st.sampled_from(list(PROFILES)), sides, sides, st.integers(0, 99))
def test_profile_equals_its_original_on_drawn_photos(name, height, width, seed):
    photo = noise(height, width, seed)
    np.testing.assert_array_equal(preprocess(photo, PROFILES[name]), ORIGINALS[name](photo))


@pytest.mark.parametrize("model", TIMM)
def test_all_timm_models_are_preprocessed_alike(model):
    photo = noise(300, 411)
    np.testing.assert_array_equal(
        preprocess(photo, PROFILES["timm"]), TIMM[model](Image.fromarray(photo))[None].numpy()
    )


@pytest.mark.parametrize("size", [(300, 411), (301, 414), (50, 61), (251, 255)])
@pytest.mark.parametrize(
    "config",
    [
        {"input_size": (3, 256, 256), "interpolation": "bilinear", "crop_pct": 0.875},
        {"input_size": (3, 255, 255), "interpolation": "bicubic", "crop_pct": 1.0, "mean": (0.5, 0.4, 0.3)},
        {"input_size": (3, 99, 99), "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "squash"},
    ],
)
def test_other_timm_settings_are_understood(config, size):
    """Fine-tuned checkpoints may normalize, squash, or crop by another share."""
    config = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), **config}
    photo = noise(*size)
    ours = preprocess(photo, from_timm_config({"pretrained_cfg": config}))
    np.testing.assert_array_equal(ours, create_transform(**config)(Image.fromarray(photo))[None].numpy())


@settings(max_examples=300)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 120), st.integers(1, 120), st.integers(0, 99))
def test_opencv_bilinear(height, width, new_height, new_width, seed):
    photo = noise(height, width, seed)
    theirs = cv2.resize(photo, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(resize_photo(photo, (new_height, new_width), OPENCV_BILINEAR), theirs)
