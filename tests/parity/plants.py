"""Every known port mistake made in PyTorch: in transformers' model and image processor, none of it in our code.

``python tests/parity/plants.py [SEEDS] [--ways] [--full]`` plants them one by one, by pairs and none, asks the
diagnosis, and prints caught / total. ``--ways`` does it, but for the pairs, also for ports whose names say nothing;
``--full`` once more on the full xx_small.
"""

from __future__ import annotations

import argparse
import functools
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[up]) for up in (0, 1, 2)]
    import conftest  # noqa: F401  # transformers can't be imported without it

import numpy as np
import oracle
import torch
from golden_ports import BY_NAME, PREPROCESSING, SETTINGS, golden_and_network, separable, setting_of
from hooks import of_transformers, outputs_of
from torch import nn
from torch.nn import functional
from transformers.models.mobilevit.image_processing_pil_mobilevit import MobileViTImageProcessorPil

from mobilevit_np.golden import Diagnosis, Golden, Network, diagnose
from mobilevit_np.golden.adapters import record_torch
from mobilevit_np.golden.identity import parameter_name, split

Plant = Callable[[nn.Module], None]
WAYS = {  # what a port tells besides its activations
    "names": "its modules' own names, in order of execution",
    "shuffled": "its weights; the names are invented, and in no order",
    "nameless": "its weights, in order of execution",
    "weightless": "the order of execution alone",
}
CLASSIFIERS = PREPROCESSING | {"layer_norm_over_tokens", "max_pooling"}  # shown by the setting "classifier" alone
SILU = ("SiLU", "SiLUActivation")  # the activation by its classes' names


def processor_settings(mistake: str | None, side: int) -> dict[str, object]:
    """The settings of transformers' image processor, with the mistake or without."""
    settings: dict[str, object] = {"size": {"shortest_edge": side * 9 // 8}, "resample": 2}
    settings |= {"crop_size": {"height": side, "width": side}, "do_flip_channel_order": True}
    changes: dict[str, dict[str, object]] = {
        "rgb_for_bgr": {"do_flip_channel_order": False},
        "rows_flipped": {"do_flip_channel_order": False},
        "nearest_resize": {"resample": 0},
        "lanczos_resize": {"resample": 1},
        "bicubic_resize": {"resample": 3},
        "no_288_step": {"size": {"shortest_edge": side}},
        "squashed": {"size": {"height": side, "width": side}},
        "no_antialias": {"do_resize": False},
        "corner_crop": {"do_center_crop": False},
        "crop_off_by_one": {"do_center_crop": False},
        "not_rescaled": {"do_rescale": False},
        "rescaled_twice": {"rescale_factor": 1 / 255**2},
        "minus_one_to_one": {"rescale_factor": 2 / 255},
    }
    return settings | changes.get(mistake or "", {})


def pixel_values(photo: np.ndarray, mistake: str | None, side: int) -> np.ndarray:
    """What transformers' image processor makes of a photo, with the mistake or without."""
    if mistake == "no_antialias":
        photo = without_antialias(photo, side * 9 // 8)
    processor = MobileViTImageProcessorPil(**processor_settings(mistake, side))
    found = np.asarray(processor(photo, return_tensors="np")["pixel_values"]).astype(np.float32)
    top, left = ((n - side) // 2 + 1 for n in found.shape[2:])
    mean, std = (np.float32(v).reshape(3, 1, 1) for v in ((0.406, 0.456, 0.485), (0.225, 0.224, 0.229)))
    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "rows_flipped": lambda x: x[:, :, ::-1],
        "sides_exchanged": lambda x: x.swapaxes(2, 3),
        "corner_crop": lambda x: x[:, :, :side, :side],
        "crop_off_by_one": lambda x: x[:, :, top : top + side, left : left + side],
        "minus_one_to_one": lambda x: x - 1,
        "mean_and_std": lambda x: (x - mean) / std,
    }
    return changes[mistake](found).copy() if mistake in changes else found


def without_antialias(photo: np.ndarray, short: int) -> np.ndarray:
    """The short side brought to this length by PyTorch's interpolation, which looks at the nearest four pixels."""
    size = [n * short // min(photo.shape[:2]) for n in photo.shape[:2]]
    pixels = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    resized = functional.interpolate(pixels, size, mode="bilinear", align_corners=False)
    return resized[0].permute(1, 2, 0).round().to(torch.uint8).numpy()


def of_kind(model: nn.Module, kind: type, name: str = "") -> Iterator[nn.Module]:
    """The modules of a kind whose name ends so."""
    return (m for path, m in model.named_modules() if isinstance(m, kind) and path.endswith(name))


def blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The MobileViT blocks."""
    return (m for m in model.modules() if hasattr(m, "unfolding"))


def stem_channels_reversed(model: nn.Module) -> None:
    model.mobilevit.conv_stem.register_forward_pre_hook(lambda _, x: (x[0].flip(1),))


def tensorflow_same_padding(model: nn.Module) -> None:
    def pad(module: nn.Conv2d, x: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        surplus = [max((math.ceil(n / 2) - 1) * 2 + module.kernel_size[0] - n, 0) for n in x[0].shape[2:]]
        (top, left) = (n // 2 for n in surplus)
        return (functional.pad(x[0], (left, surplus[1] - left, top, surplus[0] - top)),)

    for conv in of_kind(model, nn.Conv2d):
        if conv.stride == (2, 2):
            conv.padding = (0, 0)
            conv.register_forward_pre_hook(pad)


def batch_norm_eps(model: nn.Module) -> None:
    for norm in of_kind(model, nn.BatchNorm2d):
        norm.eps = 1e-3


def after(model: nn.Module, name: str, change: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> None:
    """Change what the modules of that name give."""
    for module in of_kind(model, nn.Module, name):
        module.register_forward_hook(lambda module, _, output: change(module, output))


def replace_forward(modules: Iterable[nn.Module], forward: Callable) -> None:
    for module in modules:
        module.forward = functools.partial(forward, module)


def silu_after_reduce(model: nn.Module) -> None:
    after(model, ".reduce_1x1", lambda _, output: functional.silu(output))


def silu_before_unfold(model: nn.Module) -> None:
    for block in blocks(model):
        after(block, "conv_1x1", lambda _, output: functional.silu(output))


def batch_norm_before_unfold(model: nn.Module) -> None:
    for block in blocks(model):
        after(block, "conv_1x1", lambda _, output: nn.BatchNorm2d(output.shape[1]).eval()(output))


def dilated_conv_kxk(model: nn.Module) -> None:
    conv = model.mobilevit.encoder.layer[4].conv_kxk.convolution
    conv.dilation = conv.padding = (2, 2)


def plain_reshape(model: nn.Module) -> None:
    def unfolding(x: torch.Tensor) -> tuple[torch.Tensor, torch.Size]:
        B, D, H, W = x.shape
        return x.reshape(B * 4, H * W // 4, D), x.shape

    for block in blocks(model):
        block.unfolding, block.folding = unfolding, lambda patches, shape: patches.reshape(shape)


def resized_otherwise(model: nn.Module, enlarge: Callable, shrink: Callable) -> None:
    """Odd maps brought to whole patches in another way before the unfold, and back after the fold."""

    def plant(block: nn.Module, unfolding: Callable, folding: Callable) -> None:
        def unfold(x: torch.Tensor) -> tuple[torch.Tensor, tuple]:
            patches, info = unfolding(enlarge(x, [n + n % 2 for n in x.shape[2:]]))
            return patches, (info, x.shape[2:])

        block.unfolding = unfold
        block.folding = lambda patches, info: shrink(folding(patches, info[0]), info[1])

    for block in blocks(model):
        plant(block, block.unfolding, block.folding)


def padded_odd_maps(model: nn.Module) -> None:
    resized_otherwise(
        model,
        lambda x, size: functional.pad(x, (0, size[1] - x.shape[3], 0, size[0] - x.shape[2])),
        lambda x, size: x[:, :, : size[0], : size[1]],
    )


def align_corners(model: nn.Module) -> None:
    def resize(x: torch.Tensor, size: list[int]) -> torch.Tensor:
        return functional.interpolate(x, tuple(size), mode="bilinear", align_corners=True)

    resized_otherwise(model, resize, resize)


def concat_order(model: nn.Module) -> None:
    for fusion in of_kind(model, nn.Module, ".fusion"):
        fusion.register_forward_pre_hook(lambda _, x: (torch.cat(x[0].chunk(2, 1)[::-1], 1),))


def no_final_layer_norm(model: nn.Module) -> None:
    for block in blocks(model):
        block.layernorm = nn.Identity()


def layer_norm_over_tokens(model: nn.Module) -> None:
    def plant(norm: nn.LayerNorm, right: Callable) -> None:
        norm.forward = lambda x: right(x.mT).mT if x.shape[1] == x.shape[2] else right(x)

    for norm in of_kind(model, nn.LayerNorm):
        plant(norm, norm.forward)


def layer_norm_eps(model: nn.Module) -> None:
    for norm in of_kind(model, nn.LayerNorm):
        norm.eps = 1e-6


def unbiased_variance(model: nn.Module) -> None:
    def forward(norm: nn.LayerNorm, x: torch.Tensor) -> torch.Tensor:
        deviation = (x.var(-1, keepdim=True) + norm.eps).sqrt()
        return (x - x.mean(-1, keepdim=True)) / deviation * norm.weight + norm.bias

    replace_forward(of_kind(model, nn.LayerNorm), forward)


def by_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def side_by_side(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(1, 2).flatten(2)


def by_reshape(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.reshape(x.shape[0], heads, x.shape[1], -1)


def merge_by_reshape(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(x.shape[0], x.shape[2], -1)


def weigh(query: torch.Tensor, key: torch.Tensor, width: int) -> torch.Tensor:
    return (query @ key.mT / math.sqrt(query.shape[-1])).softmax(-1)


def attention_modules(model: nn.Module) -> Iterator[nn.Module]:
    """transformers' self-attention modules."""
    return (m for m in model.modules() if hasattr(m, "query"))


def attend(model: nn.Module, **changes: Callable) -> None:
    """Attention written anew, with its ``split``, ``weigh`` or ``merge`` changed."""

    def forward(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        split, weigh, merge = (module.parts[name] for name in ("split", "weigh", "merge"))
        q, k, v = (split(layer(x), module.num_attention_heads) for layer in (module.query, module.key, module.value))
        return merge(module.dropout(weigh(q, k, x.shape[-1])) @ v)

    for module in attention_modules(model):
        right = {"split": by_heads, "weigh": weigh, "merge": side_by_side}
        module.parts = {**getattr(module, "parts", right), **changes}
        module.forward = functools.partial(forward, module)


def scale_by_width(model: nn.Module) -> None:
    attend(model, weigh=lambda q, k, width: (q @ k.mT / math.sqrt(width)).softmax(-1))


def no_scale(model: nn.Module) -> None:
    attend(model, weigh=lambda q, k, _: (q @ k.mT).softmax(-1))


def softmax_over_queries(model: nn.Module) -> None:
    attend(model, weigh=lambda q, k, _: (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-2))


def queries_for_keys(model: nn.Module) -> None:
    attend(model, weigh=lambda q, k, width: weigh(k, q, width))


def heads_by_reshape(model: nn.Module) -> None:
    attend(model, split=by_reshape, merge=merge_by_reshape)


def heads_merged_by_reshape(model: nn.Module) -> None:
    attend(model, merge=merge_by_reshape)


def with_heads(model: nn.Module, heads: int) -> None:
    for module in attention_modules(model):
        module.num_attention_heads, module.attention_head_size = heads, module.all_head_size // heads


def one_head(model: nn.Module) -> None:
    with_heads(model, 1)


def eight_heads(model: nn.Module) -> None:
    with_heads(model, 8)


def attention_within_patches(model: nn.Module) -> None:
    def split(x: torch.Tensor, heads: int) -> torch.Tensor:  # (B*4, N, D) -> (B, N, h, 4, d)
        return x.unflatten(0, (-1, 4)).unflatten(-1, (heads, -1)).permute(0, 2, 3, 1, 4)

    attend(model, split=split, merge=lambda x: x.permute(0, 3, 1, 2, 4).flatten(0, 1).flatten(2))


def interleaved_qkv(model: nn.Module) -> None:
    for module in attention_modules(model):
        parts = (module.query, module.key, module.value)
        for leaf in ("weight", "bias"):
            fused = torch.cat([getattr(part, leaf).data for part in parts])
            for i, part in enumerate(parts):
                setattr(part, leaf, nn.Parameter(fused[i::3].clone()))


def square_weights_transposed(model: nn.Module) -> None:
    for name in (".query", ".key", ".value", ".attention.output.dense"):
        replace_forward(of_kind(model, nn.Linear, name), lambda linear, x: x @ linear.weight + linear.bias)


def gelu_for_silu(model: nn.Module) -> None:
    exchange(model, SILU, nn.GELU)


def relu_for_silu(model: nn.Module) -> None:
    exchange(model, SILU, nn.ReLU)


def relu6_for_silu(model: nn.Module) -> None:
    exchange(model, SILU, nn.ReLU6)


def hardswish_for_silu(model: nn.Module) -> None:
    exchange(model, SILU, nn.Hardswish)


def gelu_in_feed_forward(model: nn.Module) -> None:
    for module in of_kind(model, nn.Module, ".intermediate"):
        exchange(module, SILU, nn.GELU)


def gelu_tanh_in_feed_forward(model: nn.Module) -> None:
    for module in of_kind(model, nn.Module, ".intermediate"):
        exchange(module, SILU, lambda: nn.GELU(approximate="tanh"))


def silu_for_relu(model: nn.Module) -> None:
    exchange(model.segmentation_head, ("ReLU",), nn.SiLU)


def exchange(model: nn.Module, names: tuple[str, ...], other: Callable[[], nn.Module]) -> None:
    """Put other activations in place of those of these classes."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__ in names:
                setattr(parent, name, other())


def kernels_flipped(model: nn.Module) -> None:
    replace_forward(of_kind(model, nn.Conv2d), lambda conv, x: conv._conv_forward(x, conv.weight.flip(2, 3), conv.bias))


def stride_in_expand(model: nn.Module) -> None:
    for module in model.modules():
        if hasattr(module, "expand_1x1"):
            first, second = module.expand_1x1.convolution, module.conv_3x3.convolution
            first.stride, second.stride = second.stride, first.stride


def no_residual(model: nn.Module) -> None:
    for module in model.modules():
        if hasattr(module, "use_residual"):
            module.use_residual = False


def batch_statistics(model: nn.Module) -> None:
    def forward(norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        return functional.batch_norm(x, mean, variance, norm.weight, norm.bias, eps=norm.eps)

    replace_forward(of_kind(model, nn.BatchNorm2d), forward)


def divide_by(model: nn.Module, deviation: Callable[[nn.BatchNorm2d], torch.Tensor]) -> None:
    """Batch norm written by hand."""

    def forward(norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
        parts = (norm.running_mean, deviation(norm), norm.weight, norm.bias)
        mean, divisor, weight, bias = (part[:, None, None] for part in parts)
        return (x - mean) / divisor * weight + bias

    replace_forward(of_kind(model, nn.BatchNorm2d), forward)


def variance_for_deviation(model: nn.Module) -> None:
    divide_by(model, lambda norm: norm.running_var + norm.eps)


def eps_outside_the_root(model: nn.Module) -> None:
    divide_by(model, lambda norm: norm.running_var.sqrt() + norm.eps)


def unfold_as_channels_last(model: nn.Module) -> None:
    def unfolding(x: torch.Tensor) -> tuple[torch.Tensor, torch.Size]:
        B, D, H, W = x.shape
        patches = x.reshape(B, H // 2, 2, W // 2, 2, D).permute(0, 2, 4, 1, 3, 5)
        return patches.reshape(B * 4, H * W // 4, D), x.shape

    def folding(patches: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        B, D, H, W = shape
        return patches.reshape(B, 2, 2, H // 2, W // 2, D).permute(0, 3, 1, 4, 2, 5).reshape(shape)

    for block in blocks(model):
        block.unfolding, block.folding = unfolding, folding


def transformer_layers(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if hasattr(m, "layernorm_before")]


def no_norm_before_attention(model: nn.Module) -> None:
    for layer in transformer_layers(model):
        layer.layernorm_before = nn.Identity()


def no_norm_before_feed_forward(model: nn.Module) -> None:
    for layer in transformer_layers(model):
        layer.layernorm_after = nn.Identity()


def post_norm(model: nn.Module) -> None:
    def forward(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = layer.layernorm_before(x + layer.attention(x))
        return layer.layernorm_after(layer.output(layer.intermediate(x), x))

    replace_forward(transformer_layers(model), forward)


def no_attention_residual(model: nn.Module) -> None:
    def forward(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = layer.attention(layer.layernorm_before(x))
        return layer.output(layer.intermediate(layer.layernorm_after(x)), x)

    replace_forward(transformer_layers(model), forward)


def no_feed_forward_residual(model: nn.Module) -> None:
    replace_forward((layer.output for layer in transformer_layers(model)), lambda output, x, _: output.dense(x))


def max_pooling(model: nn.Module) -> None:
    def pool(module: nn.Module, _: object, output: dict[str, torch.Tensor]) -> None:
        output["pooler_output"] = output["last_hidden_state"].amax((2, 3))

    model.mobilevit.register_forward_hook(pool)


def softmaxed_logits(model: nn.Module) -> None:
    def normalize(module: nn.Module, _: object, output: dict[str, torch.Tensor]) -> None:
        output["logits"] = output["logits"].softmax(1)

    model.register_forward_hook(normalize)


def atrous_rates_doubled(model: nn.Module) -> None:
    for layer in model.segmentation_head.aspp.convs[1:4]:
        conv = layer.convolution
        conv.dilation = conv.padding = tuple(2 * rate for rate in conv.dilation)


def aspp_order(model: nn.Module) -> None:
    def reverse(_: nn.Module, x: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        first, *dilated, pooled = x[0].chunk(5, 1)
        return (torch.cat([first, *reversed(dilated), pooled], 1),)

    model.segmentation_head.aspp.project.register_forward_pre_hook(reverse)


PLANTS: dict[str, Plant] = {
    name: function for name, function in list(globals().items()) if name in BY_NAME and callable(function)
}
assert set(PLANTS) == set(BY_NAME) - PREPROCESSING, f"made nowhere: {set(BY_NAME) - PREPROCESSING - set(PLANTS)}"


def torch_model(golden: Golden, network: Network, names: tuple[str, ...] = ()) -> nn.Module:
    """transformers' model with these mistakes made in it."""
    model = oracle.CLASSES[network.task](oracle.transformers.MobileViTConfig(**golden.config)).eval()
    state = {name: torch.from_numpy(tensor.astype(np.float32)) for name, tensor in network.tensors.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    for name in names:
        if name in PLANTS:
            PLANTS[name](model)
    return model


def pixels_of(golden: Golden, names: tuple[str, ...] = ()) -> np.ndarray:
    """What transformers' image processor gives, with these mistakes made in it."""
    pixels = golden.tensors["pixel_values"].astype(np.float32)
    if "image" not in golden.tensors:
        return pixels
    mistake = next((name for name in names if name in PREPROCESSING), None)
    return pixel_values(golden.tensors["image"], mistake, pixels.shape[2])


def torch_port(
    golden: Golden, network: Network, names: tuple[str, ...] = (), dtype: type = np.float32
) -> dict[str, np.ndarray]:
    """What hooks see in transformers' model with these mistakes made in it."""
    pixels = pixels_of(golden, names)
    model = torch_model(golden, network, names).to(oracle.TORCH_DTYPES[dtype])
    found = outputs_of(model, pixels.astype(dtype), of_transformers)
    return {"pixel_values": pixels, **{path or "logits": tensor for path, tensor in found.items()}}


def anonymous_port(
    golden: Golden, network: Network, names: tuple[str, ...] = (), way: str = "nameless"
) -> dict[str, np.ndarray]:
    """The same as ``record_torch`` records it, under names that say nothing: see ``WAYS``."""
    recorded = record_torch(torch_model(golden, network, names), pixels_of(golden, names))
    activations, parameters = split(recorded)
    modules = dict.fromkeys([*activations, *parameters])
    numbers = np.random.RandomState(0).permutation(len(modules)) if way == "shuffled" else range(len(modules))
    invented = {name: f"tensor_{number:04}" for name, number in zip(modules, numbers, strict=True)}
    invented["pixel_values"] = "pixel_values"
    port = {invented[name]: tensor for name, tensor in activations.items()}
    for module, leaves in parameters.items() if way != "weightless" else ():
        port |= {parameter_name(invented[module], leaf): tensor for leaf, tensor in leaves.items()}
    return dict(sorted(port.items())) if way == "shuffled" else port


def diagnosed(names: tuple[str, ...], setting: str, seed: int = 0, full: bool = False, way: str = "names") -> Diagnosis:
    """What is said of transformers' model with these mistakes in it."""
    golden, network = golden_and_network(setting, seed, full)
    make = torch_port if way == "names" else functools.partial(anonymous_port, way=way)
    return diagnose(golden, make(golden, network, names), network)


def tries() -> Iterator[tuple[tuple[str, ...], str]]:
    """Each mistake, a pair with each, none; and the setting where they show."""
    yield from (((name,), setting_of(name)) for name in BY_NAME)
    names = list(BY_NAME)
    for name, other in zip(names, [*names[7:], *names[:7]], strict=True):
        settings = {setting_of(name), setting_of(other)} - {"classifier"} or {"classifier"}
        if len(settings) == 1 and separable(name, other):
            (setting,) = settings
            if setting == "classifier" or not {name, other} & CLASSIFIERS:
                yield (name, other), setting
    yield from (((), setting) for setting in SETTINGS)


def right(diagnosis: Diagnosis, names: tuple[str, ...]) -> bool:
    """Whether the mistakes were named (beside others, if those give the same numbers) and nothing is left over."""
    told = [{finding.mistake.name, *finding.also} for finding in diagnosis.findings]
    named = len(told) == len(names) and all(any(name in each for each in told) for name in names)
    return named and not diagnosis.left_over and diagnosis.clean == (not names)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", nargs="?", type=int, default=1, help="of the weights, from 0 on (default: 1)")
    parser.add_argument("--ways", action="store_true", help="also ports whose names say nothing; no pairs there")
    parser.add_argument("--full", action="store_true", help="once more on the full xx_small")
    options = parser.parse_args()
    rounds = [(seed, way, False) for way in (WAYS if options.ways else ["names"]) for seed in range(options.seeds)]
    if options.full:
        rounds.append((0, "names", True))
    caught, total = Counter[str](), Counter[str]()
    for seed, way, full in rounds:
        for names, setting in tries():
            if way != "names" and len(names) == 2:
                continue
            diagnosis = diagnosed(names, setting, seed, full, way)
            total[way] += 1
            caught[way] += right(diagnosis, names)
            if not right(diagnosis, names):
                print(
                    f"{way}, seed {seed}, {setting}: planted {names}, named {diagnosis.names},", diagnosis.unexplained
                )
        print(f"after seed {seed}{' (xx_small)' if full else ''}: {caught[way]} of {total[way]}", flush=True)
    for way in total:
        print(f"{caught[way]} of {total[way]} named rightly in transformers' model; what it tells: {WAYS[way]}")
    return int(caught.total() < total.total())


if __name__ == "__main__":
    sys.exit(main())
