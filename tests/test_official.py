"""The published checkpoints, with the logits that others state for them (COCO image 000000039769, tolerance 1e-4).

None of these files comes with this project. MOBILEVIT_NP_OFFICIAL names a folder that holds them as the hub has them:

    FOLDER/apple/mobilevit-small/{config.json,preprocessor_config.json,pytorch_model.bin}, and so on; FOLDER/timm/...
    FOLDER/000000039769.png (or .jpg), from http://images.cocodataset.org/val2017/000000039769.jpg

A checkpoint that isn't there is skipped by name. Without the variable all of these tests are deselected, and pytest's
last lines say so.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import OFFICIAL

from mobilevit_np import Classifier
from mobilevit_np.checkpoints import count_parameters, open_checkpoint, verify
from mobilevit_np.model import backbone, segmenter
from mobilevit_np.preprocess import decode, preprocess
from mobilevit_np.scope import Scope

pytestmark = pytest.mark.official
FOLDER = Path(os.environ.get(OFFICIAL, "."))
CLASSIFIERS = {  # repository: first three logits
    "apple/mobilevit-small": (-0.9866, 0.2392, -1.1241),
    "apple/mobilevit-x-small": (-2.4761, -0.9399, -1.9587),
    "apple/mobilevit-xx-small": (-1.9364, -1.2327, -0.4653),
}
SEGMENTER = "apple/deeplabv3-mobilevit-xx-small"
SEGMENTER_LOGITS = {".png": (6.9713, 6.9786, 7.2422), ".jpg": (6.9811, 6.9743, 7.3123)}  # logits[0, 0, 0, :3]
PARAMETERS = {
    "apple/mobilevit-small": 5_578_632,
    "apple/mobilevit-x-small": 2_317_848,
    "apple/mobilevit-xx-small": 1_272_024,
    "apple/deeplabv3-mobilevit-small": 6_357_941,
    "apple/deeplabv3-mobilevit-x-small": 2_944_069,
    "apple/deeplabv3-mobilevit-xx-small": 1_854_853,
    "timm/mobilevit_s.cvnets_in1k": 5_578_632,
    "timm/mobilevit_xs.cvnets_in1k": 2_317_848,
    "timm/mobilevit_xxs.cvnets_in1k": 1_272_024,
}


def folder(name: str) -> Path:
    if not (FOLDER / name).is_dir():
        pytest.skip(f"{FOLDER / name} is not there")
    return FOLDER / name


def picture() -> Path:
    found = [FOLDER / f"000000039769{suffix}" for suffix in SEGMENTER_LOGITS]
    return next((path for path in found if path.is_file()), found[0])


def test_there_is_something_to_test():
    assert any((FOLDER / name).is_dir() for name in PARAMETERS), f"{FOLDER} holds none of {', '.join(PARAMETERS)}"
    assert picture().is_file(), f"{picture()} is missing"


@pytest.mark.parametrize("name", PARAMETERS)
def test_it_opens_and_is_what_it_says(name):
    checkpoint = open_checkpoint(folder(name))
    assert count_parameters(checkpoint.tensors) == PARAMETERS[name]
    assert checkpoint.channel_order == ("RGB" if name.startswith("timm/") else "BGR")
    assert len(checkpoint.labels) == (21 if "deeplab" in name else 1000)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_file_is_the_published_one(name):
    assert verify(folder(name), repository=name).status in ("match", "unknown")  # not all have a stated sum


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier_gives_the_published_logits(name):
    answer = Classifier.from_pretrained(folder(name))(picture())
    np.testing.assert_allclose(answer.logits[:3], CLASSIFIERS[name], atol=1e-4, rtol=0)
    if name == "apple/mobilevit-small":
        assert answer.label == "tabby, tabby cat"


def test_last_map_has_the_published_shape():
    checkpoint = open_checkpoint(folder("apple/mobilevit-small"))
    pixel_values = preprocess(decode(picture()), checkpoint.profile)
    features = backbone(pixel_values, Scope(checkpoint.tensors) / "mobilevit", checkpoint.config)
    assert features.shape == (1, 640, 8, 8)


def test_segmenter_gives_the_published_logits():
    checkpoint = open_checkpoint(folder(SEGMENTER))
    pixel_values = preprocess(decode(picture()), checkpoint.profile)
    logits = segmenter(pixel_values, Scope(checkpoint.tensors), checkpoint.config)
    assert logits.shape == (1, 21, 32, 32)
    np.testing.assert_allclose(logits[0, 0, 0, :3], SEGMENTER_LOGITS[picture().suffix], atol=1e-4, rtol=0)
