"""Models and pipelines in other processes: pickled, copied, and in a pool that spawns its workers."""

import copy
import multiprocessing
import pickle

import drawing
import numpy as np
import pytest
from tiny import photo, save_tiny

from mobilevit_np import Classifier, Segmenter
from mobilevit_np.huggingface import (
    MobileViTConfig,
    MobileViTForImageClassification,
    MobileViTForSemanticSegmentation,
    MobileViTImageProcessor,
    MobileViTModel,
)

COPIES = {"pickle": lambda each: pickle.loads(pickle.dumps(each)), "deepcopy": copy.deepcopy, "copy": copy.copy}
MODELS = (MobileViTModel, MobileViTForImageClassification, MobileViTForSemanticSegmentation)
X = drawing.draw_pixels((1, 3, 32, 48)).astype(np.float32)


@pytest.mark.parametrize("made", COPIES)
@pytest.mark.parametrize("engine", ["reference", "fast"])
@pytest.mark.parametrize("kind", MODELS)
def test_models(kind, engine, made):
    options = {"expand_output": False} if kind is MobileViTModel else {}
    model = kind(MobileViTConfig(**drawing.CUT_DOWN, num_labels=3), engine=engine, **options)
    expected = model(X)[0]  # called first, so that the engine has prepared whatever it prepares
    again = COPIES[made](model)
    np.testing.assert_array_equal(again(X)[0], expected)
    assert type(again) is kind
    assert again.config == model.config
    with pytest.raises(ValueError, match="read-only"):
        next(iter(again.state_dict().values()))[...] = 0
    if made != "copy":
        again.config.id2label[0] = "other"
        assert model.config.id2label[0] == "LABEL_0"


@pytest.mark.parametrize("made", COPIES)
@pytest.mark.parametrize("engine", ["reference", "fast"])
@pytest.mark.parametrize(("pipeline", "task"), [(Classifier, "classifier"), (Segmenter, "segmenter")])
def test_pipelines(pipeline, task, engine, made, tmp_path):
    one = pipeline.from_pretrained(save_tiny(tmp_path, task), engine=engine)
    expected = one(photo())
    again = COPIES[made](one)
    np.testing.assert_array_equal(again(photo()).logits, expected.logits)
    assert again.profile == one.profile
    np.testing.assert_array_equal(COPIES[made](expected).logits, expected.logits)


@pytest.mark.parametrize("made", COPIES)
def test_processors_features_and_configurations(made):
    processor = MobileViTImageProcessor(size=24, crop_size=20, do_normalize=False, house_number=7)
    again = COPIES[made](processor)
    assert again.to_dict() == processor.to_dict()
    assert again.house_number == 7
    features = COPIES[made](processor(photo(), return_tensors="np"))
    np.testing.assert_array_equal(features.pixel_values, processor(photo(), return_tensors="np").pixel_values)
    config = MobileViTConfig(num_labels=3, house_number=7)
    assert COPIES[made](config) == config


def test_a_pool_that_spawns(tmp_path):
    """Its workers share nothing with us: the classifier goes there by pickle, as it would to a DataLoader's."""
    classifier = Classifier.from_pretrained(save_tiny(tmp_path))
    photos = [photo(seed=seed) for seed in range(2)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        answers = pool.map(classifier, photos)
    for answer, one in zip(answers, photos, strict=True):
        np.testing.assert_allclose(answer.logits, classifier(one).logits, rtol=1e-5, atol=1e-6)
