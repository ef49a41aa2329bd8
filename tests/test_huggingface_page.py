"""The examples of transformers' MobileViT page (4.34), line by line, on a local hub cache.

Only these substitutions: the import line, ``return_tensors="np"``, the photo opened from a local file, no
``torch.no_grad()``, and ``np.argmax`` for ``tf.math.argmax``. The weights are drawn, so what is checked of an answer is
its shape, and that it is the reference's for the same photo.
"""

from pathlib import Path

import drawing
import numpy as np
import pytest
from PIL import Image

from mobilevit_np.checkpoints import init_parameters, save_checkpoint
from mobilevit_np.config import NetworkConfig
from mobilevit_np.huggingface import MobileViTConfig
from mobilevit_np.labels import VOC_LABELS, imagenet_labels
from mobilevit_np.model import NETWORKS
from mobilevit_np.scope import Scope

PHOTO = Path(__file__).parent.parent / "tutorials" / "images" / "chelsea.png"
PREPROCESSING = {
    "do_resize": True,
    "do_rescale": True,
    "do_center_crop": True,
    "do_flip_channel_order": True,
    "resample": 2,
    "image_processor_type": "MobileViTImageProcessor",
}
HUB = {  # id -> (task, labels, short side, crop, network); the page says nothing of the segmenter's widths
    "apple/mobilevit-small": ("classifier", imagenet_labels(), 288, 256, {}),
    "apple/deeplabv3-mobilevit-small": ("segmenter", VOC_LABELS, 544, 512, {**drawing.CUT_DOWN, "output_stride": 16}),
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A folder that HF_HOME may name, holding both checkpoints with drawn weights."""
    home = tmp_path_factory.mktemp("hub")
    for name, (task, labels, short_side, crop, network) in HUB.items():
        repository = home / "hub" / f"models--{name.replace('/', '--')}"
        commit = "0123456789abcdef0123456789abcdef01234567"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(commit)
        (repository / "snapshots").mkdir()
        config = MobileViTConfig(id2label=dict(enumerate(labels)), **network)
        preprocessing = {**PREPROCESSING, "size": {"shortest_edge": short_side}}
        preprocessing["crop_size"] = {"height": crop, "width": crop}
        tensors = init_parameters(config, task)
        save_checkpoint(repository / "snapshots" / commit, tensors, config.to_dict(), preprocessing)
    return home


@pytest.fixture(autouse=True)
def cached(hub, monkeypatch):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(hub))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def expected(name, pixel_values):
    """The reference's logits for the checkpoint's tensors, drawn once more."""
    task, labels, _, _, network = HUB[name]
    config = NetworkConfig(num_labels=len(labels), **network)
    return NETWORKS[task](pixel_values, Scope(init_parameters(config, task)), config)


def test_configuration():
    from mobilevit_np.huggingface import MobileViTConfig, MobileViTModel

    # Initializing a mobilevit-small style configuration
    configuration = MobileViTConfig()

    # Initializing a model from the mobilevit-small style configuration
    model = MobileViTModel(configuration)

    # Accessing the model configuration
    configuration = model.config

    assert configuration.hidden_sizes == [144, 192, 240]


@pytest.mark.filterwarnings("ignore:.*belong to another head")  # the page loads a classifier's file
def test_model():
    from mobilevit_np.huggingface import AutoImageProcessor, MobileViTModel

    image = Image.open(PHOTO)

    image_processor = AutoImageProcessor.from_pretrained("apple/mobilevit-small")
    model = MobileViTModel.from_pretrained("apple/mobilevit-small")

    inputs = image_processor(image, return_tensors="np")

    outputs = model(**inputs)

    last_hidden_states = outputs.last_hidden_state
    assert list(last_hidden_states.shape) == [1, 640, 8, 8]


def test_image_classification():
    from mobilevit_np.huggingface import AutoImageProcessor, MobileViTForImageClassification

    image = Image.open(PHOTO)

    image_processor = AutoImageProcessor.from_pretrained("apple/mobilevit-small")
    model = MobileViTForImageClassification.from_pretrained("apple/mobilevit-small")

    inputs = image_processor(image, return_tensors="np")

    logits = model(**inputs).logits

    # model predicts one of the 1000 ImageNet classes
    predicted_label = logits.argmax(-1).item()
    print(model.config.id2label[predicted_label])

    assert logits.shape == (1, 1000)
    np.testing.assert_array_equal(logits, expected("apple/mobilevit-small", inputs["pixel_values"]))
    assert model.config.id2label[predicted_label] == imagenet_labels()[predicted_label]


def test_semantic_segmentation():
    from mobilevit_np.huggingface import AutoImageProcessor, MobileViTForSemanticSegmentation

    image = Image.open(PHOTO)

    image_processor = AutoImageProcessor.from_pretrained("apple/deeplabv3-mobilevit-small")
    model = MobileViTForSemanticSegmentation.from_pretrained("apple/deeplabv3-mobilevit-small")

    inputs = image_processor(images=image, return_tensors="np")

    outputs = model(**inputs)

    # logits are of shape (batch_size, num_labels, height, width)
    logits = outputs.logits

    assert logits.shape == (1, 21, 32, 32)
    np.testing.assert_array_equal(logits, expected("apple/deeplabv3-mobilevit-small", inputs["pixel_values"]))


@pytest.mark.filterwarnings("ignore:.*belong to another head")
def test_tensorflow_model():
    from mobilevit_np.huggingface import AutoImageProcessor, TFMobileViTModel

    image = Image.open(PHOTO)

    image_processor = AutoImageProcessor.from_pretrained("apple/mobilevit-small")
    model = TFMobileViTModel.from_pretrained("apple/mobilevit-small")

    inputs = image_processor(image, return_tensors="np")
    outputs = model(**inputs)

    last_hidden_states = outputs.last_hidden_state
    assert list(last_hidden_states.shape) == [1, 640, 8, 8]


def test_tensorflow_image_classification():
    from mobilevit_np.huggingface import AutoImageProcessor, TFMobileViTForImageClassification

    image = Image.open(PHOTO)

    image_processor = AutoImageProcessor.from_pretrained("apple/mobilevit-small")
    model = TFMobileViTForImageClassification.from_pretrained("apple/mobilevit-small")

    inputs = image_processor(image, return_tensors="np")
    logits = model(**inputs).logits

    # model predicts one of the 1000 ImageNet classes
    predicted_label = int(np.argmax(logits, axis=-1))
    print(model.config.id2label[predicted_label])

    assert model.config.id2label[predicted_label] == imagenet_labels()[int(logits.numpy()[0].argmax())]


def test_tensorflow_semantic_segmentation():
    from mobilevit_np.huggingface import AutoImageProcessor, TFMobileViTForSemanticSegmentation

    image = Image.open(PHOTO)

    image_processor = AutoImageProcessor.from_pretrained("apple/deeplabv3-mobilevit-small")
    model = TFMobileViTForSemanticSegmentation.from_pretrained("apple/deeplabv3-mobilevit-small")

    inputs = image_processor(images=image, return_tensors="np")

    outputs = model(**inputs)

    # logits are of shape (batch_size, num_labels, height, width)
    logits = outputs.logits

    assert logits.shape == (1, 21, 32, 32)
