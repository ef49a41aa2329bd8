"""No combination of files and keys shows RGB weights a BGR photo, or the other way round.

One drawn network that takes BGR is written in every form a checkpoint comes in: the names of three schemes, eleven
kinds of config.json, four of preprocessor_config.json, as a folder, a file in it and a hub's cache. Where the form
means RGB its stem is reversed first. Whoever opens it (Classifier, Segmenter, transformers' classes, a conversion) must
then give a photo whose channels differ the answer of the BGR network, prepared the same way but for the order.
"""

import json
import warnings
from dataclasses import replace
from functools import cache
from itertools import count, product

import numpy as np
import pytest
from fuzz.samples import safetensors_file, tiny_config, torch_file
from tiny import PLACES, photo

from mobilevit_np import AutoImageProcessor, Classifier, MobileViTForImageClassification, Segmenter
from mobilevit_np.checkpoints import convert, init_parameters, open_checkpoint, quantize, save_checkpoint
from mobilevit_np.checkpoints import parameter_names as names
from mobilevit_np.checkpoints.configurations import full_config
from mobilevit_np.config import VARIANTS, NetworkConfig
from mobilevit_np.errors import CheckpointError, ConfigError
from mobilevit_np.preprocess import PROFILES

NARROW = {**VARIANTS["xx_small"], "hidden_sizes": [8, 8, 8], "neck_hidden_sizes": [8, 8, 8, 8, 8, 8, 16]}
NETWORK = NetworkConfig(**NARROW, num_labels=5)
TENSORS = init_parameters(NETWORK, "classifier")  # what takes BGR
PREPARED = {"input_size": [3, 64, 64], "crop_pct": 0.9, "interpolation": "bicubic", "mean": [0, 0, 0], "std": [1, 1, 1]}
ARCHITECTURE = {"architecture": "mobilevit_xxs", "num_classes": 5}
CONFIGS = {
    "Hugging Face": full_config(NETWORK, "classifier", tuple("abcde")),
    "timm, full": {**ARCHITECTURE, "num_features": 320, "global_pool": "avg", "pretrained_cfg": PREPARED},
    "timm, flat": {**ARCHITECTURE, **PREPARED},
    "timm, architecture alone": ARCHITECTURE,
    "timm, classes alone": {"num_classes": 5},
    "timm, empty pretrained_cfg": {**ARCHITECTURE, "pretrained_cfg": {}},
    "timm, pretrained_cfg alone": {"pretrained_cfg": {**ARCHITECTURE, **PREPARED}},
    "timm, no input_size": {**ARCHITECTURE, "pretrained_cfg": {**PREPARED, "input_size": None}},
    "timm, no interpolation": {**ARCHITECTURE, "pretrained_cfg": {**PREPARED, "interpolation": None}},
    "timm, crop_pct alone": {**ARCHITECTURE, "pretrained_cfg": {"crop_pct": 0.9}},
    "none": None,
}
SIZES = {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}}
PROCESSORS = {  # (the file, whether it says BGR)
    "absent": (None, None),
    "BGR": ({**SIZES, "do_flip_channel_order": True}, True),
    "RGB, old name": ({**SIZES, "do_flip_channels": False, "do_flip_channel_order": None}, False),
    "no key": (SIZES, None),
}


def pairs(schemes, configs, processors):
    """Some of the combinations, so that any two values of different kinds meet in one."""
    numbers = product(range(len(configs)), range(len(processors)))
    return [(schemes[(i + j) % len(schemes)], [*configs][i], [*processors][j]) for i, j in numbers]


COMBINATIONS = pairs(names.SCHEMES, CONFIGS, PROCESSORS)
PHOTO = photo()
PLACES_OF = ("folder", "file", "bin", "hub")


def order_of(scheme, flip):
    return names.CHANNEL_ORDER[scheme] if flip is None else "BGR" if flip else "RGB"


def written(folder, scheme, config, processor, order, *, tensors=None, weights="model.safetensors"):
    """The network in a folder, its stem as ``order`` has it."""
    tensors = TENSORS if tensors is None else tensors
    tensors = names.from_hugging_face(tensors if order == "BGR" else names.flip_stem(tensors), scheme)
    folder.mkdir(parents=True)
    pickled = not weights.endswith(".safetensors")
    (folder / weights).write_bytes(torch_file(tensors) if pickled else safetensors_file(tensors))
    for name, content in (("config.json", config), ("preprocessor_config.json", processor)):
        if content is not None:
            (folder / name).write_text(json.dumps(content))
    return folder


def placed(tmp_path, monkeypatch, kind, *form):
    """Where a checkpoint is opened from: a folder, one of its files, or a hub id in the cache."""
    if kind == "hub":
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        root, commit = tmp_path / "hub" / "models--owner--name", "0123456789abcdef0123456789abcdef01234567"
        written(root / "snapshots" / commit, *form)
        (root / "refs").mkdir()
        (root / "refs" / "main").write_text(commit)
        return "owner/name"
    weights = "pytorch_model.bin" if kind == "bin" else "model.safetensors"
    folder = written(tmp_path / "model", *form, weights=weights)
    return folder if kind == "folder" else folder / weights


@pytest.fixture(scope="module", autouse=True)
def narrow():
    """What ``mobilevit_xxs`` names is as narrow as the network drawn here: of the order, widths say nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VARIANTS, "xx_small", NARROW)
        yield


@pytest.fixture(scope="module")
def bgr(tmp_path_factory):
    """The logits of the BGR network for the photo, prepared by a profile but for the order; a mistake would show."""
    folder = written(tmp_path_factory.mktemp("bgr") / "model", names.HUGGING_FACE, CONFIGS["Hugging Face"], None, "BGR")
    checkpoint = open_checkpoint(folder)

    @cache
    def logits(profile):
        right, wrong = (
            Classifier(checkpoint, profile=replace(profile, flip_channels=flip), engine="fast")(PHOTO).logits
            for flip in (True, False)
        )
        assert np.abs(right - wrong).max() > 1e-3 * np.abs(right).max()
        return right

    return lambda profile: logits(replace(profile, name="", flip_channels=True))


def close(answer, expected):
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def assert_right(where, bgr):
    checkpoint = open_checkpoint(where)
    close(Classifier(checkpoint, engine="fast")(PHOTO).logits, bgr(checkpoint.profile))
    return checkpoint


@pytest.mark.parametrize(("scheme", "config", "processor"), COMBINATIONS)
def test_every_form_is_shown_its_own_order(scheme, config, processor, bgr, tmp_path, monkeypatch):
    settings, flip = PROCESSORS[processor]
    number = COMBINATIONS.index((scheme, config, processor))
    form = (scheme, CONFIGS[config], settings, order_of(scheme, flip))
    kind = PLACES_OF[number % (3 if CONFIGS[config] is None else 4)]  # a cache without a config.json warns
    where = placed(tmp_path, monkeypatch, kind, *form)
    assert assert_right(where, bgr).channel_order == form[3]
    out = tmp_path / ("converted", "converted.safetensors")[number % 2]
    convert(where, out, scheme=names.SCHEMES[number // 2 % 3])
    after = assert_right(out, bgr)
    if (out / "preprocessor_config.json").exists():  # in a form that transformers reads, and saying the same
        processor = AutoImageProcessor.from_pretrained(out)
        assert processor.do_flip_channel_order == after.profile.flip_channels


@pytest.mark.parametrize(
    ("scheme", "config", "processor"),
    pairs(names.SCHEMES, ["Hugging Face", "timm, full", "timm, architecture alone", "none"], PROCESSORS),
)
def test_so_it_is_with_transformers_classes(scheme, config, processor, bgr, tmp_path, monkeypatch):
    settings, flip = PROCESSORS[processor]
    form = (scheme, CONFIGS[config], settings, order_of(scheme, flip))
    kind = "folder" if CONFIGS[config] is None or config == "timm, full" else "hub"
    where = placed(tmp_path, monkeypatch, kind, *form)
    model = MobileViTForImageClassification.from_pretrained(where, engine="fast")
    if settings is not None:
        pixels = AutoImageProcessor.from_pretrained(where)(PHOTO, return_tensors="np").pixel_values
        close(model(pixels).logits, bgr(open_checkpoint(where).profile)[None])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.save_pretrained(tmp_path / "saved")
    assert_right(tmp_path / "saved", bgr)


@pytest.mark.parametrize("scheme", names.SCHEMES)
@pytest.mark.parametrize("name", ["mine.safetensors", "mine.pt"])
def test_a_file_of_another_name_is_judged_by_its_names_alone(scheme, name, bgr, tmp_path):
    other = {"do_flip_channel_order": names.CHANNEL_ORDER[scheme] != "BGR"}
    form = (scheme, CONFIGS["timm, full"], other, names.CHANNEL_ORDER[scheme])
    assert_right(written(tmp_path / "model", *form, weights=name) / name, bgr)


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("scheme", names.SCHEMES)
def test_int8_keeps_the_order(scheme, processor, bgr, tmp_path):
    settings, flip = PROCESSORS[processor]
    written(tmp_path / "model", scheme, CONFIGS["timm, full"], settings, order_of(scheme, flip))
    quantize(tmp_path / "model", tmp_path / "int8")
    checkpoint, original = open_checkpoint(tmp_path / "int8"), open_checkpoint(tmp_path / "model")
    stems = [each.tensors[names.STEM][:, :: 1 if each.profile.flip_channels else -1] for each in (checkpoint, original)]
    np.testing.assert_allclose(*stems, rtol=0, atol=0.01 * np.abs(stems[1]).max())


@pytest.mark.parametrize(
    ("scheme", "has_config", "processor"), pairs([names.HUGGING_FACE, names.ML_CVNETS], [True, False], PROCESSORS)
)
def test_segmenters(scheme, processor, has_config, tmp_path):
    settings, flip = PROCESSORS[processor]
    network = tiny_config("segmenter")
    tensors, config = init_parameters(network, "segmenter"), full_config(network, "segmenter", PLACES)
    save_checkpoint(tmp_path / "bgr", tensors, config)
    written(
        tmp_path / "model", scheme, config if has_config else None, settings, order_of(scheme, flip), tensors=tensors
    )
    checkpoint = open_checkpoint(tmp_path / "model")
    answer = Segmenter(checkpoint)(PHOTO).logits
    right = replace(checkpoint.profile, flip_channels=True)
    bgr = replace(open_checkpoint(tmp_path / "bgr"), config=checkpoint.config)
    expected = Segmenter(bgr, profile=right)(PHOTO).logits
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert not np.allclose(answer, Segmenter(bgr, profile=replace(right, flip_channels=False))(PHOTO).logits, atol=1e-3)


# -- what isn't said, and what can't be ------------------------------------------------------------------------------


def test_a_config_that_says_nothing_of_photos_leaves_them_to_the_names(tmp_path):
    numbers = count()
    for config in ("timm, architecture alone", "timm, classes alone", "timm, empty pretrained_cfg"):
        for scheme, name in ((names.TIMM, "timm"), (names.HUGGING_FACE, "huggingface-classifier")):
            folder = written(tmp_path / str(next(numbers)), scheme, CONFIGS[config], None, names.CHANNEL_ORDER[scheme])
            assert open_checkpoint(folder).profile == PROFILES[name]


@pytest.mark.parametrize("key", ["do_flip_channel_order", "do_flip_channels"])
@pytest.mark.parametrize("value", ["yes", 2, [], 0.5])
def test_an_order_that_is_none_is_refused_on_opening(key, value, tmp_path):
    written(tmp_path / "model", names.TIMM, None, {key: value}, "RGB")
    for load in (open_checkpoint, AutoImageProcessor.from_pretrained):
        with pytest.raises(ConfigError, match=f"{key} must be true or false"):
            load(tmp_path / "model")


def test_a_processor_asks_the_weights_beside_it_and_says_where_it_cannot(tmp_path):
    folder = written(tmp_path / "model", names.TIMM, None, SIZES, "RGB")
    for where in (folder, str(folder), folder / "preprocessor_config.json"):
        assert AutoImageProcessor.from_pretrained(where).do_flip_channel_order is False
    assert AutoImageProcessor.from_pretrained(folder, do_flip_channel_order=True).do_flip_channel_order is True
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="doesn't say do_flip_channel_order"):
        AutoImageProcessor.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    assert AutoImageProcessor.from_pretrained(folder).do_flip_channel_order is True  # the page's default


def test_a_processor_saved_first_stays_beside_a_model_that_takes_rgb(tmp_path):
    folder = written(tmp_path / "model", names.TIMM, CONFIGS["timm, full"], SIZES, "RGB")
    out = tmp_path / "out"
    AutoImageProcessor.from_pretrained(folder, image_mean=[0.5]).save_pretrained(out)
    MobileViTForImageClassification.from_pretrained(folder).save_pretrained(out)
    assert json.loads((out / "preprocessor_config.json").read_text())["image_mean"] == [0.5]
    AutoImageProcessor.from_pretrained(folder, do_flip_channel_order=True).save_pretrained(out)
    MobileViTForImageClassification.from_pretrained(folder).save_pretrained(out)
    assert open_checkpoint(out).channel_order == "RGB"
