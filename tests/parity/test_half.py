"""float16 against float64, no further off than PyTorch's ``.half()`` on a CPU is: shipped networks, operations.

Oracle: the same computation by PyTorch in float64; what has to be beaten is PyTorch's in float16. The networks' float64
is that of the file's own weights, so the rounding of the weights counts too.
"""

import numpy as np
import pytest
import torch
import transformers
from oracle import TORCH_DTYPES
from PIL import Image
from test_activations import build
from tiny import REPOSITORY

from mobilevit_np import huggingface, ops
from mobilevit_np.checkpoints import open_checkpoint
from mobilevit_np.checkpoints.shipped import DEFAULTS
from mobilevit_np.checkpoints.shipped import shipped as shipped_models
from mobilevit_np.engines import ENGINES
from mobilevit_np.preprocess import preprocess

F = torch.nn.functional
CLASSES = {"classifier": "MobileViTForImageClassification", "segmenter": "MobileViTForSemanticSegmentation"}
HALF_STEP = 2.0**-11  # of the nearest float16, relative


@pytest.fixture(scope="module", params=DEFAULTS)
def shipped(request):
    """A shipped model three times over, and a real photo for it, as it is and in its corners' order reversed."""
    folder = shipped_models()[DEFAULTS[request.param]]
    photo = np.asarray(Image.open(REPOSITORY / "tutorials" / "images" / "chelsea.png").convert("RGB"))
    profile = open_checkpoint(folder).profile
    pixels = np.concatenate([preprocess(each, profile, dtype=np.float64) for each in (photo, photo[::-1, ::-1])])
    theirs = getattr(transformers, CLASSES[request.param])
    ours = getattr(huggingface, CLASSES[request.param])
    ours = {each: ours.from_pretrained(folder, dtype="float16", engine=each) for each in ENGINES}
    return theirs.from_pretrained(folder).double(), theirs.from_pretrained(folder).half(), ours, pixels


def off(found, exact) -> np.ndarray:
    """The largest error and the root of the mean square, of the largest magnitude."""
    difference = np.asarray(found, np.float64) - exact
    return np.array([np.abs(difference).max(), np.sqrt(np.square(difference).mean())]) / np.abs(exact).max()


@pytest.mark.parametrize("engine", ENGINES)
def test_shipped_networks(shipped, engine):
    exact_model, half_model, ours, pixels = shipped
    for photo in (pixels[:1], pixels[1:], pixels[:, :, :117, :163]):  # the last has maps of no whole patches
        with torch.no_grad():
            exact = exact_model(torch.from_numpy(photo)).logits.numpy()
            theirs = half_model(torch.from_numpy(photo.astype(np.float16))).logits.numpy()
        found = ours[engine](photo.astype(np.float16)).logits
        assert found.dtype == theirs.dtype == np.float16
        assert (off(found, exact) <= off(theirs, exact)).all(), f"{off(found, exact)}, PyTorch {off(theirs, exact)}"
        assert off(found, exact)[0] < 2e-3


def test_everything_that_a_float16_model_answers_is_float16(shipped):
    _, _, ours, pixels = shipped
    full = ours["reference"](pixels[:1].astype(np.float16), output_hidden_states=True, output_attentions=True)
    fast = ours["fast"](pixels[:1].astype(np.float16), output_hidden_states=True)
    for answer in (full.logits, *full.hidden_states, *full.attentions, fast.logits, *fast.hidden_states):
        assert answer.dtype == np.float16


@pytest.mark.parametrize("name", ops.ACTIVATIONS)
def test_every_float16_through_every_activation(name, monkeypatch):
    """Where PyTorch is off by a step more, its tanh has canceled: ours is never off by more than one."""
    monkeypatch.setitem(TORCH_DTYPES, np.float16, torch.float16)
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    with np.errstate(over="ignore", invalid="ignore"), torch.no_grad():
        module, parameters = build(name, np.float16)
        theirs = module(torch.from_numpy(x.copy())).numpy()
        exact = module.double()(torch.from_numpy(x.astype(np.float64))).numpy()
        ours = ops.ACTIVATIONS[name][0](x, *parameters)
        nearest = exact.astype(np.float16)
        finite = np.isfinite(nearest) & np.isfinite(x)
        assert np.array_equal(np.isfinite(ours[np.isfinite(x)]), finite[np.isfinite(x)])
        steps = np.abs(steps_of(ours[finite]) - steps_of(nearest[finite]))
        their_steps = np.abs(steps_of(theirs[finite]) - steps_of(nearest[finite]))
    assert steps.max() <= max(1, their_steps.max())
    assert np.isnan(ours[np.isnan(x)]).all()


def steps_of(halves: np.ndarray) -> np.ndarray:
    """Where each float16 stands in the row of all of them: neighbors differ by 1, and the two zeros by nothing."""
    bits = halves.view(np.int16).astype(np.int64)
    return np.where(bits < 0, -32768 - bits, bits)


def operations() -> dict:
    """Ours, PyTorch's, and operands in float16 on which float16's own sums overflow or lose digits."""
    rng = np.random.default_rng(0)

    def drawn(*shape, size=1.0, mean=0.0):
        return (mean + size * rng.standard_normal(shape)).astype(np.float16)

    channels, variance = drawn(6), np.abs(drawn(6)) + np.float16(0.1)
    logits, labels = drawn(4, 5, 6, 6, size=20), rng.integers(0, 5, (4, 6, 6))
    yes = rng.integers(0, 2, (64, 37)).astype(np.float16)
    return {
        "layer_norm": (ops.layer_norm, lambda x, w, b: F.layer_norm(x, x.shape[-1:], w, b),
                       (drawn(20, 144, size=900, mean=3000), drawn(144), drawn(144))),
        "batch_norm": (ops.batch_norm, lambda x, w, b, m, v: F.batch_norm(x, m, v, w, b),
                       (drawn(2, 6, 9, 9, size=300), channels, channels, drawn(6, size=300), variance)),
        "softmax": (ops.softmax, lambda x: F.softmax(x, -1), (drawn(8, 4096),)),
        "mean": (ops.global_average_pool, lambda x: x.mean((2, 3)), (drawn(2, 6, 64, 64, size=9, mean=900),)),
        "linear": (ops.linear, F.linear, (drawn(9, 2048), drawn(7, 2048), drawn(7))),
        "dense": (ops.conv2d, F.conv2d, (drawn(2, 96, 9, 9), drawn(8, 96, 3, 3), drawn(8))),
        "pointwise": (ops.conv2d, F.conv2d, (drawn(2, 640, 9, 9), drawn(8, 640, 1, 1))),
        "depthwise": (lambda x, w: ops.conv2d(x, w, groups=6), lambda x, w: F.conv2d(x, w, groups=6),
                      (drawn(2, 6, 19, 19, size=50), drawn(6, 1, 7, 7))),
        "resize": (lambda x: ops.resize_bilinear(x, (50, 37)),
                   lambda x: F.interpolate(x, (50, 37), mode="bilinear", align_corners=False), (drawn(1, 3, 9, 8),)),
        "cross_entropy": (lambda x: ops.cross_entropy(x, labels),
                          lambda x: F.cross_entropy(x, torch.from_numpy(labels)), (logits,)),
        "binary_cross_entropy": (ops.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits,
                                 (drawn(64, 37, size=20), yes)),
        "mean_squared_error": (ops.mean_squared_error, F.mse_loss, (drawn(64, 37, size=150), drawn(64, 37, size=150))),
        "attention": (lambda q, k, v: ops.multi_head_attention(q, k, v, 4)[0], attention,
                      tuple(drawn(2, 256, 64, size=size) for size in (3, 3, 1))),
    }  # fmt: skip


def attention(query, key, value):
    """What transformers' MobileViTSelfAttention does between its linear layers, 4 heads."""
    query, key, value = (x.reshape(2, 256, 4, 16).transpose(1, 2) for x in (query, key, value))
    probabilities = torch.softmax(query @ key.transpose(-1, -2) / 4, dim=-1)
    return (probabilities @ value).transpose(1, 2).reshape(2, 256, 64)


@pytest.mark.parametrize("name", operations())
def test_operations(name):
    ours, theirs, operands = operations()[name]
    exact = theirs(*(torch.from_numpy(x.astype(np.float64)) for x in operands)).numpy()
    half = theirs(*(torch.from_numpy(x) for x in operands)).numpy()
    found = ours(*operands)
    assert found.dtype == half.dtype == np.float16
    assert (off(found, exact) <= np.maximum(off(half, exact) * (1 + 1e-3), 1.01 * HALF_STEP)).all()
    assert off(found, exact)[0] <= 1.01 * HALF_STEP  # rounded once


def test_an_empty_batch_and_no_columns_as_in_pytorch():
    x, weight = np.ones((0, 3, 9, 9), np.float32), np.ones((4, 3, 3, 3), np.float32)
    assert ops.conv2d(x, weight, stride=2).shape == F.conv2d(*map(torch.from_numpy, (x, weight)), stride=2).shape
    assert ops.softmax(np.ones((2, 0))).shape == torch.softmax(torch.ones(2, 0), -1).shape
    assert np.isnan(ops.mean_squared_error(np.ones(0), np.ones(0)))
    assert torch.isnan(F.mse_loss(torch.ones(0), torch.ones(0)))
