"""Every known port mistake made in PyTorch: in transformers' model and image processor, none of it in our code.

``python tests/parity/plants.py [SEEDS] [--full]`` plants them one by one, by pairs and none, asks the diagnosis, and
prints caught / total; ``--full`` does it once more on the full xx_small.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[up]) for up in (0, 1, 2)]
    import conftest  # noqa: F401  # transformers can't be imported without it

import numpy as np
import oracle
import torch
from golden_ports import BY_NAME, PREPROCESSING, SETTINGS, UNSEPARABLE, golden_and_network, setting_of
from hooks import of_transformers, outputs_of
from torch import nn
from torch.nn import functional
from transformers.models.mobilevit.image_processing_pil_mobilevit import MobileViTImageProcessorPil

from mobilevit_np.golden import Diagnosis, Golden, Network, diagnose

Plant = Callable[[nn.Module], None]
PROCESSORS = {  # the settings of transformers' image processor that a mistake changes
    "rgb_for_bgr": {"do_flip_channel_order": False},
    "nearest_resize": {"resample": 0},
    "bicubic_resize": {"resample": 3},
}


def pixel_values(photo: np.ndarray, mistake: str | None, side: int) -> np.ndarray:
    """What transformers' image processor makes of a photo, with the mistake or without."""
    settings = {"size": {"shortest_edge": side * 9 // 8}, "crop_size": {"height": side, "width": side}, "resample": 2}
    settings |= {"do_flip_channel_order": True} | PROCESSORS.get(mistake or "", {})
    if mistake == "no_288_step":
        settings["size"] = {"shortest_edge": side}
    if mistake in ("rows_flipped", "mean_and_std"):
        settings["do_flip_channel_order"] = False
    found = np.asarray(MobileViTImageProcessorPil(**settings)(photo, return_tensors="np")["pixel_values"])
    if mistake == "rows_flipped":
        return found[:, :, ::-1].copy()
    if mistake == "mean_and_std":
        mean, std = (np.float32(v).reshape(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        return ((found - mean) / std)[:, ::-1].copy()
    return found


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


def scale_by_width(model: nn.Module) -> None:
    def forward(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (module.num_attention_heads, -1)).transpose(1, 2)
            for layer in (module.query, module.key, module.value)
        )
        probabilities = module.dropout((q @ k.mT / math.sqrt(x.shape[-1])).softmax(-1))
        return (probabilities @ v).transpose(1, 2).flatten(2)

    for module in model.modules():
        if hasattr(module, "query"):
            module.forward = functools.partial(forward, module)


def interleaved_qkv(model: nn.Module) -> None:
    for module in model.modules():
        if hasattr(module, "query"):
            parts = (module.query, module.key, module.value)
            for leaf in ("weight", "bias"):
                fused = torch.cat([getattr(part, leaf).data for part in parts])
                for i, part in enumerate(parts):
                    setattr(part, leaf, nn.Parameter(fused[i::3].clone()))


def gelu_for_silu(model: nn.Module) -> None:
    exchange(model, ("SiLU", "SiLUActivation"), nn.GELU)


def silu_for_relu(model: nn.Module) -> None:
    exchange(model.segmentation_head, ("ReLU",), nn.SiLU)


def exchange(model: nn.Module, names: tuple[str, ...], other: type[nn.Module]) -> None:
    """Put other activations in place of those of these classes."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__ in names:
                setattr(parent, name, other())


PLANTS: dict[str, Plant] = {
    name: function for name, function in list(globals().items()) if name in BY_NAME and callable(function)
}
assert set(PLANTS) == set(BY_NAME) - PREPROCESSING, f"made nowhere: {set(BY_NAME) - PREPROCESSING - set(PLANTS)}"


def torch_port(
    golden: Golden, network: Network, names: tuple[str, ...] = (), dtype: type = np.float32
) -> dict[str, np.ndarray]:
    """What hooks see in transformers' model with these mistakes made in it."""
    fields = {**golden.config}
    model = oracle.CLASSES[network.task](oracle.transformers.MobileViTConfig(**fields)).eval()
    state = {name: torch.from_numpy(tensor.astype(np.float32)) for name, tensor in network.tensors.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    for name in names:
        if name in PLANTS:
            PLANTS[name](model)
    pixels = golden.tensors["pixel_values"].astype(np.float32)
    if "image" in golden.tensors:
        pixels = pixel_values(
            golden.tensors["image"], next((name for name in names if name in PREPROCESSING), None), pixels.shape[2]
        )
    found = outputs_of(model.to(oracle.TORCH_DTYPES[dtype]), pixels.astype(dtype), of_transformers)
    return {"pixel_values": pixels, **{path or "logits": tensor for path, tensor in found.items()}}


def diagnosed(names: tuple[str, ...], setting: str, seed: int = 0, full: bool = False) -> Diagnosis:
    """What is said of transformers' model with these mistakes in it."""
    golden, network = golden_and_network(setting, seed, full)
    return diagnose(golden, torch_port(golden, network, names), network)


def tries() -> Iterator[tuple[tuple[str, ...], str]]:
    """Each mistake, a pair with each, none; and the setting where they show."""
    yield from (((name,), setting_of(name)) for name in BY_NAME)
    names = list(BY_NAME)
    for name, other in zip(names, [*names[7:], *names[:7]], strict=True):
        settings = {setting_of(name), setting_of(other)} - {"classifier"} or {"classifier"}
        if len(settings) == 1 and frozenset((name, other)) not in UNSEPARABLE:
            (setting,) = settings
            photo = setting == "classifier"
            if photo or not {name, other} & (PREPROCESSING | {"layer_norm_over_tokens"}):
                yield (name, other), setting
    yield from (((), setting) for setting in SETTINGS)


def right(diagnosis: Diagnosis, names: tuple[str, ...]) -> bool:
    """Whether the mistakes were named, no other, and nothing is left over."""
    return set(diagnosis.names) == set(names) and not diagnosis.unexplained and not diagnosis.still_wrong


def main(arguments: list[str]) -> int:
    seeds = next((int(argument) for argument in arguments if argument.isdigit()), 1)
    rounds = [(seed, False) for seed in range(seeds)] + ([(0, True)] if "--full" in arguments else [])
    caught = total = 0
    for seed, full in rounds:
        for names, setting in tries():
            diagnosis = diagnosed(names, setting, seed, full)
            total, caught = total + 1, caught + right(diagnosis, names)
            if not right(diagnosis, names):
                print(f"seed {seed}, {setting}: planted {names}, named {diagnosis.names}, {diagnosis.unexplained}")
        print(f"{caught} of {total} named rightly after seed {seed}{' (xx_small)' if full else ''}", flush=True)
    print(f"{caught} of {total} named rightly in transformers' model")
    return int(caught < total)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
