"""Checkpoints against the real thing: files that torch, transformers and timm wrote, and a hub on loopback."""

import argparse
import collections
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import huggingface_hub
import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from hooks import of_transformers, outputs_of
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import (
    MobileViTConfig,
    MobileViTForImageClassification,
    MobileViTForSemanticSegmentation,
    MobileViTModel,
)

from mobilevit_np import Classifier
from mobilevit_np import MobileViTModel as OurModel
from mobilevit_np.checkpoints import convert, init_parameters, open_checkpoint, parameter_shapes, save_checkpoint
from mobilevit_np.checkpoints import parameter_names as names
from mobilevit_np.checkpoints.wrappers import find_network
from mobilevit_np.config import VARIANTS, NetworkConfig
from mobilevit_np.errors import CheckpointError, MobileViTWarning
from mobilevit_np.formats.tensor_file import read_tensor_file
from mobilevit_np.model import NETWORKS
from mobilevit_np.scope import Scope

CLASSES = {
    "classifier": MobileViTForImageClassification,
    "segmenter": MobileViTForSemanticSegmentation,
    "backbone": MobileViTModel,
}
TIMM = {"mobilevit_xxs": "xx_small", "mobilevit_xs": "x_small", "mobilevit_s": "small"}


def live_model(task, seed=0, **fields):
    """A live transformers model with parameters of ours, so that BatchNorm's statistics aren't trivial."""
    network = NetworkConfig(**fields)
    model = CLASSES[task](MobileViTConfig(**fields))
    drawn = init_parameters(network, task, seed)
    model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in drawn.items()})
    return model.eval()


def same(ours, theirs):
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert ours[name].shape == tuple(tensor.shape), name
        assert ours[name].dtype == tensor.numpy().dtype, name
        assert ours[name].tobytes() == tensor.contiguous().numpy().tobytes(), name


# -- The list of tensors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", CLASSES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_shapes_are_those_of_live_models_in_their_order(task, variant):
    fields = {**VARIANTS[variant], "num_labels": 21}
    live = {name: tuple(tensor.shape) for name, tensor in CLASSES[task](MobileViTConfig(**fields)).state_dict().items()}
    assert list(parameter_shapes(NetworkConfig(**fields), task, counters=True).items()) == list(live.items())


@settings(max_examples=25)
@given(st.data())
def test_shapes_of_drawn_configurations(data):
    draw = data.draw
    widths = st.integers(1, 40)
    fields = {
        "num_channels": draw(st.integers(1, 4)),
        "num_attention_heads": 2,
        "hidden_sizes": [2 * draw(st.integers(1, 20)) for _ in range(3)],
        "neck_hidden_sizes": [draw(widths) for _ in range(7)],
        "mlp_ratio": draw(st.sampled_from([0.5, 1.3, 2.0, 3.7])),
        "expand_ratio": draw(st.sampled_from([0.5, 1.0, 1.7, 2.0, 4.0])),
        "conv_kernel_size": draw(st.sampled_from([1, 3, 5])),
        "qkv_bias": draw(st.booleans()),
        "hidden_act": draw(st.sampled_from(["silu", "gelu", "prelu", "xielu"])),
        "aspp_out_channels": draw(widths),
        "num_labels": draw(widths),
        "output_stride": draw(st.sampled_from([8, 16, 32])),
    }
    task = draw(st.sampled_from(list(CLASSES)))
    live = {name: tuple(tensor.shape) for name, tensor in CLASSES[task](MobileViTConfig(**fields)).state_dict().items()}
    assert parameter_shapes(NetworkConfig(**fields), task, counters=True) == live


def test_shapes_without_expansion_and_without_classes():
    live = MobileViTModel(MobileViTConfig(), expand_output=False).state_dict()
    assert list(parameter_shapes(NetworkConfig(), "backbone", expand_output=False, counters=True)) == list(live)
    live = MobileViTForImageClassification(MobileViTConfig(num_labels=0)).state_dict()
    assert list(parameter_shapes(NetworkConfig(num_labels=0), "classifier", counters=True)) == list(live)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("task", CLASSES)
def test_drawn_parameters_keep_every_layer_at_order_one(task, variant):
    fields = {**VARIANTS[variant], "num_labels": 21, "output_stride": 16 if task == "segmenter" else 32}
    pixel_values = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)).numpy()
    seen = outputs_of(live_model(task, **fields), pixel_values, of_transformers)
    sizes = {name: np.sqrt(np.square(each).mean()) for name, each in seen.items() if "probabilities" not in name}
    assert len(sizes) > 250
    assert min(sizes.values()) > 0.1, min(sizes, key=sizes.get)
    assert max(sizes.values()) < 5, max(sizes, key=sizes.get)


# -- Names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "hf", "other"), [("classifier", 347, 311), ("segmenter", 377, 341), ("backbone", 345, 309)]
)
def test_key_counts(task, hf, other):
    state = CLASSES[task](MobileViTConfig(num_labels=21)).state_dict()
    assert len(state) == hf
    tensors = names.to_hugging_face({name: tensor.numpy() for name, tensor in state.items()}, names.HUGGING_FACE)
    assert len(names.from_hugging_face(tensors, names.ML_CVNETS)) == other


@pytest.mark.parametrize(("architecture", "variant"), TIMM.items())
def test_timms_names(architecture, variant):
    state = {name: tensor.numpy() for name, tensor in timm.create_model(architecture).state_dict().items()}
    assert len(state) == 311
    assert find_network(state).scheme == names.TIMM
    ours = names.to_hugging_face(state, names.TIMM)
    shapes = parameter_shapes(NetworkConfig(**VARIANTS[variant], num_labels=1000), "classifier", counters=True)
    assert {name: tensor.shape for name, tensor in ours.items()} == shapes
    back = names.from_hugging_face(ours, names.TIMM)
    assert set(back) == set(state)
    assert all(np.array_equal(back[name], tensor) for name, tensor in state.items())


# -- torch.save --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_dtype_that_torch_saves(protocol, tmp_path):
    dtypes = [
        torch.float64,
        torch.float32,
        torch.float16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    ]
    state = {str(dtype): torch.randn(3, 4).mul(50).to(dtype) for dtype in dtypes}
    state["empty"] = torch.zeros(0, 3)
    state["scalar"] = torch.tensor(3)
    torch.save(state, tmp_path / "x.pt", pickle_protocol=protocol)
    same(read_tensor_file(tmp_path / "x.pt").tensors, state)


def test_bfloat16_is_what_torch_makes_of_it(tmp_path):
    wide = torch.cat([torch.randn(1000) * 10.0**k for k in range(-40, 39, 6)])
    torch.save({"w": wide.bfloat16()}, tmp_path / "x.pt")
    safetensors.torch.save_file({"w": wide.bfloat16()}, tmp_path / "x.safetensors")
    for name in ("x.pt", "x.safetensors"):
        file = read_tensor_file(tmp_path / name)
        assert file.dtypes == {"w": "BF16"}
        assert file.tensors["w"].tobytes() == wide.bfloat16().float().numpy().tobytes()
    from mobilevit_np.formats.safetensors_file import serialize

    (tmp_path / "ours.safetensors").write_bytes(serialize({"w": wide.numpy()}, stored_as={"w": "BF16"}))
    assert torch.equal(safetensors.torch.load_file(tmp_path / "ours.safetensors")["w"], wide.bfloat16())


def test_views_shared_storages_and_memory_formats(tmp_path):
    base = torch.arange(240.0).reshape(2, 4, 5, 6)
    state = {
        "base": base,
        "again": base,
        "transposed": base.transpose(1, 3),
        "sliced": base[:, 1:3, ::2, 3:],
        "row": base[1, 2],
        "scalar": base[1, 2, 3, 4],
        "channels_last": base.clone().contiguous(memory_format=torch.channels_last),
        "parameter": torch.nn.Parameter(base + 1),
        "gradient": (base + 2).requires_grad_(),
    }
    torch.save(state, tmp_path / "x.pt")
    same(read_tensor_file(tmp_path / "x.pt").tensors, {name: tensor.detach() for name, tensor in state.items()})


def test_an_expanded_view_is_refused(tmp_path):
    torch.save({"w": torch.zeros(1).expand(1000)}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="overlaps itself"):
        read_tensor_file(tmp_path / "x.pt")


def test_files_without_sums(tmp_path):
    state = {"w": torch.arange(6.0)}
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, tmp_path / "x.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    same(read_tensor_file(tmp_path / "x.pt").tensors, state)


@pytest.mark.parametrize("protocol", [2, 4])
def test_the_format_from_before_1_6(protocol, tmp_path):
    base = torch.arange(24.0)
    state = {"whole": base, "view": base.view(2, 3, 4)[:, 1:, ::2], "half": base.half(), "scalar": torch.tensor(3)}
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False, pickle_protocol=protocol)
    same(read_tensor_file(tmp_path / "old.pt").tensors, state)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_a_torchscript_program_is_refused_with_the_way_out(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 3)).save(tmp_path / "program.pt")
    with pytest.raises(CheckpointError, match="TorchScript") as caught:
        read_tensor_file(tmp_path / "program.pt")
    code = str(caught.value).split("in PyTorch: ")[1]
    subprocess.run([sys.executable, "-c", f"import torch; {code}"], cwd=tmp_path, check=True)
    assert set(read_tensor_file(tmp_path / "weights.pt").tensors) == {"weight", "bias"}


def test_a_whole_module_is_refused_by_name(tmp_path):
    torch.save(torch.nn.Linear(2, 3), tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"a whole model .*torch\.nn\.modules\.linear\.Linear") as caught:
        read_tensor_file(tmp_path / "x.pt")
    code = str(caught.value).split("in PyTorch: ")[1].replace("whole.pt", "x.pt")
    subprocess.run([sys.executable, "-c", f"import torch; {code}"], cwd=tmp_path, check=True)
    assert set(read_tensor_file(tmp_path / "weights.pt").tensors) == {"weight", "bias"}


def test_a_real_training_checkpoint(tmp_path):
    model = live_model("classifier", **VARIANTS["xx_small"], num_labels=5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    averaged = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    model(torch.rand(1, 3, 64, 64)).logits.sum().backward()
    optimizer.step()
    averaged.update_parameters(model)
    model(torch.rand(1, 3, 64, 64)).logits.sum().backward()
    optimizer.step()
    averaged.update_parameters(model)
    torch.save(
        {
            "epoch": 3,
            "state_dict": torch.nn.DataParallel(model).state_dict(),
            "state_dict_ema": averaged.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scaler": torch.amp.GradScaler("cpu").state_dict(),
            "args": argparse.Namespace(
                lr=1e-3, out=Path("/tmp/out"), names=["a"], device=torch.device("cpu"), dtype=torch.float32
            ),
            "metric": np.float64(0.5),
            "history": collections.defaultdict(list, loss=[1.0]),
            "counts": np.arange(3),
            "rng": torch.get_rng_state(),
        },
        tmp_path / "last.pth.tar",
    )
    with pytest.warns(MobileViTWarning, match=r"left out: optimizer .*, rng .*, state_dict \(347 tensors, a network"):
        checkpoint = open_checkpoint(tmp_path / "last.pth.tar")
    assert checkpoint.provenance.chosen == "state_dict_ema"
    same(checkpoint.tensors, averaged.module.state_dict())
    with pytest.warns(MobileViTWarning, match="state_dict_ema"):
        plain = open_checkpoint(tmp_path / "last.pth.tar", use_ema=False)
    same(plain.tensors, model.state_dict())
    name = "mobilevit.conv_stem.convolution.weight"
    assert not np.array_equal(plain.tensors[name], checkpoint.tensors[name])


# -- Whole checkpoints -------------------------------------------------------------------------------------------------


def logits(checkpoint, pixels):
    return NETWORKS[checkpoint.task](pixels, Scope(checkpoint.tensors), checkpoint.config)


PIXELS = np.random.default_rng(0).random((1, 3, 64, 96))


def close(ours, theirs):
    # float64 on both sides: they differ by the order of sums only
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("form", ["folder", "bin", "alone"])
@pytest.mark.parametrize("task", ["classifier", "segmenter"])
def test_what_transformers_saved_gives_its_logits(task, form, tmp_path):
    # "alone" has no config.json: the stride of a segmenter is then 16 by convention
    fields = {**VARIANTS["x_small"], "num_labels": 7, "output_stride": 16 if task == "segmenter" else 32}
    model = live_model(task, **fields)
    model.save_pretrained(tmp_path)
    if form != "folder":
        (tmp_path / "model.safetensors").unlink()
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    if form == "alone":
        (tmp_path / "config.json").unlink()
    checkpoint = open_checkpoint(tmp_path, dtype=np.float64)
    assert (checkpoint.task, checkpoint.variant, len(checkpoint.labels)) == (task, "x_small", 7)
    with torch.no_grad():
        theirs = model.double()(torch.from_numpy(PIXELS)).logits.numpy()
    close(logits(checkpoint, PIXELS), theirs)


def timm_model(architecture, **options):
    model = timm.create_model(architecture, **options).eval()
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.is_floating_point() and tensor.ndim == 1:
            tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return model


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_shards_that_transformers_wrote(variant, tmp_path):
    model = live_model("classifier", **VARIANTS["xx_small"], num_labels=5)
    model.save_pretrained(tmp_path, max_shard_size="1MB", variant=variant)
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    same(open_checkpoint(tmp_path, variant=variant).tensors, model.state_dict())


def test_shards_of_pickles(tmp_path):
    """As transformers wrote them until 5.0, with its library for it."""
    model = live_model("classifier", **VARIANTS["xx_small"], num_labels=5)
    huggingface_hub.save_torch_state_dict(model.state_dict(), tmp_path, max_shard_size="1MB", safe_serialization=False)
    assert (tmp_path / "pytorch_model.bin.index.json").is_file()
    same(open_checkpoint(tmp_path).tensors, model.state_dict())


class Task(torch.nn.Module):
    """What a training script wraps a network in."""

    def __init__(self, backbone, head=None):
        super().__init__()
        self.backbone = torch.compile(torch.nn.DataParallel(backbone), backend="eager")
        self.criterion = torch.nn.CrossEntropyLoss(weight=torch.ones(7))
        if head is not None:
            self.head = head


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize("bare", ["transformers", "timm"])
def test_a_bare_network_and_a_head_of_ones_own(bare, ending, tmp_path):
    head = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(320, 7))
    if bare == "timm":
        body = timm_model("mobilevit_xxs", num_classes=0)
    else:
        body = live_model("backbone", **VARIANTS["xx_small"])
    state = Task(body, head).eval().state_dict()
    path = tmp_path / f"w.{ending}"
    (torch.save if ending == "pt" else safetensors.torch.save_file)(state, path)
    with pytest.warns(MobileViTWarning, match=r"head is taken for its classifier; left out: criterion \(1 tensor\)"):
        checkpoint = open_checkpoint(path, dtype=np.float64)
    with torch.no_grad():
        pooled = body.double()(torch.from_numpy(PIXELS))
        theirs = head.double().eval()(pooled if bare == "timm" else pooled.pooler_output).numpy()
    close(logits(checkpoint, PIXELS), theirs)


@pytest.mark.parametrize("architecture", TIMM)
def test_what_timm_saved_gives_its_logits_and_so_does_what_we_make_of_it(architecture, tmp_path):
    model = timm_model(architecture, num_classes=9)
    timm.models.save_for_hf(model, tmp_path / "timm", model_config={})
    with torch.no_grad():
        theirs = model.double()(torch.from_numpy(PIXELS)).numpy()
    checkpoint = open_checkpoint(tmp_path / "timm", dtype=np.float64)
    assert (checkpoint.channel_order, checkpoint.variant, checkpoint.config.num_labels) == (
        "RGB",
        TIMM[architecture],
        9,
    )
    data = timm.data.resolve_model_data_config(model)
    assert checkpoint.profile.crop == data["input_size"][1:]
    assert checkpoint.profile.resample == data["interpolation"]
    assert checkpoint.profile.size == int(data["input_size"][1] / data["crop_pct"])
    close(logits(checkpoint, PIXELS), theirs)

    convert(tmp_path / "timm", tmp_path / "hf")
    flipped = np.ascontiguousarray(PIXELS[:, ::-1])  # RGB photos as BGR
    close(logits(open_checkpoint(tmp_path / "hf", dtype=np.float64), flipped), theirs)
    live = MobileViTForImageClassification.from_pretrained(tmp_path / "hf").eval().double()
    with torch.no_grad():
        close(live(torch.from_numpy(flipped)).logits.numpy(), theirs)


def test_what_we_convert_for_timm_is_loaded_by_timm(tmp_path):
    model = live_model("classifier", **VARIANTS["xx_small"], num_labels=9)
    model.save_pretrained(tmp_path / "hf")
    convert(tmp_path / "hf", tmp_path / "timm", scheme="timm")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval().double()
    with torch.no_grad():
        ours = model.double()(torch.from_numpy(np.ascontiguousarray(PIXELS[:, ::-1]))).logits.numpy()
        close(theirs(torch.from_numpy(PIXELS)).numpy(), ours)
    assert timm.data.resolve_model_data_config(theirs)["interpolation"] == "bilinear"


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_what_we_save_is_loaded_by_transformers_without_a_word(dtype, tmp_path, capfd):
    network = NetworkConfig(**VARIANTS["xx_small"], num_labels=3)
    from mobilevit_np.checkpoints.configurations import full_config

    drawn = init_parameters(network, "segmenter")
    save_checkpoint(tmp_path, drawn, full_config(network, "segmenter", ("a", "b", "c")), dtype=dtype)
    model, report = MobileViTForSemanticSegmentation.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}
    state = model.state_dict()
    assert state["segmentation_head.classifier.convolution.bias"].dtype == getattr(torch, dtype)
    for name, tensor in drawn.items():
        assert torch.equal(state[name], torch.from_numpy(tensor).to(state[name].dtype)), name


def test_a_bare_model_both_ways(tmp_path):
    model = live_model("classifier", **VARIANTS["xx_small"], num_labels=3)
    model.mobilevit.save_pretrained(tmp_path / "bare")
    bare = open_checkpoint(tmp_path / "bare")
    assert bare.task == "backbone"
    same(bare.tensors, model.mobilevit.state_dict())
    model.save_pretrained(tmp_path / "head")
    with pytest.warns(UserWarning, match="another head"):
        same(open_checkpoint(tmp_path / "head", task="backbone").tensors, model.mobilevit.state_dict())


@pytest.mark.parametrize("form", [{"features_only": True}, {"num_classes": 0}, {"num_classes": 0, "global_pool": ""}])
def test_timms_bare_networks(form, tmp_path):
    model = timm_model("mobilevit_xxs", **form)
    if "features_only" in form:
        torch.save(model.state_dict(), tmp_path / "w.pth")
    else:
        timm.models.save_for_hf(model, tmp_path, model_config={"global_pool": form.get("global_pool", "avg")})
    with torch.no_grad():
        theirs = model.double()(torch.from_numpy(PIXELS))
    ours = OurModel.from_pretrained(tmp_path, dtype="float64")(PIXELS, output_hidden_states=True)
    if "features_only" in form:  # its maps are those after L1..L4, and the expansion in L5's place
        for our_map, their_map in zip([*ours.hidden_states[:4], ours.last_hidden_state], theirs, strict=True):
            close(our_map, their_map.numpy())
    else:
        close(ours.last_hidden_state if form.get("global_pool") == "" else ours.pooler_output, theirs.numpy())


def test_a_folder_of_timms_saver(tmp_path):
    model = timm_model("mobilevit_xxs", num_classes=5)
    averaged = timm.utils.ModelEmaV3(model, decay=0.5)
    optimizer = torch.optim.AdamW(model.parameters())
    saver = timm.utils.CheckpointSaver(
        model, optimizer, args=argparse.Namespace(model="mobilevit_xxs", lr=0.1), model_ema=averaged,
        checkpoint_dir=str(tmp_path), recovery_dir=str(tmp_path),
    )  # fmt: skip
    model.head.fc.bias.data += 1
    for epoch, metric in enumerate([0.5, 0.7, 0.6]):
        saver.save_checkpoint(epoch, metric=metric)
        model.head.fc.bias.data += 1
    with pytest.warns(MobileViTWarning) as caught:
        checkpoint = open_checkpoint(tmp_path)
    assert "model_best.pth.tar is opened" in str(caught[0].message)
    assert checkpoint.provenance.chosen == "state_dict_ema"
    assert np.array_equal(checkpoint.tensors["classifier.bias"], averaged.module.head.fc.bias.detach().numpy())
    with pytest.warns(MobileViTWarning):
        plain = open_checkpoint(tmp_path, use_ema=False)
    last = model.head.fc.bias.detach().numpy()
    np.testing.assert_allclose(plain.tensors["classifier.bias"], last - 2, rtol=1e-6)  # after the second epoch


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_one_input_channel_and_a_photo(engine, tmp_path):
    """timm opens photos for such a network in Pillow's mode L; float32 against its float32."""
    model = timm_model("mobilevit_xxs", num_classes=5, in_chans=1)
    timm.models.save_for_hf(model, tmp_path, model_config={})
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 280, 3), np.uint8))
    settings = timm.data.resolve_model_data_config(model) | {"mean": (0.0,), "std": (1.0,)}
    with torch.no_grad():
        theirs = model(timm.data.create_transform(**settings)(photo.convert("L"))[None])[0].numpy()
    ours = Classifier.from_pretrained(tmp_path, engine=engine)(photo).logits
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())
    turned = Classifier.from_pretrained(tmp_path)(photo.rotate(90)).logits
    assert np.abs(ours - turned).max() > 1e-3 * np.abs(theirs).max()  # a hundred times what is allowed above


# -- The hub, on loopback ----------------------------------------------------------------------------------------------


class Hub(http.server.BaseHTTPRequestHandler):
    """The part of the hub's interface that a download of single files uses."""

    repositories: ClassVar[dict] = {}
    asked: ClassVar[list] = []
    COMMIT = "0123456789abcdef0123456789abcdef01234567"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        parts = self.path.strip("/").split("/")
        Hub.asked.append((self.command, self.path))
        if len(parts) >= 5 and parts[2] == "resolve":
            folder = self.repositories.get("/".join(parts[:2]))
            if folder is None:
                return self.refuse("RepoNotFound", 401)
            if parts[3] != "main":
                return self.refuse("RevisionNotFound", 404)
            path = folder / parts[4]
            if not path.is_file():
                return self.refuse("EntryNotFound", 404)
            return self.send(path.read_bytes(), body)
        return self.refuse("RepoNotFound", 404)

    def send(self, data, body):
        self.send_response(200)
        self.send_header("X-Repo-Commit", self.COMMIT)
        self.send_header("ETag", f'"{hash(data) & 0xFFFFFFFF:040x}"')
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/octet-stream")
        self.end_headers()
        if body:
            self.wfile.write(data)

    def refuse(self, code, status):
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", self.COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with an Apple-like repository (pickle only) and a timm-like one."""
    apple, timms = tmp_path / "apple", tmp_path / "timm"
    live_model("classifier", **VARIANTS["xx_small"], num_labels=3).save_pretrained(apple)
    tensors = safetensors.torch.load_file(apple / "model.safetensors")
    torch.save(tensors, apple / "pytorch_model.bin")
    (apple / "model.safetensors").unlink()
    (apple / "preprocessor_config.json").write_text(
        json.dumps({"do_flip_channels": True, "size": 288, "crop_size": 256})
    )
    timm.models.save_for_hf(timm_model("mobilevit_xxs", num_classes=9), timms, safe_serialization=True)
    Hub.repositories, Hub.asked = {"apple/mobilevit-xx-small": apple, "timm/mobilevit_xxs.cvnets_in1k": timms}, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("HF_HOME", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    yield tmp_path
    server.shutdown()
    server.server_close()


def test_an_apple_repository_is_downloaded_once(hub):
    checkpoint = open_checkpoint("apple/mobilevit-xx-small")
    source = checkpoint.provenance.source
    assert (source.kind, source.weights.name, checkpoint.name) == (
        "hub",
        "pytorch_model.bin",
        "apple/mobilevit-xx-small",
    )
    assert (checkpoint.variant, checkpoint.channel_order, checkpoint.profile.size) == ("xx_small", "BGR", 288)
    assert source.weights.parent.name == Hub.COMMIT
    assert any("model.safetensors" in path for _, path in Hub.asked)  # preferred, though it isn't there
    Hub.asked.clear()
    assert open_checkpoint("apple/mobilevit-xx-small").labels == checkpoint.labels
    assert Hub.asked == []


def test_a_timm_repository_is_downloaded(hub):
    checkpoint = open_checkpoint("timm/mobilevit_xxs.cvnets_in1k")
    assert (checkpoint.provenance.scheme, checkpoint.channel_order, checkpoint.config.num_labels) == ("timm", "RGB", 9)
    assert checkpoint.provenance.source.weights.name == "model.safetensors"
    assert checkpoint.profile.resample == "bicubic"


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("apple/nothing", {}, "no such public repository"),
        ("apple/mobilevit-xx-small", {"revision": "v9"}, "no revision 'v9'"),
    ],
)
def test_what_the_hub_does_not_have(name, options, says, hub):
    with pytest.raises(CheckpointError, match=says) as caught:
        open_checkpoint(name, **options)
    assert "\n" not in str(caught.value)


def test_offline_and_out_of_reach(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE"):
        open_checkpoint("apple/mobilevit-xx-small")
    assert Hub.asked == []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match="can't be reached") as caught:
        open_checkpoint("apple/mobilevit-xx-small")
    assert "\n" not in str(caught.value)


def test_the_cache_of_transformers_is_ours(hub):
    # What huggingface_hub itself put there is found without a download, and without the extra.
    import huggingface_hub

    for name in ("config.json", "pytorch_model.bin"):
        huggingface_hub.hf_hub_download(
            "apple/mobilevit-xx-small", name, endpoint=os.environ["HF_ENDPOINT"], cache_dir=os.environ["HF_HUB_CACHE"]
        )
    Hub.asked.clear()
    code = (
        "import sys; sys.modules['huggingface_hub'] = None\n"
        "from mobilevit_np.checkpoints import open_checkpoint\n"
        "print(open_checkpoint('apple/mobilevit-xx-small').variant)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "xx_small\n"
    assert Hub.asked == []
    shutil.rmtree(os.environ["HF_HUB_CACHE"])
