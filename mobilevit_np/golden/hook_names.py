"""What ports call our activations: the names that hooks on transformers', timm's and ml-cvnets' models see, as tables.

An entry is a port's name and which of our activations it is: one path, or several if the port's module outputs them as
one tensor (timm's ``qkv``), or a choice if it depends on the network (timm's ``bn`` is batch norm and activation in
one: its hook sees our activation, or our normalization if there's none). The module names themselves come from the
table of parameter names, so that they are in one place.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from typing import NamedTuple

from ..checkpoints.parameter_names import ENCODER_PREFIX, MODULES, PARTS, PREFIX, Module
from .file import LOGITS, PIXELS
from .graph_names import graph_choices

TRANSFORMERS, TIMM, ML_CVNETS, MAP = "transformers' names", "timm's names", "ml-cvnets' names", "the map"
GRAPH = "an exported graph's names"
_SOFTMAX = re.compile(r"(.*attention\.attention\.)dropout(?:_\d+)?")  # Keras counts its dropouts


class Entry(NamedTuple):
    """Which of our activations a port's tensor is."""

    choice: tuple[str, ...] = ()  # the first of these paths that the golden has
    parts: tuple[str, ...] = ()  # or these side by side on the last axis


_TIMM_SEQUENCE = {  # timm's modules inside a transformer layer -> ours
    "norm1": "layernorm_before",
    "attn.attn_drop": "attention.attention.probabilities",
    "attn.norm": "attention.attention",
    "attn.proj": "attention.output.dense",
    "attn": "attention",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.act": "intermediate.intermediate_act_fn",
    "mlp.fc2": "output.dense",
    "mlp": "output.dense",
}
_TIMM_CONVOLUTION = (  # timm's modules inside a convolution layer -> ours, the first that exists
    (".conv", (".convolution",)),
    (".bn.drop", (".normalization",)),
    (".bn.act", (".activation",)),
    (".bn", (".activation", ".normalization")),
    ("", ("",)),
)
_ML_CVNETS_SEQUENCE = {  # ml-cvnets' modules without parameters inside a transformer layer -> ours
    "pre_norm_mha.1.softmax": "attention.attention.probabilities",
    "pre_norm_mha.1.attn_dropout": "attention.attention.probabilities",
    "pre_norm_mha.1": "attention",
    "pre_norm_mha.2": "attention",
    "pre_norm_ffn.2": "intermediate.intermediate_act_fn",
    "pre_norm_ffn.3": "intermediate.intermediate_act_fn",
    "pre_norm_ffn.5": "output.dense",
    "pre_norm_ffn": "output.dense",
}
_ML_CVNETS_CONVOLUTION = (  # ml-cvnets' modules inside a convolution layer -> ours, the first that exists
    (".block.conv", (".convolution",)),
    (".block.norm", (".normalization",)),
    (".block.act", (".activation",)),
    (".block", ("",)),
    ("", ("",)),
)
_BARE = {"conv_stem", "encoder", "conv_1x1_exp"}  # the parts of transformers' model without a head
_TIMM_WHOLE = {  # timm's modules without parameters of their own -> ours
    "stages": "mobilevit.encoder",
    "final_conv": "mobilevit.conv_1x1_exp",
    "head": LOGITS,
    "head.fc": "classifier",
    "": LOGITS,
    LOGITS: LOGITS,
    PIXELS: PIXELS,
}


def table(port_names: Iterable[str], paths: Collection[str]) -> tuple[str, dict[str, Entry]]:
    """The title of the table that knows most of a port's names, and its entries for them. ``paths``: the golden's."""
    names = list(port_names)
    tables = {
        TRANSFORMERS: transformers_table(names, paths),
        TIMM: _table(_timm_entries(), paths),
        ML_CVNETS: _table(_ml_cvnets_entries("classifier" in paths), paths),
        GRAPH: {name: Entry(choice) for name, choice in graph_choices(names, paths).items()},
    }
    known = {title: {name: entries[name] for name in names if name in entries} for title, entries in tables.items()}
    best = max(known, key=lambda title: len(known[title]))
    return best, known[best]


def transformers_table(port_names: Iterable[str], paths: Container[str]) -> dict[str, Entry]:
    """transformers' hooks see our paths, as its Keras layers do; a bare model's lack the ``mobilevit.``.

    The dropout after the softmax outputs the probabilities.
    """
    names = list(port_names)
    whole = name_of_whole(names)
    found = {}
    for name in names:
        path = _SOFTMAX.sub(r"\1probabilities", name)
        for ours in (path or whole, f"mobilevit.{path}"):
            if ours in paths:
                found[name] = Entry((ours,))
                break
    return found


def name_of_whole(module_names: Iterable[str]) -> str:
    """Which of ours a whole model's output is: the logits, or the last map if the names are a bare model's."""
    parts = {name.partition(".")[0] for name in module_names} - {"", PIXELS, LOGITS}
    return "mobilevit" if parts and parts <= _BARE else LOGITS


def _table(entries: Iterable[tuple[str, Entry]], paths: Container[str]) -> dict[str, Entry]:
    """Module names -> which of ours their hooks see, for the paths there are."""
    found: dict[str, Entry] = {}
    for name, entry in entries:
        choice = tuple(path for path in entry.choice if path in paths)[:1]
        if choice or (entry.parts and all(part in paths for part in entry.parts)):
            found.setdefault(name, Entry(choice, entry.parts))
    return found


def from_map(
    mapping: Mapping[str, str | list[str]], port_names: Container[str], paths: Container[str]
) -> dict[str, Entry]:
    """A user's own table: ``{"port's name": "our path"}``, or a list of paths that stand side by side.

    Entries without a path, or for a tensor that either side hasn't got, are left out: the golden file may have only a
    few.
    """
    return {
        name: Entry((ours,)) if isinstance(ours, str) else Entry(parts=tuple(ours))
        for name, ours in mapping.items()
        if name in port_names and ours and all(path in paths for path in ([ours] if isinstance(ours, str) else ours))
    }


def _timm_entries() -> Iterator[tuple[str, Entry]]:
    for module in MODULES:
        if module.timm is not None and module.kind in ("conv_norm", "conv"):
            yield from _timm_convolution(module)
    for level, inner in ((0, "layer.0"), (1, "layer.0"), (1, "layer.1"), (1, "layer.2")):
        yield f"stages.{level}.{inner[-1]}", Entry((f"mobilevit.encoder.layer.{level}.{inner}",))
    for level in range(5):
        ours = f"mobilevit.encoder.layer.{level}"
        yield f"stages.{level}", Entry((ours,))
        if level >= 2:
            yield f"stages.{level}.0", Entry((f"{ours}.downsampling_layer",))
            yield f"stages.{level}.1", Entry((ours,))
            yield f"stages.{level}.1.transformer", Entry((f"{ours}.transformer",))
            yield f"stages.{level}.1.norm", Entry((f"{ours}.layernorm",))
            for index in range(4):
                yield from _timm_transformer(
                    f"stages.{level}.1.transformer.{index}", f"{ours}.transformer.layer.{index}"
                )
    yield from ((theirs, Entry((ours,))) for theirs, ours in _TIMM_WHOLE.items())


def _timm_convolution(module: Module) -> Iterator[tuple[str, Entry]]:
    if module.kind == "conv":  # bare in timm
        yield module.timm or "", Entry((f"{module.huggingface}.convolution",))
        return
    for theirs, ours in _TIMM_CONVOLUTION:
        yield f"{module.timm}{theirs}", Entry(tuple(f"{module.huggingface}{suffix}" for suffix in ours))


def _timm_transformer(theirs: str, ours: str) -> Iterator[tuple[str, Entry]]:
    yield theirs, Entry((ours,))
    yield f"{theirs}.attn.qkv", Entry(parts=tuple(f"{ours}.attention.attention.{part}" for part in PARTS))
    for name, path in _TIMM_SEQUENCE.items():
        yield f"{theirs}.{name}", Entry((f"{ours}.{path}",))


def _ml_cvnets_entries(classifies: bool) -> Iterator[tuple[str, Entry]]:
    """A segmenter's backbone has ``encoder.`` before its names, and its own output is enlarged, none of ours."""
    for name, entry in _ml_cvnets_modules():
        yield name, entry
        if any(path.startswith(PREFIX) for path in (*entry.choice, *entry.parts)):
            yield f"{ENCODER_PREFIX}{name}", entry
    yield from ((name, Entry((name,))) for name in ("classifier", LOGITS, PIXELS))
    if classifies:
        yield "", Entry((LOGITS,))


def _ml_cvnets_modules() -> Iterator[tuple[str, Entry]]:
    for module in MODULES:
        if module.kind == "affine":
            yield module.ml_cvnets, Entry((module.huggingface,))
        else:
            for ending, endings in _ML_CVNETS_CONVOLUTION:
                yield f"{module.ml_cvnets}{ending}", Entry(tuple(f"{module.huggingface}{end}" for end in endings))
    for level in range(5):
        theirs, ours = f"layer_{level + 1}", f"mobilevit.encoder.layer.{level}"
        yield theirs, Entry((ours,))
        if level < 2:
            yield from ((f"{theirs}.{i}", Entry((f"{ours}.layer.{i}",))) for i in range(3))
            continue
        yield f"{theirs}.0", Entry((f"{ours}.downsampling_layer",))
        yield f"{theirs}.1", Entry((ours,))
        yield f"{theirs}.1.local_rep", Entry((f"{ours}.conv_1x1.convolution",))
        for i in range(4):
            layer, its = f"{theirs}.1.global_rep.{i}", f"{ours}.transformer.layer.{i}"
            yield layer, Entry((its,))
            qkv = tuple(f"{its}.attention.attention.{part}" for part in PARTS)
            yield f"{layer}.pre_norm_mha.1.qkv_proj", Entry(parts=qkv)
            yield from ((f"{layer}.{name}", Entry((f"{its}.{path}",))) for name, path in _ML_CVNETS_SEQUENCE.items())
