"""Photo in, names out. Oracle: the reference network on the profile's pixels, and softmax written out."""

import io
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import CLASSES, SIDE, open_tiny, photo, plant, save_photo, save_tiny

import mobilevit_np
from mobilevit_np import Classifier, Segmenter
from mobilevit_np.errors import CheckpointError, ConfigError, ImageError, InputError
from mobilevit_np.model import classifier as reference
from mobilevit_np.pipelines import classifier as module
from mobilevit_np.pipelines import common
from mobilevit_np.preprocess import PROFILES, preprocess
from mobilevit_np.scope import Scope


def expected_logits(folder, pixels, profile=None, dtype=np.float64):
    checkpoint = open_tiny(folder, dtype)
    pixel_values = preprocess(pixels, profile or checkpoint.profile, dtype=dtype)
    return reference(pixel_values, Scope(checkpoint.tensors), checkpoint.config)[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_photo(tiny_classifier, dtype):
    answer = Classifier.from_pretrained(tiny_classifier, dtype=dtype, engine="reference")(photo(), top=3)
    expected = expected_logits(tiny_classifier, photo(), dtype=dtype)
    assert answer.logits.dtype == dtype
    np.testing.assert_array_equal(answer.logits, expected)  # the same steps: not a bit may differ
    exponentials = [math.exp(value) for value in expected]
    order = sorted(range(5), key=lambda i: -exponentials[i])[:3]
    assert [p.index for p in answer.predictions] == order
    assert [p.label for p in answer.predictions] == [CLASSES[i] for i in order]
    for p in answer.predictions:
        assert p.probability == pytest.approx(exponentials[p.index] / sum(exponentials), rel=1e-5)
    assert answer.label == CLASSES[order[0]]


def test_more_answers_than_classes_are_all_classes(tiny_classifier):
    answer = Classifier.from_pretrained(tiny_classifier)(photo(), top=99)
    assert sorted(p.label for p in answer.predictions) == sorted(CLASSES)
    assert sum(p.probability for p in answer.predictions) == pytest.approx(1, abs=1e-6)


KINDS = {  # (problem_type, classes): what a logit becomes, whether that's a probability
    (None, 5): ("single_label_classification", lambda x, all_: math.exp(x) / sum(map(math.exp, all_)), True),
    ("multi_label_classification", 5): ("multi_label_classification", lambda x, _: 1 / (1 + math.exp(-x)), True),
    (None, 1): ("multi_label_classification", lambda x, _: 1 / (1 + math.exp(-x)), True),
    ("single_label_classification", 1): ("multi_label_classification", lambda x, _: 1 / (1 + math.exp(-x)), True),
    ("regression", 1): ("regression", lambda x, _: x, False),
    ("regression", 3): ("regression", lambda x, _: x, False),
}


@pytest.mark.parametrize(("given", "classes"), KINDS)
def test_scores_are_what_problem_type_asks_for(tmp_path, given, classes):
    """Oracle: the reference's logits, and the three functions written out."""
    kind, function, probable = KINDS[given, classes]
    folder = save_tiny(tmp_path / "w", labels=CLASSES[:classes], fields={"problem_type": given} if given else {})
    answer = Classifier.from_pretrained(folder, dtype=np.float64)(photo(), top=2)
    logits = expected_logits(folder, photo()).tolist()
    order = sorted(range(classes), key=lambda i: -logits[i])[:2]
    assert answer.problem_type == kind
    assert [p.index for p in answer.predictions] == order
    assert [p.score for p in answer.predictions] == pytest.approx(
        [function(logits[i], logits) for i in order], rel=1e-12
    )
    for p in answer.predictions:
        assert p.is_probability == probable
        assert p.shown == (f"{p.score:.1%}" if probable else f"{p.score:.6g}")
        if probable:
            assert p.probability == p.score
        else:
            with pytest.raises(InputError, match="numbers, not probabilities; use score"):
                p.probability  # noqa: B018


@pytest.mark.parametrize("given", ["multi_label", "", 3, ["regression"]])
def test_a_problem_type_that_does_not_exist_is_refused_on_opening(tmp_path, given):
    folder = save_tiny(tmp_path / "w", fields={"problem_type": given})
    with pytest.raises(ConfigError, match=r"config\.json: problem_type must be one of regression, single_label_class"):
        Classifier.from_pretrained(folder)


def every_form(folder):
    path = save_photo(folder / "photo.png")
    data = path.read_bytes()
    return {
        "path": path,
        "text": str(path),
        "bytes": data,
        "bytearray": bytearray(data),
        "file": io.BytesIO(data),
        "image": Image.fromarray(photo()),
        "array": photo(),
        "float array": photo() / 255.0,
    }


@pytest.mark.parametrize("form", ["path", "text", "bytes", "bytearray", "file", "image", "array", "float array"])
def test_every_form_of_one_photo_gives_one_answer(tiny_classifier, tmp_path, form):
    answer = Classifier.from_pretrained(tiny_classifier, engine="reference")(every_form(tmp_path)[form])
    np.testing.assert_array_equal(answer.logits, expected_logits(tiny_classifier, photo(), dtype=np.float32))


@pytest.mark.parametrize(
    "collect", [list, tuple, iter, lambda photos: (p for p in photos), lambda p: dict(enumerate(p)).values()]
)
def test_collections_of_photos_give_lists(tiny_classifier, collect):
    photos = [photo(seed=i) for i in range(3)]
    classify = Classifier.from_pretrained(tiny_classifier, dtype=np.float64)
    answers = classify(collect(photos))
    assert isinstance(answers, list)
    for given, answer in zip(photos, answers, strict=True):
        np.testing.assert_allclose(answer.logits, classify(given).logits, rtol=1e-12, atol=1e-12)
    assert classify(collect([])) == []


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_photos_of_equal_size_run_together_and_each_gets_its_own_answer(tiny_classifier, monkeypatch, dtype, tolerance):
    batches = []

    def counting(pixel_values, scope, config):
        batches.append(pixel_values.shape)
        return reference(pixel_values, scope, config)

    plant(monkeypatch, "classifier", counting, "counting")
    photos = [photo(40 + i % 3, 50, seed=i) for i in range(11)]
    answers = Classifier.from_pretrained(tiny_classifier, dtype=dtype, engine="counting")(photos)
    assert batches == [(8, 3, SIDE, SIDE), (3, 3, SIDE, SIDE)]
    alone = [expected_logits(tiny_classifier, given, dtype=dtype) for given in photos]
    for answer, logits in zip(answers, alone, strict=True):
        np.testing.assert_allclose(answer.logits, logits, rtol=tolerance, atol=tolerance)
    assert np.abs(np.diff(alone, axis=0)).max(axis=1).min() > 100 * tolerance  # photos that could be told apart


def test_without_a_crop_sizes_differ_and_each_runs_with_its_like(tmp_path):
    settings = {"size": {"shortest_edge": SIDE}, "do_center_crop": False}
    classify = Classifier.from_pretrained(save_tiny(tmp_path / "w", preprocessing=settings), dtype=np.float64)
    photos = [photo(48, 48 + 16 * (i % 3), seed=i) for i in range(6)]
    for given, answer in zip(photos, classify(photos), strict=True):
        np.testing.assert_allclose(answer.logits, expected_logits(tmp_path / "w", given), rtol=1e-12, atol=1e-12)


def test_large_inputs_run_in_smaller_batches(tiny_classifier, monkeypatch):
    sizes = []

    def counting(pixel_values, scope, config):
        sizes.append(len(pixel_values))
        return reference(pixel_values, scope, config)

    monkeypatch.setattr(module, "BATCH_PIXELS", 3 * SIDE * SIDE)
    plant(monkeypatch, "classifier", counting, "counting")
    Classifier.from_pretrained(tiny_classifier, engine="counting")([photo()] * 8)
    assert sizes == [3, 3, 2]


@pytest.mark.parametrize("name", PROFILES)
def test_a_named_profile_replaces_the_checkpoints_own(tiny_classifier, monkeypatch, name):
    seen = []

    def looking(pixel_values, scope, config):
        seen.append(pixel_values)
        return np.zeros((len(pixel_values), 5), pixel_values.dtype)

    plant(monkeypatch, "classifier", looking, "looking")
    Classifier.from_pretrained(tiny_classifier, profile=name, engine="looking")(photo(120, 100))
    np.testing.assert_array_equal(seen[0], preprocess(photo(120, 100), PROFILES[name]))
    assert seen[0].shape[2:] == {"timm": (256, 256)}.get(name, (512, 512) if "segmenter" in name else (256, 256))


def test_a_profile_may_be_given_itself(tiny_classifier):
    answer = Classifier.from_pretrained(tiny_classifier, profile=PROFILES["timm"], engine="reference")(photo())
    expected = expected_logits(tiny_classifier, photo(), PROFILES["timm"], np.float32)
    np.testing.assert_array_equal(answer.logits, expected)
    assert not np.array_equal(expected, expected_logits(tiny_classifier, photo(), dtype=np.float32))


def test_stream_goes_on_after_an_error_and_call_does_not(tiny_classifier):
    classify = Classifier.from_pretrained(tiny_classifier)
    sources = [photo(seed=1), b"no photo", photo(seed=2)]
    (first, one), (second, error), (third, other) = classify.stream(iter(sources))
    assert [first is sources[0], second is sources[1], third is sources[2]] == [True] * 3
    assert isinstance(error, ImageError)
    assert one.logits.shape == other.logits.shape == (5,)
    with pytest.raises(ImageError, match="not a photo"):
        classify(sources)


def test_threads_do_not_disturb_each_other(tiny_classifier):
    classify = Classifier.from_pretrained(tiny_classifier, dtype=np.float64)
    photos = [photo(seed=i) for i in range(24)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(classify, photos))
    for given, answer in zip(photos, answers, strict=True):
        np.testing.assert_array_equal(answer.logits, classify(given).logits)


def test_what_it_knows(tiny_classifier, tmp_path):
    assert Classifier.from_pretrained(tiny_classifier).knows == "knows 5 classes: stone, paper, scissors ..."
    assert Classifier.from_pretrained(tiny_classifier).labels == CLASSES
    said = save_tiny(tmp_path / "said", fields={"knows": "cats and dogs only"})
    assert Classifier.from_pretrained(said).knows == "knows cats and dogs only"
    from mobilevit_np.labels import imagenet_labels

    imagenet = save_tiny(tmp_path / "imagenet", labels=imagenet_labels())
    assert Classifier.from_pretrained(imagenet).knows == "knows the 1000 classes of ImageNet"


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"dtype": "float16"}, InputError, "float32 or float64, not float16"),
        ({"dtype": "nonsense"}, InputError, "float32 or float64, not nonsense"),
        ({"dtype": None}, InputError, "float32 or float64, not None"),
        ({"engine": ["reference"]}, InputError, "no engine"),
        ({"engine": "steam"}, InputError, "no engine 'steam'; known are reference"),
        ({"profile": "vanilla"}, ConfigError, "no preprocessing profile 'vanilla'; there are huggingface-classifier"),
        ({"profile": 3}, ConfigError, "no preprocessing profile 3"),
        ({"profile": ["timm"]}, ConfigError, "no preprocessing profile"),
    ],
)
def test_impossible_options(tiny_classifier, options, kind, words):
    with pytest.raises(kind, match=words):
        Classifier.from_pretrained(tiny_classifier, **options)


@pytest.mark.parametrize("wrong", [0, -1, 2.0, "3", None, True])
def test_impossible_numbers(tiny_classifier, wrong):
    classify = Classifier.from_pretrained(tiny_classifier)
    with pytest.raises(InputError, match=f"top must be a whole number of at least 1, not {wrong!r}"):
        classify(photo(), top=wrong)
    with pytest.raises(InputError, match="top must be a whole number"):
        classify([], top=wrong)
    with pytest.raises(InputError, match="top must be a whole number"):
        classify.stream([photo()], wrong)
    with pytest.raises(InputError, match="batch_size must be a whole number of at least 1"):
        classify.stream([photo()], batch_size=wrong)


@pytest.mark.parametrize("one", ["photos/", Path("a.png"), b"bytes", photo(), Image.fromarray(photo())])
def test_a_stream_takes_several(one, tiny_classifier, tiny_segmenter):
    for pipeline in (Classifier.from_pretrained(tiny_classifier), Segmenter.from_pretrained(tiny_segmenter)):
        with pytest.raises(InputError, match="put one into a list"):
            pipeline.stream(one)
        assert len(list(pipeline.stream(np.stack([photo(), photo()])))) == 2


def test_checkpoints_for_another_task(tiny_segmenter, tmp_path):
    with pytest.raises(InputError, match="tiny-segmenter is a segmenter, not a classifier"):
        Classifier.from_pretrained(tiny_segmenter)
    with pytest.raises(InputError, match="takes 4 channels, and photos have 1 or 3"):
        Classifier.from_pretrained(save_tiny(tmp_path / "infrared", num_channels=4))


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_one_channel_takes_gray_photos(engine, tmp_path):
    """By Pillow's mode L, which has its own rounding; the other steps are the same as with three."""
    classify = Classifier.from_pretrained(save_tiny(tmp_path / "gray", num_channels=1), engine=engine)
    colored = Image.fromarray(photo())
    expected = classify(colored.convert("L")).logits
    np.testing.assert_array_equal(classify(colored).logits, expected)
    exact_checkpoint = open_tiny(tmp_path / "gray", dtype=np.float64)
    gray = np.asarray(colored.convert("L"))[:, :, None]
    pixel_values = preprocess(gray, classify.profile, dtype=np.float64)
    exact = reference(pixel_values, Scope(exact_checkpoint.tensors), exact_checkpoint.config)[0]
    np.testing.assert_allclose(classify(colored).logits, exact, rtol=0, atol=1e-5 * np.abs(exact).max())


def test_a_classifier_without_classes_is_refused(tmp_path):
    import json

    from safetensors.numpy import load_file, save_file

    folder = save_tiny(tmp_path / "headless")
    tensors = {k: v for k, v in load_file(folder / "model.safetensors").items() if not k.startswith("classifier.")}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config.update(num_labels=0, id2label={}, label2id={})
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="headless"):
        Classifier.from_pretrained(folder)


def test_weights_that_overflow_give_an_error_and_no_warning(tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = save_tiny(tmp_path / "huge")
    tensors = load_file(folder / "model.safetensors")
    tensors["mobilevit.conv_stem.convolution.weight"][:] = 3e38
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match="huge gives an answer that isn't a number"):
        Classifier.from_pretrained(folder)(photo())


def test_a_photo_too_large_for_the_settings_is_refused_before_memory_is(tmp_path):
    settings = {"do_resize": False, "do_center_crop": False}
    classify = Classifier.from_pretrained(save_tiny(tmp_path / "w", preprocessing=settings))
    assert classify(photo(33, 47)).logits.shape == (5,)
    with pytest.raises(InputError, match="1500x1000 pixels, and 1,048,576 is the most"):
        classify(np.zeros((1000, 1500, 3), np.uint8))


@pytest.mark.parametrize("patch_size", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_memory_of_attention_is_foreseen(tmp_path, patch_size, dtype):
    """Oracle: the largest array of probabilities that the reference network really makes, to the byte."""
    checkpoint = open_tiny(save_tiny(tmp_path / "w", patch_size=patch_size), dtype)
    sizes = []

    def measure(path, output):
        if path.endswith(".probabilities"):
            sizes.append(output.nbytes)

    for height, width in ((64, 64), (40, 100)):
        sizes.clear()
        pixel_values = np.zeros((1, 3, height, width), dtype)
        reference(pixel_values, Scope(checkpoint.tensors).listen(measure), checkpoint.config)
        assert common.probability_bytes(height, width, checkpoint.config, checkpoint.dtype) == max(sizes)


def test_a_network_whose_attention_would_take_gigabytes_is_refused(tmp_path):
    """Patches of one pixel at 1024x1024: the number of pixels would do, the probabilities would be gigabytes."""
    settings = {"do_resize": False, "do_center_crop": False}
    classify = Classifier.from_pretrained(save_tiny(tmp_path / "w", preprocessing=settings, patch_size=1))
    assert classify(photo(33, 47)).logits.shape == (5,)
    with pytest.raises(InputError, match="GB for one layer's attention over 1024x1024 pixels in float32") as caught:
        classify(np.zeros((1024, 1024, 3), np.uint8))
    assert "\n" not in str(caught.value)


def test_batches_are_smaller_where_attention_is_larger(tiny_classifier, monkeypatch):
    sizes = []

    def counting(pixel_values, scope, config):
        sizes.append(len(pixel_values))
        return reference(pixel_values, scope, config)

    plant(monkeypatch, "classifier", counting, "counting")
    classify = Classifier.from_pretrained(tiny_classifier, engine="counting")
    each = common.probability_bytes(SIDE, SIDE, classify.checkpoint.config, classify.checkpoint.dtype)
    monkeypatch.setattr(module, "MAX_ATTENTION_BYTES", 3 * each)
    classify([photo()] * 8)
    assert sizes == [3, 3, 2]


def test_the_names_are_at_the_top():
    assert mobilevit_np.Classifier is Classifier
    assert {"Classifier", "Segmenter"} <= set(dir(mobilevit_np))
    with pytest.raises(AttributeError, match="no attribute 'Clasifier'"):
        mobilevit_np.Clasifier  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'Clasifier'"):
        mobilevit_np.pipelines.Clasifier  # noqa: B018
