"""One script of the lines that transformers' users write, run against both libraries: only the import line differs.

Everything it finds is compared: words and shapes are equal, numbers to 1e-5 of the largest (float32 throughout), and
what is drawn at random by its shape. ``return_tensors="pt"`` gives PyTorch's tensors with either library; the models'
outputs are PyTorch's there and NumPy's here.
"""

import json

import drawing
import ml_dtypes
import numpy as np
import pytest
import torch
from fuzz.samples import tiny_config
from PIL import Image
from tiny import CLASSES, PLACES, photo

from mobilevit_np.checkpoints import parameter_shapes, save_checkpoint
from mobilevit_np.checkpoints.configurations import full_config

LIMIT = 1e-5
LIBRARIES = ("transformers", "mobilevit_np")
SETTINGS = {  # transformers 5 has other defaults than the page, and the file says all of them
    "size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}, "resample": 2, "do_resize": True,
    "do_rescale": True, "do_center_crop": True, "do_flip_channel_order": True,
    "image_processor_type": "MobileViTImageProcessor",
}  # fmt: skip
SCRIPT = """
import torch
from PIL import Image
from LIBRARY import (
    AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification, AutoModelForSemanticSegmentation,
    MobileViTConfig, MobileViTForImageClassification, MobileViTForSemanticSegmentation, MobileViTModel, pipeline,
)

# classify
image = Image.open(f"{home}/photo.png").convert("RGB")
processor = AutoImageProcessor.from_pretrained(f"{home}/classifier", use_fast=False)
model = AutoModelForImageClassification.from_pretrained(f"{home}/classifier", torch_dtype="auto", use_safetensors=True)
model.eval()
device = model.device
inputs = processor(images=image, return_tensors="pt").to(device)
found["pixel_values"] = inputs["pixel_values"]
with torch.no_grad():
    outputs = model(**inputs)
logits = outputs.logits
found["logits"] = logits
predicted = logits.argmax(-1).item()
found["label"] = model.config.id2label[predicted]
found["number"] = model.config.label2id[found["label"]]
found["states"] = model(**inputs, output_hidden_states=True).hidden_states
found["tuple"] = model(**inputs, return_dict=False)
found["loss"] = model(inputs.pixel_values, labels=torch.tensor([2])).loss
found["parameters"] = model.num_parameters(), sum(p.numel() for p in model.parameters() if p.requires_grad)
found["names"] = sorted(name for name, _ in model.named_parameters())
found["features"] = model.base_model(inputs["pixel_values"]).pooler_output

# several photos, their maps, and a dtype
batch = processor([image, image.rotate(90)], [Image.fromarray(mask)] * 2, return_tensors="pt")
found["batch"], found["labels"] = batch["pixel_values"], batch["labels"]
found["batch logits"] = model(batch["pixel_values"]).logits
found["double"] = model.to(torch.float64)(batch.to(torch.float64)["pixel_values"]).logits
model.float(), batch.to(torch.float32)

# segment
processor = AutoImageProcessor.from_pretrained(home, subfolder="segmenter", use_fast=False)
segmenter = AutoModelForSemanticSegmentation.from_pretrained(home, subfolder="segmenter")
inputs = processor(image, return_tensors="pt")
outputs = segmenter(**inputs)
found["segmenter"] = outputs.logits
found["map"] = processor.post_process_semantic_segmentation(outputs, target_sizes=[image.size[::-1]])[0]
found["segmenter loss"] = segmenter(batch["pixel_values"], labels=batch["labels"] % 3).loss

# save and load
model.save_pretrained(f"{out}/saved", safe_serialization=True)
processor.save_pretrained(f"{out}/saved")
again = MobileViTForImageClassification.from_pretrained(f"{out}/saved", local_files_only=True)
found["again"] = again(batch["pixel_values"]).logits
found["keys"] = sorted(again.state_dict())
again.load_state_dict(model.state_dict())
config = AutoConfig.from_pretrained(f"{out}/saved", output_hidden_states=True)
common = MobileViTConfig().to_diff_dict().keys() - {"transformers_version"}
found["config"] = {name: value for name, value in config.to_dict().items() if name in common}
config.to_json_file(f"{out}/config.json")
found["json"] = MobileViTConfig.from_json_file(f"{out}/config.json").to_diff_dict()["hidden_sizes"]
found["with config"] = len(MobileViTForImageClassification.from_pretrained(f"{out}/saved", config=config)(
    batch["pixel_values"]).hidden_states)

# another head
tuned, info = AutoModelForImageClassification.from_pretrained(
    f"{home}/classifier", num_labels=2, id2label={0: "no", 1: "yes"}, label2id={"no": 0, "yes": 1},
    ignore_mismatched_sizes=True, output_loading_info=True,
)
found["tuned"] = tuple(tuned(batch["pixel_values"]).logits.shape), tuned.config.id2label
found["mismatched"] = sorted((name, tuple(there), tuple(here)) for name, there, here in info["mismatched_keys"])
found["missing"] = list(info["missing_keys"]) + list(info["unexpected_keys"])
found["body"] = tuned.mobilevit(batch["pixel_values"])[1]
bare = AutoModel.from_pretrained(f"{home}/classifier")
found["bare"] = bare(batch["pixel_values"]).last_hidden_state
fresh = MobileViTModel(MobileViTConfig(hidden_sizes=[16, 24, 32]), expand_output=False)
found["fresh"] = fresh(batch["pixel_values"]).pooler_output

# pipelines
classify = pipeline("image-classification", model=f"{home}/classifier")
found["answers"] = classify(image), classify([image, image], top_k=2), classify(f"{home}/photo.png", top_k=99)
segment = pipeline("image-segmentation", model=f"{home}/segmenter")
found["pieces"] = [(each["label"], each["score"], each["mask"].tobytes()) for each in segment(image)]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A photo, a classifier's and a segmenter's folder, their parameters drawn so that no activation dies out."""
    home = tmp_path_factory.mktemp("home")
    Image.fromarray(photo(48, 60)).save(home / "photo.png")
    for task, labels in (("classifier", CLASSES), ("segmenter", PLACES)):
        config = tiny_config(task, num_labels=len(labels))
        shapes = parameter_shapes(config, task, counters=True)
        tensors = drawing.cast(drawing.draw_tensors(shapes, config, task), np.float32)
        save_checkpoint(home / task, tensors, full_config(config, task, labels), SETTINGS)
    return home


@pytest.fixture(scope="module")
def found(home, tmp_path_factory):
    results = {}
    for library in LIBRARIES:
        names = {"home": str(home), "out": str(tmp_path_factory.mktemp(library)), "found": {}, "mask": photo()[..., 0]}
        exec(compile(SCRIPT.replace("LIBRARY", library), f"script for {library}", "exec"), names)
        results[library] = names["found"]
    return results


def assert_equal(theirs, ours, name):
    if isinstance(theirs, dict):
        assert theirs.keys() == ours.keys(), name
        for key in theirs:
            assert_equal(theirs[key], ours[key], f"{name}, {key}")
    elif isinstance(theirs, (list, tuple)):
        assert len(theirs) == len(ours), name
        for i, (each, other) in enumerate(zip(theirs, ours, strict=True)):
            assert_equal(each, other, f"{name}, {i}")
    elif hasattr(theirs, "__array__") or isinstance(theirs, float):
        theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else np.asarray(theirs)
        ours = np.asarray(ours)
        assert (theirs.shape, theirs.dtype) == (ours.shape, ours.dtype), name
        assert np.abs(theirs - ours.astype(theirs.dtype)).max() <= LIMIT * np.abs(theirs).max(), name
    else:
        assert theirs == ours, name


@pytest.mark.filterwarnings("ignore")  # each library says in its own way that a head was drawn
def test_a_script_finds_the_same_with_either_library(found):
    theirs, ours = (found[library] for library in LIBRARIES)
    assert len(theirs) > 25
    assert_equal(theirs, ours, "found")


def test_files_saved_by_one_are_read_by_the_other(home, tmp_path):
    import transformers

    import mobilevit_np

    x = torch.rand(1, 3, 64, 64)
    for writer, reader in ((transformers, mobilevit_np), (mobilevit_np, transformers)):
        model = writer.MobileViTForImageClassification.from_pretrained(home / "classifier")
        model.save_pretrained(tmp_path / writer.__name__)
        again = reader.MobileViTForImageClassification.from_pretrained(tmp_path / writer.__name__)
        assert_equal(np.asarray(model.eval()(x).logits.tolist()), np.asarray(again(x).logits.tolist()), writer.__name__)
        written = json.loads((tmp_path / writer.__name__ / "config.json").read_text())
        assert written["architectures"] == ["MobileViTForImageClassification"]


def test_pytorch_s_tensors_come_in_as_they_are():
    """With a gradient, as bfloat16 (PyTorch's, and as JAX and TensorFlow lend it to NumPy), not contiguous."""
    from mobilevit_np import MobileViTConfig, MobileViTForImageClassification

    model = MobileViTForImageClassification(MobileViTConfig(**drawing.CUT_DOWN))
    x = torch.rand(1, 3, 48, 32)
    coarse = x.bfloat16()
    for given, plain in (
        (x.clone().requires_grad_() * 1, x),
        (coarse.requires_grad_(), coarse.detach().float()),
        (coarse.detach().float().numpy().astype(ml_dtypes.bfloat16), coarse.detach().float()),
        (x.transpose(2, 3), x.numpy().swapaxes(2, 3)),
    ):
        np.testing.assert_array_equal(model(given).logits, model(np.asarray(plain)).logits)
    with pytest.raises(ValueError, match="pixel_values can't be taken as an array"):
        model(x.to("meta"))
