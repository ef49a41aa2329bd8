"""The models under their TensorFlow names: calls as Keras models take them; the numbers are the other classes'."""

import drawing
import numpy as np
import pytest

from mobilevit_np import huggingface
from mobilevit_np.errors import InputError
from mobilevit_np.huggingface import MobileViTConfig

PAIRS = {
    "backbone": (huggingface.TFMobileViTModel, huggingface.MobileViTModel),
    "classifier": (huggingface.TFMobileViTForImageClassification, huggingface.MobileViTForImageClassification),
    "segmenter": (huggingface.TFMobileViTForSemanticSegmentation, huggingface.MobileViTForSemanticSegmentation),
}
LABELS = {"classifier": np.array([1, 0]), "segmenter": np.ones((2, 32, 32), np.int64)}
PHOTO = drawing.draw_pixels((2, 3, 32, 32)).astype(np.float32)


def pair(task, **values):
    config = MobileViTConfig(**drawing.CUT_DOWN, **values)
    return tuple(build(config) for build in PAIRS[task])


def same(ours, expected):
    if isinstance(expected, tuple):
        return len(ours) == len(expected) and all(map(same, ours, expected))
    return np.array_equal(ours.numpy(), np.reshape(expected, ours.shape))


@pytest.mark.parametrize("task", PAIRS)
def test_every_form_of_call(task):
    keras, plain = pair(task)
    expected = plain(PHOTO, output_hidden_states=True).to_tuple()
    before = {"pixel_values": PHOTO, "output_hidden_states": True}
    middle = (None, True) if task == "segmenter" else (True,)
    for output in (
        keras(**before),
        keras(before),
        keras(before, training=False),
        keras({"pixel_values": PHOTO}, output_hidden_states=True),
        keras(PHOTO, output_hidden_states=True),
        keras(PHOTO, *middle),
        keras([PHOTO, *middle]),
        keras((PHOTO, *middle)),
        keras([PHOTO], output_hidden_states=True, training=False),
    ):
        assert same(output.to_tuple(), expected)
        assert type(output) is type(plain(PHOTO))
    assert same(keras(before, return_dict=False), expected)
    assert isinstance(keras([PHOTO, *middle], return_dict=False), tuple)


@pytest.mark.parametrize("task", LABELS)
def test_the_loss_has_one_dimension(task):
    keras, plain = pair(task)
    output = keras(PHOTO, labels=LABELS[task])
    assert output.loss.shape == (1,)
    assert float(output.loss) == plain(PHOTO, labels=LABELS[task]).loss
    assert output[0] is output.loss
    order = (LABELS[task],) if task == "segmenter" else (False, LABELS[task])
    assert float(keras([PHOTO, *order])[0]) == float(output.loss)
    assert keras(PHOTO, labels=LABELS[task], return_dict=False)[0].shape == (1,)


def test_maps_stay_channels_first():
    keras, _ = pair("segmenter", num_labels=7)
    output = keras(PHOTO, output_hidden_states=True)
    assert output.logits.shape == (2, 7, 1, 1)
    assert [states.shape[1] for states in output.hidden_states] == drawing.CUT_DOWN["neck_hidden_sizes"][1:6]


def test_an_array_of_one_number_is_a_number():
    keras, plain = pair("classifier")
    logits = keras(PHOTO[:1]).logits
    assert int(np.argmax(logits, axis=-1)) == plain(PHOTO[:1]).logits.argmax()
    assert type(logits.numpy()) is np.ndarray
    with pytest.raises(ValueError, match="size 1"):
        int(logits)


def test_bare_model_without_expansion():
    model = huggingface.TFMobileViTModel(MobileViTConfig(**drawing.CUT_DOWN), expand_output=False)
    assert list(model(PHOTO)) == ["last_hidden_state"]
    assert len(model(PHOTO, return_dict=False)) == 1


def test_attentions_too():
    assert len(pair("classifier")[0]({"pixel_values": PHOTO}, output_attentions=True).attentions) == 9


@pytest.mark.parametrize("task", PAIRS)
@pytest.mark.parametrize(
    ("positional", "named", "message"),
    [
        ((), {}, "You have to specify pixel_values"),
        (([],), {}, "You have to specify pixel_values"),
        (({},), {}, "You have to specify pixel_values"),
        ((PHOTO,), {"training": True}, "training"),
        (({"pixel_values": PHOTO, "training": True},), {}, "training"),
        (({"pixel_values": PHOTO},), {"pixel_values": PHOTO}, "twice"),
        (({"pixels": PHOTO},), {}, "no input pixels"),
        ((PHOTO,), {"labelz": 1}, "no input labelz"),
        (([PHOTO] * 9,), {}, "9 inputs"),
        ((PHOTO,), {"engine": "fast"}, "no input engine"),
    ],
)
def test_wrong_calls(task, positional, named, message):
    with pytest.raises(InputError, match=message):
        pair(task)[0](*positional, **named)


def test_files_are_the_same(tmp_path):
    keras, plain = pair("classifier")
    keras.save_pretrained(tmp_path)
    again = huggingface.MobileViTForImageClassification.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again(PHOTO).logits, plain(PHOTO).logits)
    assert again.config.architectures == ["MobileViTForImageClassification"]
    assert same(PAIRS["classifier"][0].from_pretrained(tmp_path)(PHOTO).to_tuple(), keras(PHOTO).to_tuple())
