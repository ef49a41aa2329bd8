"""Naive twins: every operation again, as loops over single numbers straight from its definition.

The oracle of tests/test_ops_*.py. They share nothing with ``mobilevit_np.ops`` but the argument order, and compute in
Python's floats (float64) whatever comes in: slow, obvious, and right by reading.
"""

import math
from itertools import product

import numpy as np


def conv2d(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
    B, _, H, W = x.shape
    filters, per_group, kh, kw = weight.shape
    out_h = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    out_w = (W + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    out = np.empty((B, filters, out_h, out_w))
    for b, o, row, column in product(range(B), range(filters), range(out_h), range(out_w)):
        first = o // (filters // groups) * per_group  # the first input channel of this output's group
        total = 0.0 if bias is None else float(bias[o])
        for c, i, j in product(range(per_group), range(kh), range(kw)):
            y = row * stride - padding + i * dilation
            z = column * stride - padding + j * dilation
            if 0 <= y < H and 0 <= z < W:  # outside, the map is zero
                total += float(x[b, first + c, y, z]) * float(weight[o, c, i, j])
        out[b, o, row, column] = total
    return out


def batch_norm(x, weight, bias, running_mean, running_var, *, eps=1e-5):
    out = np.empty(x.shape)
    for b, c, i, j in np.ndindex(x.shape):
        normal = (float(x[b, c, i, j]) - float(running_mean[c])) / math.sqrt(float(running_var[c]) + eps)
        out[b, c, i, j] = normal * float(weight[c]) + float(bias[c])
    return out


def layer_norm(x, weight, bias, *, eps=1e-5):
    out = np.empty(x.shape)
    for token in np.ndindex(x.shape[:-1]):
        values = [float(v) for v in x[token]]
        mean = math.fsum(values) / len(values)
        variance = math.fsum((v - mean) ** 2 for v in values) / len(values)
        for d, v in enumerate(values):
            out[token][d] = (v - mean) / math.sqrt(variance + eps) * float(weight[d]) + float(bias[d])
    return out


def softmax(x):
    out = np.empty(x.shape)
    for token in np.ndindex(x.shape[:-1]):
        highest = max(float(v) for v in x[token])
        powers = [math.exp(float(v) - highest) for v in x[token]]
        out[token] = [p / math.fsum(powers) for p in powers]
    return out


def linear(x, weight, bias=None):
    out = np.empty((*x.shape[:-1], len(weight)))
    for token in np.ndindex(x.shape[:-1]):
        for o, row in enumerate(weight):
            total = math.fsum(float(v) * float(w) for v, w in zip(x[token], row, strict=True))
            out[token][o] = total + (0.0 if bias is None else float(bias[o]))
    return out


def split_heads(x, num_heads):
    B, N, D = x.shape
    out = np.empty((B, num_heads, N, D // num_heads))
    for b, h, n, d in np.ndindex(out.shape):
        out[b, h, n, d] = x[b, n, h * (D // num_heads) + d]
    return out


def merge_heads(x):
    B, h, N, d = x.shape
    out = np.empty((B, N, h * d))
    for b, head, n, i in np.ndindex(x.shape):
        out[b, n, head * d + i] = x[b, head, n, i]
    return out


def multi_head_attention(query, key, value, num_heads, *, scale=None):
    B, N, D = query.shape
    width = D // num_heads
    scale = 1 / math.sqrt(width) if scale is None else scale
    out, probabilities = np.zeros((B, N, D)), np.empty((B, num_heads, N, N))
    for b, h, n in product(range(B), range(num_heads), range(N)):
        mine = slice(h * width, (h + 1) * width)
        scores = [math.fsum(map(float, query[b, n, mine].astype(float) * key[b, m, mine])) * scale for m in range(N)]
        probabilities[b, h, n] = softmax(np.array([scores]))[0]
        for m in range(N):
            out[b, n, mine] += probabilities[b, h, n, m] * value[b, m, mine]
    return out, probabilities


def unfold_to_patches(x, patch_size):
    B, D, H, W = x.shape
    p = patch_size
    out = np.empty((B * p * p, (H // p) * (W // p), D))
    for b, d, row, column in np.ndindex(x.shape):
        place = row % p * p + column % p
        patch = row // p * (W // p) + column // p
        out[b * p * p + place, patch, d] = x[b, d, row, column]
    return out


def fold_from_patches(patches, patch_size, size):
    p, (H, W) = patch_size, size
    out = np.empty((len(patches) // (p * p), patches.shape[2], H, W))
    for b, d, row, column in np.ndindex(out.shape):
        place = row % p * p + column % p
        patch = row // p * (W // p) + column // p
        out[b, d, row, column] = patches[b * p * p + place, patch, d]
    return out


def resize_bilinear(x, size, *, align_corners=False):
    H, W = x.shape[2:]
    out = np.zeros((*x.shape[:2], *size))
    for row, column in np.ndindex(*size):
        for (y, down), (z, across) in product(
            _sources(row, H, size[0], align_corners), _sources(column, W, size[1], align_corners)
        ):
            out[:, :, row, column] += down * across * x[:, :, y, z].astype(float)
    return out


def _sources(i, size_in, size_out, align_corners):
    """The two source places of output place i, each with its share."""
    if align_corners:
        source = i * (size_in - 1) / (size_out - 1) if size_out > 1 else 0.0
    else:
        source = max((i + 0.5) * size_in / size_out - 0.5, 0.0)
    low = min(math.floor(source), size_in - 1)
    return (low, 1 - (source - low)), (min(low + 1, size_in - 1), source - low)


def global_pool(x, kind):
    out = global_average_pool(x)
    for b, c in np.ndindex(out.shape):
        largest = max(map(float, x[b, c].ravel()))
        out[b, c] = {"avg": out[b, c], "max": largest, "avgmax": (out[b, c] + largest) / 2}[kind]
    return out


def global_average_pool(x):
    out = np.empty(x.shape[:2])
    for b, c in np.ndindex(out.shape):
        out[b, c] = math.fsum(map(float, x[b, c].ravel())) / x[b, c].size
    return out


# -- losses ------------------------------------------------------------------------------------------------------------


def mean_squared_error(logits, labels):
    pairs = zip(logits.ravel(), labels.ravel(), strict=True)
    return math.fsum((float(a) - float(b)) ** 2 for a, b in pairs) / logits.size


def cross_entropy(logits, labels, *, ignore_index=-100):
    losses = []
    for place in np.ndindex(labels.shape):
        if labels[place] != ignore_index:
            scores = [float(v) for v in logits[(place[0], slice(None), *place[1:])]]
            highest = max(scores)
            log_sum = highest + math.log(math.fsum(math.exp(v - highest) for v in scores))
            losses.append(log_sum - scores[labels[place]])
    return math.fsum(losses) / len(losses) if losses else math.nan


def binary_cross_entropy_with_logits(logits, labels):
    losses = []
    for score, label in zip(map(float, logits.ravel()), map(float, labels.ravel()), strict=True):
        yes, no = sigmoid(score), sigmoid(-score)
        losses.append(-(label * math.log(yes) + (1 - label) * math.log(no)))
    return math.fsum(losses) / len(losses)


def semantic_segmentation_loss(logits, labels, *, ignore_index=255):
    return cross_entropy(resize_bilinear(logits, labels.shape[-2:]), labels, ignore_index=ignore_index)


# -- activations, of one Python float ----------------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x > -700 else math.exp(x)  # far left the 1 is lost, and the power overflows


SLOPE = math.sqrt(2 / math.pi)


def tanh_gelu(x, slope=SLOPE):
    y = slope * (x + 0.044715 * x**3)
    return x * sigmoid(2 * y)  # (1 + tanh y) / 2 = sigmoid(2 y)


def gelu(x):
    return x * math.erfc(-x / math.sqrt(2)) / 2


def softplus(x):
    if x > 20:
        return x  # PyTorch's threshold
    return math.log1p(math.exp(x))


def xielu(x, alpha_p, alpha_n, beta, eps):
    if x > 0:
        return softplus(alpha_p) * x * x + beta * x
    return (math.expm1(min(x, eps)) - x) * (beta + softplus(alpha_n)) + beta * x


ACTIVATIONS = {
    "gelu": gelu,
    "gelu_10": lambda x: min(max(gelu(x), -10.0), 10.0),
    "gelu_accurate": tanh_gelu,
    "gelu_fast": lambda x: tanh_gelu(x, 0.7978845608),
    "gelu_new": tanh_gelu,
    "gelu_python": gelu,
    "gelu_python_tanh": tanh_gelu,
    "gelu_pytorch_tanh": tanh_gelu,
    "hardswish": lambda x: x * min(max(x + 3, 0), 6) / 6,
    "laplace": lambda x: math.erfc((0.707107 - x) / 0.282095 / math.sqrt(2)) / 2,
    "leaky_relu": lambda x: x if x > 0 else x / 100,
    "linear": lambda x: x,
    "mish": lambda x: x * math.tanh(softplus(x)),
    "prelu": lambda x, weight: x if x > 0 else weight * x,
    "quick_gelu": lambda x: x * sigmoid(1.702 * x),
    "relu": lambda x: x if x > 0 else 0.0,
    "relu2": lambda x: x * x if x > 0 else 0.0,
    "relu6": lambda x: 0.0 if x < 0 else 6.0 if x > 6 else x,
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "sqrtsoftplus": lambda x: math.sqrt(softplus(x)),
    "swish": lambda x: x * sigmoid(x),
    "tanh": math.tanh,
    "xielu": xielu,
}
