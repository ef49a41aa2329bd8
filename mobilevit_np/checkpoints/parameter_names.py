"""Parameter names of Hugging Face, timm and ml-cvnets v0.1 side by side.

``MODULES`` is the table: one row per module that holds parameters, with its name in each scheme. The leaves under it
(``_LEAVES``) depend only on the kind of module. Hugging Face's names, with their ``mobilevit.`` prefix, are the ones
that the rest of the package uses.

Two things are more than names. Query, key and value are one tensor in timm and ml-cvnets, its rows in that order.
And timm's weights take RGB, the others BGR: between them the stem's input axis is reversed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, NoReturn

import numpy as np

from ..config import STAGE_2_DEPTH, TRANSFORMER_DEPTHS
from ..errors import CheckpointError

HUGGING_FACE, TIMM, ML_CVNETS = "huggingface", "timm", "ml-cvnets"
SCHEMES = (HUGGING_FACE, TIMM, ML_CVNETS)
CHANNEL_ORDER = {HUGGING_FACE: "BGR", TIMM: "RGB", ML_CVNETS: "BGR"}
PREFIX = "mobilevit."  # before the backbone's names if there's a head
STEM = f"{PREFIX}conv_stem.convolution.weight"
ENCODER_PREFIX = "encoder."  # before the backbone's names in ml-cvnets segmenters
SEGMENTATION = "segmentation_head."


class Module(NamedTuple):
    """One row: the kind of its leaves, and the module's name in each scheme (None: it has no such module)."""

    kind: str
    huggingface: str
    timm: str | None
    ml_cvnets: str


_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_LEAVES: dict[str, tuple[tuple[str, str, str], ...]] = {  # kind -> (Hugging Face's, timm's, ml-cvnets')
    "conv_norm": (
        ("convolution.weight", "conv.weight", "block.conv.weight"),
        *((f"normalization.{leaf}", f"bn.{leaf}", f"block.norm.{leaf}") for leaf in _NORM),
    ),
    "conv": (("convolution.weight", "weight", "block.conv.weight"),),  # timm's is a bare convolution
    "conv_bias": (
        ("convolution.weight", "weight", "block.conv.weight"),
        ("convolution.bias", "bias", "block.conv.bias"),
    ),
    "affine": (("weight", "weight", "weight"), ("bias", "bias", "bias")),
}
_INVERTED_RESIDUAL = (  # its three convolutions in each scheme
    ("expand_1x1", "conv1_1x1", "exp_1x1"),
    ("conv_3x3", "conv2_kxk", "conv_3x3"),
    ("reduce_1x1", "conv3_1x1", "red_1x1"),
)
_BLOCK = (  # kind, and a MobileViT block's convolutions in each scheme
    ("conv_norm", "conv_kxk", "conv_kxk", "local_rep.conv_3x3"),
    ("conv", "conv_1x1", "conv_1x1", "local_rep.conv_1x1"),
    ("conv_norm", "conv_projection", "conv_proj", "conv_proj"),
    ("conv_norm", "fusion", "conv_fusion", "fusion"),
)
_TRANSFORMER_LAYER = (
    ("layernorm_before", "norm1", "pre_norm_mha.0"),
    ("attention.output.dense", "attn.proj", "pre_norm_mha.1.out_proj"),
    ("layernorm_after", "norm2", "pre_norm_ffn.0"),
    ("intermediate.dense", "mlp.fc1", "pre_norm_ffn.1"),
    ("output.dense", "mlp.fc2", "pre_norm_ffn.4"),
)
PARTS = ("query", "key", "value")
_BARE = ("conv_stem.", "encoder.layer.", "conv_1x1_exp.")  # how a bare model's names begin


def _inverted_residual(huggingface: str, timm: str, ml_cvnets: str) -> Iterable[Module]:
    for hf, tm, cv in _INVERTED_RESIDUAL:
        yield Module("conv_norm", f"{huggingface}.{hf}", f"{timm}.{tm}", f"{ml_cvnets}.block.{cv}")


def _mobilevit_block(level: int, depth: int) -> Iterable[Module]:
    hf, tm, cv = f"mobilevit.encoder.layer.{level}", f"stages.{level}.1", f"layer_{level + 1}.1"
    for kind, a, b, c in _BLOCK:
        yield Module(kind, f"{hf}.{a}", f"{tm}.{b}", f"{cv}.{c}")
    for j in range(depth):
        for a, b, c in _TRANSFORMER_LAYER:
            yield Module(
                "affine", f"{hf}.transformer.layer.{j}.{a}", f"{tm}.transformer.{j}.{b}", f"{cv}.global_rep.{j}.{c}"
            )
    yield Module("affine", f"{hf}.layernorm", f"{tm}.norm", f"{cv}.global_rep.{depth}")


def _backbone() -> Iterable[Module]:
    yield Module("conv_norm", "mobilevit.conv_stem", "stem", "conv_1")
    for level, repeats in ((0, 1), (1, STAGE_2_DEPTH)):
        for i in range(repeats):
            yield from _inverted_residual(
                f"mobilevit.encoder.layer.{level}.layer.{i}", f"stages.{level}.{i}", f"layer_{level + 1}.{i}"
            )
    for level, depth in enumerate(TRANSFORMER_DEPTHS, start=2):
        yield from _inverted_residual(
            f"mobilevit.encoder.layer.{level}.downsampling_layer", f"stages.{level}.0", f"layer_{level + 1}.0"
        )
        yield from _mobilevit_block(level, depth)
    yield Module("conv_norm", "mobilevit.conv_1x1_exp", "final_conv", "conv_1x1_exp")


def _heads() -> Iterable[Module]:
    aspp, seg = f"{SEGMENTATION}aspp", "seg_head.aspp.aspp_layer"
    yield Module("affine", "classifier", "head.fc", "classifier.fc")
    for i in range(4):
        yield Module("conv_norm", f"{aspp}.convs.{i}", None, f"{seg}.convs.{i}")
    yield Module("conv_norm", f"{aspp}.convs.4.conv_1x1", None, f"{seg}.convs.4.aspp_pool.conv_1x1")
    yield Module("conv_norm", f"{aspp}.project", None, f"{seg}.project")
    yield Module("conv_bias", f"{SEGMENTATION}classifier", None, "seg_head.classifier.classifier")


MODULES: tuple[Module, ...] = (*_backbone(), *_heads())


def _attention() -> Iterable[tuple[str, str, str]]:
    """Query, key and value: Hugging Face's three names, written with ``{part}``; timm's one; ml-cvnets' one."""
    for level, depth in enumerate(TRANSFORMER_DEPTHS, start=2):
        for j in range(depth):
            for leaf in ("weight", "bias"):
                yield (
                    f"mobilevit.encoder.layer.{level}.transformer.layer.{j}.attention.attention.{{part}}.{leaf}",
                    f"stages.{level}.1.transformer.{j}.attn.qkv.{leaf}",
                    f"layer_{level + 1}.1.global_rep.{j}.pre_norm_mha.1.qkv_proj.{leaf}",
                )


def _table(scheme: str) -> dict[str, tuple[str, ...]]:
    """The scheme's name of every parameter -> Hugging Face's: three of them for a fused query, key and value."""
    column = SCHEMES.index(scheme)
    table: dict[str, tuple[str, ...]] = {
        f"{module[1 + column]}.{leaves[column]}": (f"{module.huggingface}.{leaves[0]}",)
        for module in MODULES
        for leaves in _LEAVES[module.kind]
        if module[1 + column] is not None
    }
    for row in _attention():
        parts = tuple(row[0].format(part=part) for part in PARTS)
        table.update({name: (name,) for name in parts} if scheme == HUGGING_FACE else {row[column]: parts})
    return table


TO_HUGGING_FACE = {scheme: _table(scheme) for scheme in SCHEMES}
_TOPS = {scheme: {name.partition(".")[0] for name in table} for scheme, table in TO_HUGGING_FACE.items()}
_NEEDED = f"{PREFIX}encoder."  # how the names that every network has begin
FROM_HUGGING_FACE = {
    scheme: {part: name for name, parts in table.items() for part in parts} for scheme, table in TO_HUGGING_FACE.items()
}


SECOND_FAMILY = "ml-cvnets 0.2 or newer (DeepLabV3 with output stride 8, ASPP 512, an auxiliary head)"
_ANOTHER = "this network is MobileViT v1, whose weights it takes"
_UNMERGED = "merge it into its model in PEFT (merge_and_unload()), save that, and open what it saved"
_RELATIVES = (  # a fragment of a name, what has such names, and what to do
    ("seg_head.aux_head.", f"the weights of {SECOND_FAMILY}", _ANOTHER),
    ("seg_head.classifier.block.", f"the weights of {SECOND_FAMILY}", _ANOTHER),
    ("mobilevitv2.", "the weights of MobileViT v2", _ANOTHER),
    (".attn.qkv_proj.", "the weights of MobileViT v2 (timm)", _ANOTHER),
    (".pre_norm_attn.", "the weights of MobileViT v2 (ml-cvnets)", _ANOTHER),
    (".conv2_kxk.attn.", "the weights of SE-MobileViT (timm)", _ANOTHER),
    (".conv2_kxk.se.", "the weights of SE-MobileViT (timm)", _ANOTHER),
    (".lora_", "a LoRA adapter's tensors", _UNMERGED),
    (".base_layer.", "the tensors of a model with a PEFT adapter", _UNMERGED),
    (".modules_to_save.", "the tensors of a model with a PEFT adapter", _UNMERGED),
    ("base_model.model.", "the tensors of a PEFT adapter", _UNMERGED),
    (".weight_mask", "the tensors of a network being pruned", "call torch.nn.utils.prune.remove, and save it again"),
    (".parametrizations.", "parametrized tensors",
     "call torch.nn.utils.parametrize.remove_parametrizations, and save it again"),
    (".weight_g", "the tensors of weight normalization", "call torch.nn.utils.remove_weight_norm, and save it again"),
    (".quant_map", "weights that bitsandbytes quantized", "save the model before it was quantized, or dequantize() it"),
    (".SCB", "weights that bitsandbytes quantized", "save the model before it was quantized, or dequantize() it"),
    ("_packed_params", "weights that PyTorch quantized", "save the float model's state_dict()"),
    ("fake_quant", "weights being trained for quantization", "save the float model's state_dict()"),
)  # fmt: skip
_RENAME = "open a file with the names that Hugging Face, timm or ml-cvnets 0.1 give, or rename its tensors to them"
_PORTS = (  # a fragment of a name, and the port of MobileViT that uses it
    ("/kernel", "Keras or Flax"),
    (".kernel", "Keras or Flax"),
    ("kernel:0", "Keras"),
    ("mvit.0.", "mobilevit-pytorch"),
    ("mv2.0.", "mobilevit-pytorch"),
    ("trunk.0.", "vit-pytorch"),
    (".expand_conv.", "mmpretrain"),
    ("transformer.layers.", "another PyTorch port"),
)
MARKS = (  # the stem's weight in each scheme, and what may stand before the backbone
    (STEM.removeprefix(PREFIX), PREFIX, HUGGING_FACE),
    ("stem.conv.weight", "", TIMM),
    ("conv_1.block.conv.weight", ENCODER_PREFIX, ML_CVNETS),
)
CLASSIFIER = {HUGGING_FACE: "classifier", TIMM: "head.fc", ML_CVNETS: "classifier.fc"}
_FEATURES_ONLY = re.compile(r"stages_(\d)\.")  # timm's models made with features_only=True have no list of stages


def refuse_relatives(names: Iterable[str]) -> None:
    """Raise CheckpointError if tensor names are a related network's, or this one's pruned, quantized or adapted."""
    names = list(names)
    for fragment, what, remedy in _RELATIVES:
        if any(fragment in f".{name}" for name in names):
            raise CheckpointError(f"these are {what}; {remedy}")


def refuse(names: Collection[str]) -> NoReturn:
    """Raise CheckpointError that says what these tensors without a MobileViT's stem are, as far as their names tell."""
    refuse_relatives(names)
    if any(name.endswith((".exp_avg", ".momentum_buffer", ".square_avg")) for name in names):
        raise CheckpointError("this is an optimizer's state, without the network; open the file of the weights")
    some = f"{len(names)} tensors, the first {', '.join(repr(name[:60]) for name in sorted(names)[:4]) or 'none'}"
    for scheme, table in TO_HUGGING_FACE.items():
        if sum(name in table or PREFIX + name in table for name in names) > len(names) / 2:
            raise CheckpointError(
                f"these are a part of a MobileViT's weights under {scheme}'s names, without its stem: {some}; open the "
                "whole (of several shards, their folder or their index)"
            )
    port = _port(names)
    raise CheckpointError(f"these aren't a MobileViT's weights{f' but {port}' if port else ''}: {some}; {_RENAME}")


def is_part(name: str, scheme: str) -> bool:
    """Whether a tensor's name begins like one of the scheme's network, its head included."""
    return _canonical(name, scheme).partition(".")[0] in _TOPS[scheme]


def has_head(names: Iterable[str], scheme: str) -> bool:
    """Whether a classifier's or a segmenter's head is among these names."""
    heads = (f"{CLASSIFIER[HUGGING_FACE]}.", SEGMENTATION)
    return any(part.startswith(heads) for name in names for part in TO_HUGGING_FACE[scheme].get(name, ()))


def is_in_place_of_head(name: str) -> bool:
    """Whether a tensor is where some scheme has a network's head."""
    return name.startswith(("classifier.", "head.", "segmentation_head.", "seg_head."))


def check_completeness(names: Iterable[str], scheme: str) -> None:
    """Raise CheckpointError if over half of the backbone's weights are missing: a stem alone makes no MobileViT."""
    names = list(names)
    found = {part for name in names for part in hugging_face_names(name, scheme)}
    needed = [name for name in TO_HUGGING_FACE[HUGGING_FACE] if name.startswith(_NEEDED) and name.endswith(".weight")]
    missing = sum(name not in found for name in needed)
    if missing > len(needed) / 2:
        unknown = sorted(name for name in names if not is_part(name, scheme))
        instead = f", and has {', '.join(repr(name[:60]) for name in unknown[:2])} instead" if unknown else ""
        raise CheckpointError(
            f"it has a stem as a MobileViT under {scheme}'s names, but lacks {missing} of the {len(needed)} weights "
            f"behind it{instead}: {_port(names) or 'another network'}; {_RENAME}"
        )


def _port(names: Iterable[str]) -> str:
    found = next((port for part, port in _PORTS if any(part in f".{name}" for name in names)), "")
    return f"another port's names ({found}'s, it seems)" if found else ""


def hugging_face_names(name: str, scheme: str) -> tuple[str, ...]:
    """Hugging Face's name (three for a fused query, key and value) of a scheme's parameter; unknown names stay."""
    name = _canonical(name, scheme)
    return TO_HUGGING_FACE[scheme].get(name, (name,))


def _canonical(name: str, scheme: str) -> str:
    """The name as the tables have it.

    A bare Hugging Face model's get their ``mobilevit.`` prefix, an ml-cvnets segmenter's lose ``encoder.``, and timm's
    ``stages_0.`` (of features_only) become ``stages.0.``.
    """
    if scheme == ML_CVNETS:
        return name.removeprefix(ENCODER_PREFIX)
    if scheme == TIMM:
        return _FEATURES_ONLY.sub(r"stages.\1.", name, count=1) if name.startswith("stages_") else name
    return PREFIX + name if name.startswith(_BARE) else name


def scheme_name(name: str, scheme: str, *, segmenter: bool = False) -> str:
    """A scheme's name for a parameter under Hugging Face's name (with prefix).

    Raises CheckpointError if the scheme has none: timm has no segmenter, and neither timm nor ml-cvnets has activations
    with parameters.
    """
    if scheme == HUGGING_FACE:
        return name
    found = FROM_HUGGING_FACE[scheme].get(name)
    if found is None:
        raise CheckpointError(f"{scheme} has no place for the tensor {name[:150]!r}; keep Hugging Face's names")
    return ENCODER_PREFIX + found if segmenter and scheme == ML_CVNETS and name.startswith(PREFIX) else found


def to_hugging_face(tensors: Mapping[str, np.ndarray], scheme: str) -> dict[str, np.ndarray]:
    """The tensors under Hugging Face's names (with prefix), query, key and value apart; the numbers stay as they are.

    Raises CheckpointError if two tensors would have the same name, or a fused one doesn't have three equal parts.
    """
    found: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        targets = hugging_face_names(name, scheme)
        if len(targets) > 1 and (tensor.ndim == 0 or tensor.shape[0] % len(targets)):
            raise CheckpointError(
                f"{name!r} should hold query, key and value in three equal parts, but is {tensor.shape}"
            )
        parts = np.split(tensor, len(targets)) if len(targets) > 1 else [tensor]
        for target, part in zip(targets, parts, strict=True):
            if target in found:
                raise CheckpointError(f"two of its tensors are {target!r}; save the state dict again")
            found[target] = np.ascontiguousarray(part).reshape(part.shape)
    return found


def from_hugging_face(tensors: Mapping[str, np.ndarray], scheme: str) -> dict[str, np.ndarray]:
    """Tensors under Hugging Face's names (with prefix) -> the scheme's names; the numbers stay as they are.

    Raises CheckpointError if the scheme has no place for one of them, or query, key and value don't fit together.
    """
    segmenter = any(name.startswith(SEGMENTATION) for name in tensors)
    renamed = {name: scheme_name(name, scheme, segmenter=segmenter) for name in tensors}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in renamed.values()}
    for name in sorted(tensors, key=_part_number):  # query before key before value
        parts[renamed[name]].append(tensors[name])
    return {name: _join(name, those, scheme) for name, those in parts.items()}


def _part_number(name: str) -> int:
    return next((number for number, part in enumerate(PARTS) if f".attention.attention.{part}." in name), -1)


def _join(name: str, parts: list[np.ndarray], scheme: str) -> np.ndarray:
    whole = len(TO_HUGGING_FACE[scheme].get(name.removeprefix(ENCODER_PREFIX), (name,)))
    alike = len({(part.shape, part.dtype) for part in parts}) == 1
    if len(parts) != whole or not alike or (whole > 1 and not parts[0].ndim):
        raise CheckpointError(f"query, key and value don't fit together into one tensor {name!r}; check their shapes")
    return parts[0] if whole == 1 else np.concatenate(parts)


def flip_stem(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same tensors (Hugging Face's names) for photos with their channels in the other order, RGB or BGR."""
    stem = tensors.get(STEM)
    if stem is None or stem.ndim != 4:
        raise CheckpointError(f"there is no stem {STEM!r} whose channels could be reversed")
    return {**tensors, STEM: np.ascontiguousarray(stem[:, ::-1])}
