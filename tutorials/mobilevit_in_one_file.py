"""MobileViT (arXiv 2110.02178) in one file: the classifier, the segmenter, and what they say of a photo.

    python tutorials/mobilevit_in_one_file.py weights/pets-xx-small tutorials/images/chelsea.png
    python tutorials/mobilevit_in_one_file.py weights/pets-deeplabv3-xx-small PHOTO [LOGITS.npy]

The folder holds model.safetensors with Hugging Face's names, and config.json and preprocessor_config.json like those of
the shipped weights. In place of a photo, a .npy file may hold pixel values in 0..1: (B, 3, H, W) of float32 or float64,
channels in the weights' order. The logits are written to LOGITS.npy, if named.

It reads from top to bottom: arithmetic, layers, networks, photos; chapters 1 to 9 beside it explain each step. A layer
takes its input and ``p``, its subtree of the checkpoint. At the root "classifier.weight" is p["classifier"]["weight"].

Axes: B batch, C O channels in and out, H W height and width, P pixels in a patch, N patches (tokens), D transformer
width, h heads, d width of a head, E expanded channels, F the feed-forward's width, A ASPP's channels, K classes.
"""

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image, ImageOps
from safetensors.numpy import load_file

# -- arithmetic: arrays in, arrays out ---------------------------------------------------------------------------------


def silu(x):  # (...) -> (...)
    """x * sigmoid(x), written so that no exponential overflows."""
    tail = np.exp(-np.abs(x))
    return x * (np.where(x >= 0, 1, tail) / (1 + tail))


ACTIVATIONS = {"silu": silu, "relu": lambda x: np.maximum(x, 0)}


def softmax(x):  # (..., N) -> (..., N)
    """Exponentials of the last axis, scaled to sum to 1. Without the maximum taken off first, they could overflow."""
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def linear(x, weight, bias=0):  # (..., D), (O, D), (O) -> (..., O)
    return x @ weight.T + bias


def batch_norm(x, weight, bias, running_mean, running_var, eps=1e-5):  # (B, C, H, W), four of (C) -> (B, C, H, W)
    """Normalize each channel by the mean and variance seen in training: just a scale and a shift."""
    scale = weight / np.sqrt(running_var + eps)
    shift = bias - running_mean * scale
    return scale[:, None, None] * x + shift[:, None, None]


def layer_norm(x, weight, bias, eps):  # (..., D), (D), (D) -> (..., D)
    """Normalize each token by the mean and variance of its own features."""
    centered = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centered).mean(axis=-1, keepdims=True)
    return weight * (centered / np.sqrt(variance + eps)) + bias


def conv2d(x, weight, bias=None, stride=1, dilation=1, groups=1):  # (B, C, H, W), (O, C/groups, k, k) -> (B, O, H', W')
    """Convolution, padded with zeros so that stride 1 keeps the size; depthwise where ``groups`` is C, and not 1."""
    out_channels, _, k, _ = weight.shape
    extent = dilation * (k - 1) + 1  # of the kernel with its gaps, an odd number
    x = np.pad(x, [(0, 0), (0, 0)] + 2 * [(extent // 2, extent // 2)])
    windows = sliding_window_view(x, (extent, extent), axis=(2, 3))  # every pixel's neighbors: a view, no copy
    windows = windows[:, :, ::stride, ::stride, ::dilation, ::dilation]  # (B, C, H', W', k, k)
    B, C, H, W = windows.shape[:4]
    if groups == 1:  # a matrix product over channels and neighbors: (O, C*k*k) @ (B, C*k*k, H'*W')
        columns = windows.transpose(0, 1, 4, 5, 2, 3).reshape(B, C * k * k, H * W)
        out = (weight.reshape(out_channels, C * k * k) @ columns).reshape(B, out_channels, H, W)
    else:  # each channel with its own kernel, tap by tap: summed in this order, the bits are the library's
        out = sum(windows[..., i, j] * weight[:, 0, i, j, None, None] for i, j in np.ndindex(k, k))
    return out if bias is None else out + bias[:, None, None]


def neighbors(size_in, size_out, dtype):  # -> three of (size_out)
    """For each output pixel: the source pixel before it, the one after it, and how far it lies between them."""
    source = np.maximum((np.arange(size_out) + 0.5) * (size_in / size_out) - 0.5, 0)
    before = np.minimum(source.astype(int), size_in - 1)
    after = np.minimum(before + 1, size_in - 1)
    return before, after, (source - before).astype(dtype)


def resize_bilinear(x, size):  # (B, C, H, W), (H', W') -> (B, C, H', W')
    """Linear interpolation along each axis; pixels are areas, not points (align_corners=False)."""
    if size == x.shape[2:]:
        return x
    top, bottom, down = neighbors(x.shape[2], size[0], x.dtype)
    left, right, across = neighbors(x.shape[3], size[1], x.dtype)
    x = x[:, :, top] * (1 - down[:, None]) + x[:, :, bottom] * down[:, None]  # (B, C, H, W) -> (B, C, H', W)
    return x[..., left] * (1 - across) + x[..., right] * across  # (B, C, H', W) -> (B, C, H', W')


def unfold_to_patches(x, patch):  # (B, D, H, W), the side of a patch -> (B*P, N, D)
    """Gather the pixels that share a position in their patch: the tokens that will attend to each other."""
    B, D, H, W = x.shape
    x = x.reshape(B, D, H // patch, patch, W // patch, patch)
    x = x.transpose(0, 3, 5, 2, 4, 1)  # (B, D, H/p, p, W/p, p) -> (B, p, p, H/p, W/p, D)
    return x.reshape(B * patch**2, -1, D)


def fold_from_patches(x, patch, size):  # (B*P, N, D), the side of a patch, (H, W) -> (B, D, H, W)
    """Put the pixels back where they were."""
    H, W = size
    x = x.reshape(-1, patch, patch, H // patch, W // patch, x.shape[2])
    x = x.transpose(0, 5, 3, 1, 4, 2)  # (B, p, p, H/p, W/p, D) -> (B, D, H/p, p, W/p, p)
    return x.reshape(*x.shape[:2], H, W)


# -- layers ------------------------------------------------------------------------------------------------------------


def conv_layer(x, p, act=None, **options):  # (B, C, H, W) -> (B, O, H', W')
    """Convolution, batch norm where the checkpoint has one, activation where one is named."""
    x = conv2d(x, **p["convolution"], **options)
    if "normalization" in p:
        x = batch_norm(x, **p["normalization"])
    return ACTIVATIONS[act](x) if act else x


def inverted_residual(x, p, config, stride=1, dilation=1):  # (B, C, H, W) -> (B, O, H', W')
    """Expand the channels, filter each one on its own, reduce them again (MobileNetV2)."""
    residual, act = x, config.hidden_act
    x = conv_layer(x, p["expand_1x1"], act)  # (B, C, H, W) -> (B, E, H, W)
    x = conv_layer(x, p["conv_3x3"], act, stride=stride, dilation=dilation, groups=x.shape[1])  # -> (B, E, H', W')
    x = conv_layer(x, p["reduce_1x1"])  # linear: an activation on so few channels loses information
    return residual + x if stride == 1 and residual.shape == x.shape else x


def attention(x, p, config):  # (B*P, N, D) -> (B*P, N, D)
    """What each token gathers from all the others, in several heads at once: softmax(q k^T / sqrt(d)) v."""
    BP, N, D = x.shape
    h = config.num_attention_heads
    projected = (linear(x, **p["attention"][name]) for name in ("query", "key", "value"))
    query, key, value = (each.reshape(BP, N, h, D // h).swapaxes(1, 2) for each in projected)  # each (B*P, h, N, d)
    scale = 1 / math.sqrt(D // h)  # not np.sqrt, whose float64 would make float32 float64
    probabilities = softmax(query @ key.swapaxes(2, 3) * scale)  # (B*P, h, N, d) @ (B*P, h, d, N) -> (B*P, h, N, N)
    x = probabilities @ value  # (B*P, h, N, N) @ (B*P, h, N, d) -> (B*P, h, N, d)
    return linear(x.swapaxes(1, 2).reshape(BP, N, D), **p["output"]["dense"])  # heads side by side: (B*P, N, D)


def transformer_layer(x, p, config):  # (B*P, N, D) -> (B*P, N, D)
    """``x += attention(norm(x))``, then ``x += feed_forward(norm(x))``."""
    eps = config.layer_norm_eps
    x = x + attention(layer_norm(x, **p["layernorm_before"], eps=eps), p["attention"], config)
    y = linear(layer_norm(x, **p["layernorm_after"], eps=eps), **p["intermediate"]["dense"])  # -> (B*P, N, F)
    return x + linear(ACTIVATIONS[config.hidden_act](y), **p["output"]["dense"])


def mobilevit_block(x, p, config):  # (B, C, H, W) -> (B, C, H, W)
    """Local features by convolution, global ones by a transformer, fused with the input (the paper's figure 1b)."""
    residual, act, patch = x, config.hidden_act, config.patch_size
    x = conv_layer(x, p["conv_kxk"], act)  # never dilated, whatever the output stride
    x = conv_layer(x, p["conv_1x1"])  # (B, C, H, W) -> (B, D, H, W)

    size = x.shape[2:]
    whole = tuple(math.ceil(side / patch) * patch for side in size)  # stretched to whole patches, not padded
    x = unfold_to_patches(resize_bilinear(x, whole), patch)  # (B, D, H, W) -> (B*P, N, D)
    for layer in p["transformer"]["layer"].values():
        x = transformer_layer(x, layer, config)
    x = layer_norm(x, **p["layernorm"], eps=config.layer_norm_eps)
    x = resize_bilinear(fold_from_patches(x, patch, whole), size)  # (B*P, N, D) -> (B, D, H, W)

    x = conv_layer(x, p["conv_projection"], act)  # (B, D, H, W) -> (B, C, H, W)
    x = np.concatenate([residual, x], axis=1)  # the residual first: several ports have it the other way round
    return conv_layer(x, p["fusion"], act)  # (B, 2C, H, W) -> (B, C, H, W)


def aspp(x, p, config):  # (B, C, H, W) -> (B, A, H, W)
    """Five views of the map, from one pixel to the whole, projected together. ReLU, whatever the backbone has."""
    pixel, *atrous, pooling = p["convs"].values()
    views = [conv_layer(x, pixel, "relu")]
    views += [conv_layer(x, conv, "relu", dilation=d) for conv, d in zip(atrous, config.atrous_rates, strict=True)]
    mean = conv_layer(x.mean(axis=(2, 3), keepdims=True), pooling["conv_1x1"], "relu")  # -> (B, A, 1, 1)
    views += [resize_bilinear(mean, x.shape[2:])]
    return conv_layer(np.concatenate(views, axis=1), p["project"], "relu")  # (B, 5A, H, W) -> (B, A, H, W)


# -- networks ----------------------------------------------------------------------------------------------------------

DOWNSAMPLING = {  # by output stride: (stride, dilation) at the start of L3, L4 and L5
    32: ((2, 1), (2, 1), (2, 1)),
    16: ((2, 1), (2, 1), (1, 1)),
    8: ((2, 1), (1, 1), (1, 2)),
}


def backbone(pixel_values, p, config):  # (B, 3, H, W) -> (B, C, H/output_stride, W/output_stride)
    """A stem that halves the photo, two stages of inverted residuals alone, three with a MobileViT block."""
    x = conv_layer(pixel_values, p["conv_stem"], config.hidden_act, stride=2)  # -> (B, C, H/2, W/2)
    L1, L2, *rest = p["encoder"]["layer"].values()
    for stage, strides in ((L1, (1,)), (L2, (2, 1, 1))):  # -> (B, C, H/2, W/2) -> (B, C, H/4, W/4)
        for layer, stride in zip(stage["layer"].values(), strides, strict=True):
            x = inverted_residual(x, layer, config, stride=stride)
    for stage, (stride, dilation) in zip(rest, DOWNSAMPLING[config.output_stride], strict=True):  # L3 to L5
        x = inverted_residual(x, stage["downsampling_layer"], config, stride=stride, dilation=dilation)
        x = mobilevit_block(x, stage, config)
    return x


def classifier(pixel_values, p, config):  # (B, 3, H, W) -> (B, K)
    """A score for each class: logits, no softmax."""
    x = backbone(pixel_values, p["mobilevit"], config)
    x = conv_layer(x, p["mobilevit"]["conv_1x1_exp"], config.hidden_act)  # (B, C, H', W') -> (B, E, H', W')
    return linear(x.mean(axis=(2, 3)), **p["classifier"])  # (B, E) -> (B, K)


def segmenter(pixel_values, p, config):  # (B, 3, H, W) -> (B, K, H/output_stride, W/output_stride)
    """A score for each class and place: DeepLabV3 on the backbone's last map."""
    x = backbone(pixel_values, p["mobilevit"], config)
    x = aspp(x, p["segmentation_head"]["aspp"], config)
    return conv_layer(x, p["segmentation_head"]["classifier"])  # (B, A, H', W') -> (B, K, H', W')


# -- from a photo to an answer -----------------------------------------------------------------------------------------


def tree(tensors, dtype=np.float32):
    """Tensors by name as nested dictionaries; layers are gone through in the order of their (one-digit) numbers."""
    root = {}
    for name in sorted(tensors):
        *path, last = name.split(".")
        node = root
        for key in path:
            node = node.setdefault(key, {})
        if last != "num_batches_tracked":  # of batch norm's training
            node[last] = tensors[name].astype(dtype)
    return root


def decode(path):  # -> (H, W, 3), uint8
    """A photo as a viewer shows it: upright, white where it is transparent."""
    with Image.open(path) as image:
        rgba = np.asarray(ImageOps.exif_transpose(image).convert("RGBA")).astype(np.uint16)
    color, alpha = rgba[..., :3], rgba[..., 3:]
    return ((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def resized(photo, size, config):  # (H, W, 3), (H', W') -> (1, 3, H', W')
    """Pixel values in 0..1, channels first, BGR where the weights were trained on that."""
    photo = Image.fromarray(photo).resize((size[1], size[0]), config.resample)
    x = (np.asarray(photo) * config.rescale_factor).astype(np.float32).transpose(2, 0, 1)[None]
    return x[:, ::-1] if config.do_flip_channel_order else x


def center_crop(photo, config):  # (H, W, 3) -> (1, 3, H', W')
    """What a classifier sees: the short side resized, and the middle cropped."""
    short, crop = config.size["shortest_edge"], config.crop_size
    H, W = (int(side * short / min(photo.shape[:2])) for side in photo.shape[:2])
    top, left = (H - crop["height"]) // 2, (W - crop["width"]) // 2
    return resized(photo, (H, W), config)[:, :, top : top + crop["height"], left : left + crop["width"]]


def whole_photo(photo, config):  # (H, W, 3) -> (1, 3, H', W')
    """What a segmenter sees: all of it, the short side as long as a crop's, both in multiples of 32."""
    short = min(config.crop_size.values())
    H, W = (round(side * short / min(photo.shape[:2]) / 32) * 32 for side in photo.shape[:2])
    if max(H, W) > 2 * short:
        sys.exit("a photo longer than 2:1 is segmented in windows, which only `mobilevit-np segment` does: crop it")
    return resized(photo, (H, W), config)


def main(model, source, target=None):
    """Print the likeliest classes of a classifier, or how much of the photo each class of a segmenter covers."""
    folder = Path(model) if Path(model).is_dir() else Path(model).parent
    config = SimpleNamespace()
    for name in ("config.json", "preprocessor_config.json"):
        vars(config).update(json.loads((folder / name).read_text(encoding="utf-8")))
    tensors = load_file(folder / "model.safetensors")
    network, prepare = (classifier, center_crop) if "classifier.weight" in tensors else (segmenter, whole_photo)
    if source.endswith(".npy"):
        pixel_values = np.load(source)
        size = pixel_values.shape[2:]
    else:
        photo = decode(source)
        pixel_values, size = prepare(photo, config), photo.shape[:2]
    logits = network(pixel_values, tree(tensors, pixel_values.dtype), config)
    if network is classifier:
        scores, shown = softmax(logits[0]), 5
    else:
        best = resize_bilinear(logits, size).argmax(axis=1)[0]  # (B, K, H', W') -> (H, W)
        scores = np.bincount(best.ravel(), minlength=logits.shape[1]) / best.size
        shown = np.count_nonzero(scores)
    for i in np.argsort(-scores, kind="stable")[:shown]:
        print(f"{scores[i]:6.1%}  {config.id2label[str(i)]}")
    if target:
        np.save(target, logits)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except OSError as error:  # no such file, or no photo
        sys.exit(str(error))
