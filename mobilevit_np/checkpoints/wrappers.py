"""The network among all tensors that a file holds.

A training script saves more than a network, and under longer names: ``state_dict.model.stem.conv.weight`` beside
``optimizer...``, ``criterion.weight`` and an average of the weights. Whatever the format, the network is found by its
stem's weight, whose name in every scheme is known: whatever comes before it is the prefix, and all under the prefix is
taken. A head of one linear layer beside the network, or in place of its own, is taken for its classifier. The rest is
left out, and the remarks say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import CheckpointError, InputError, visible
from . import parameter_names as names

_TRANSPARENT = {"module", "_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"}  # wrap any part
_AVERAGES = {
    "state_dict_ema", "model_ema", "ema_state_dict", "model_ema_state_dict", "ema_model", "ema", "averaged_model",
    "net_ema", "module_ema", "ema_net", "swa_model", "avg_model",
}  # fmt: skip
_SILENT = {"n_averaged"}  # a counter of torch.optim.swa_utils.AveragedModel
_HEADS = {
    "classifier", "fc", "linear", "cls", "logits", "last_linear", "decoder", "fpn", "extra_layers", "mlp", "dense",
    "lin", "out", "output", "score", "regressor",
}  # fmt: skip
_HARMLESS = re.compile("loss|crit|metric|acc|auroc|f1|conf|optim|sched|scaler|ema|rng|best|n_averaged")  # no layers
_FOREIGN = (  # a part of a head's name, and whose it is
    (("ssd", "extra_layers"), "an SSD detector"),
    (("bbox", "rpn", "roi", "det_head", "box_head", "fpn"), "a detector"),
    (("decode", "segmentation_head", "seg_head", "auxiliary_head"), "another segmenter"),
)
_BARE_REMEDY = 'task="backbone" in Python (MobileViTModel) opens the network without it'
_MAX_NAMED = 6


@dataclass(frozen=True)
class Found:
    """Where in a file a network is."""

    prefix: str  # with its dot; without the parts that wrappers such as DataParallel add anywhere
    scheme: str
    names: dict[str, str]  # {name in the file: the scheme's name}
    remarks: tuple[str, ...]  # what was left out or taken for a classifier, a clause each


@dataclass(frozen=True)
class _Network:
    prefix: str
    scheme: str

    @property
    def averaged(self) -> bool:
        return not _AVERAGES.isdisjoint(self.prefix.split("."))


def find_network(
    file_names: Iterable[str], *, prefix: str | None = None, use_ema: bool = True, task: str | None = None
) -> Found:
    """Where in a file with these tensors the network is, and what its tensors are called.

    ``prefix`` chooses from several networks; without it the averaged weights are taken, if there are any (or, with
    ``use_ema`` false, the others). ``task`` "backbone" leaves out a head that isn't this network's.
    Raises CheckpointError if there's no MobileViT, or several to choose from, or one with another head.
    """
    plain = _unwrapped(file_names)
    networks = _networks(plain)
    chosen = _choose(networks, prefix, use_ema)
    if chosen is None:
        names.refuse(plain)
    inside = {name: name[len(chosen.prefix) :] for name in plain if name.startswith(chosen.prefix)}
    names.refuse_relatives(inside)
    names.check_completeness(inside.values(), chosen.scheme)
    own = {name: rest for name, rest in inside.items() if names.is_part(rest, chosen.scheme)}
    remarks = []
    if not names.has_head(own.values(), chosen.scheme):
        heads = _heads(plain, own, chosen)
        heads |= _beside_heads(plain, own, heads, chosen, networks)
        own = {name: rest for name, rest in own.items() if name not in heads}
        if adopted := _adopted(heads, chosen.scheme):
            own.update(adopted)
            remarks.append(f"{_top(next(iter(adopted)), chosen)} is taken for its classifier")
        elif heads and task != "backbone":
            raise CheckpointError(_another_head(heads, chosen))
    remarks += _left_out(plain, own, chosen, networks)
    return Found(chosen.prefix, chosen.scheme, {plain[name]: rest for name, rest in own.items()}, tuple(remarks))


def _unwrapped(file_names: Iterable[str]) -> dict[str, str]:
    """{name without the parts that wrappers add: name in the file}."""
    found: dict[str, str] = {}
    for name in file_names:
        plain = ".".join(part for part in name.split(".") if part not in _TRANSPARENT)
        if found.setdefault(plain, name) != name:
            raise CheckpointError(f"two of its tensors are {visible(plain)}; save the state dict again")
    return found


def _networks(plain: Iterable[str]) -> list[_Network]:
    found: dict[_Network, None] = {}
    for name in plain:
        for mark, root, scheme in names.MARKS:
            if name == mark or name.endswith(f".{mark}"):
                before = name[: -len(mark)]
                outer = before.removesuffix(root)
                found[_Network(outer if not outer or outer.endswith(".") else before, scheme)] = None
    return sorted(found, key=lambda network: network.prefix)


def _choose(networks: list[_Network], prefix: str | None, use_ema: bool) -> _Network | None:
    if prefix is not None:
        if not isinstance(prefix, str):
            raise InputError(f"prefix must be the text that tensors' names begin with, not {prefix!r:.60}")
        wanted = ".".join(part for part in prefix.split(".") if part and part not in _TRANSPARENT)
        found = [each for each in networks if f"{each.prefix}.".startswith(f"{wanted}." if wanted else "")]
        exact = [each for each in found if each.prefix.rstrip(".") == wanted]
        if not found:
            raise CheckpointError(f"there is no network under {visible(prefix)!r}; {_listed(networks)}")
        networks = exact or found
    if len(networks) > 1:
        preferred = [each for each in networks if each.averaged == use_ema]
        if len(preferred) != 1:
            raise CheckpointError(f"{_listed(networks)}; choose one by its prefix (--prefix on the command line)")
        networks = preferred
    return networks[0] if networks else None


def _listed(networks: list[_Network]) -> str:
    if not networks:
        return "there is none at all"
    some = [repr(visible(each.prefix, 60)) if each.prefix else "no prefix" for each in networks[:_MAX_NAMED]]
    return f"it holds {len(networks)} network{'s' if len(networks) > 1 else ''}, under {', '.join(some)}"


def _heads(plain: Iterable[str], own: Mapping[str, str], network: _Network) -> dict[str, str]:
    """{name: its module's name} of tensors that look like a head, beside the network or in the place of its own."""
    found = {name: name.rpartition(".")[0] for name, rest in own.items() if names.is_in_place_of_head(rest)}
    parts = network.prefix.split(".")
    scopes = ["".join(f"{part}." for part in parts[:depth]) for depth in range(len(parts))]
    for name in plain:
        if name not in own:
            inner = scopes[-1:] if name.startswith(network.prefix) else scopes
            tops = [name[len(scope) :].partition(".")[0] for scope in inner if name.startswith(scope)]
            if any(top in _HEADS or "head" in top for top in tops):
                found[name] = name.rpartition(".")[0]
    return found


def _beside_heads(
    plain: Iterable[str], own: Mapping[str, str], heads: Mapping[str, str], network: _Network, networks: list[_Network]
) -> dict[str, str]:
    """The same for what lies beside a head and may belong to it, such as a normalization before a linear layer."""
    scopes = {_top(name, network).rpartition(".")[0] for name in heads}
    others = tuple(each.prefix for each in networks if each != network and each.prefix)
    found = {}
    for name in plain:
        top = _top(name, network)
        harmless = name in own or name.startswith(others) or _HARMLESS.search(top.rpartition(".")[2].lower())
        if top.rpartition(".")[0] in scopes and not harmless:
            found[name] = name.rpartition(".")[0]
    return found


def _adopted(heads: Mapping[str, str], scheme: str) -> dict[str, str]:
    """{name: the scheme's} if the head is one layer with a weight and a bias, and so may be the classifier."""
    leaves = {name: name.rpartition(".")[2] for name in heads}
    if len(set(heads.values())) != 1 or sorted(leaves.values()) != ["bias", "weight"]:
        return {}
    return {name: f"{names.CLASSIFIER[scheme]}.{leaf}" for name, leaf in leaves.items()}


def _another_head(heads: Mapping[str, str], network: _Network) -> str:
    modules = sorted(set(heads.values()))
    text = " ".join(modules)
    plain = "a head of several layers" if len(modules) > 1 else "another head"
    whose = next((what for parts, what in _FOREIGN if any(part in text for part in parts)), plain)
    some = ", ".join(visible(module, 60) for module in modules[:_MAX_NAMED])
    return (
        f"the network comes with {whose} ({some}{', ...' if len(modules) > _MAX_NAMED else ''}), and this library only "
        f"knows a linear layer for classes, and DeepLabV3; {_BARE_REMEDY}"
    )


def _top(name: str, network: _Network) -> str:
    """A tensor's path, up to the first part in which it differs from the network's prefix."""
    parts, ours = name.split("."), network.prefix.split(".")[:-1]
    shared = next((i for i, part in enumerate(parts[:-1]) if i >= len(ours) or part != ours[i]), len(parts) - 1)
    return ".".join(parts[: shared + 1])


def _left_out(plain: Iterable[str], own: Mapping[str, str], network: _Network, networks: list[_Network]) -> list[str]:
    counts: dict[str, int] = {}
    others = [each.prefix for each in networks if each != network and each.prefix]
    for name in plain:
        if name not in own and name.rpartition(".")[2] not in _SILENT:
            inner = next((prefix for prefix in others if name.startswith(prefix)), None)
            top = inner or _top(name, network)
            counts[top] = counts.get(top, 0) + 1
    some = [
        f"{visible(top.rstrip('.'), 80)} ({count} tensor{'s' if count > 1 else ''}"
        f"{', a network that its prefix would choose' if top in others else ''})"
        for top, count in sorted(counts.items())
    ]
    more = [f"{len(some) - _MAX_NAMED} more"] if len(some) > _MAX_NAMED else []
    return [f"left out: {', '.join(some[:_MAX_NAMED] + more)}"] if some else []
