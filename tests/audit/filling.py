"""The golden's weights in a port's modules, found by order and shape: a port's names are its own.

Both networks list their modules in order of execution; a module is of a kind by its parameters' sizes. The longest
common sequence of kinds says which is which. What has no counterpart is left as the port built it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mobilevit_np.golden import Golden

Module = dict[str, np.ndarray]  # leaf, as PyTorch calls it -> values in PyTorch's layout
Kind = tuple[object, ...]
PARTS = ("query", "key", "value")


def filled(modules: Mapping[str, Module], golden: Golden, tensors: Mapping[str, np.ndarray]) -> dict[str, Module]:
    """The port's modules with the golden's weights, where they have a counterpart. Values in PyTorch's layout."""
    names, kinds = list(modules), [kind(module) for module in modules.values()]
    apart = _in_order(golden, tensors)
    most: list[tuple[str, Module]] = []
    for ours in (list(apart.values()), list(_fused(apart))):
        pairs = [(names[i], ours[j]) for i, j in common(kinds, [kind(module) for module in ours])]
        most = max(most, pairs, key=len)
    return {
        name: {leaf: mine[leaf].reshape(held.shape) for leaf, held in modules[name].items() if leaf in mine}
        for name, mine in most
    }


def kind(module: Module) -> Kind:
    """What can stand for one another: the same sizes, in whatever layout; statistics make a batch norm."""
    return "running_var" in module, *sorted(n for n in module.get("weight", np.empty(0)).shape if n > 1)


def common(a: Sequence[Kind], b: Sequence[Kind]) -> list[tuple[int, int]]:
    """The longest common subsequence, as pairs of positions."""
    longest = np.zeros((len(a) + 1, len(b) + 1), int)
    for i in reversed(range(len(a))):
        for j in reversed(range(len(b))):
            longest[i, j] = longest[i + 1, j + 1] + 1 if a[i] == b[j] else longest[i : i + 2, j : j + 2].max()
    pairs, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif longest[i + 1, j] >= longest[i, j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def _in_order(golden: Golden, tensors: Mapping[str, np.ndarray]) -> dict[str, Module]:
    """Our modules in order of execution, which is the golden's."""
    modules: dict[str, Module] = defaultdict(dict)
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        modules[path][leaf] = tensor
    order = {path: number for number, path in enumerate(golden.tensors)}
    return dict(sorted(modules.items(), key=lambda item: order.get(item[0], len(order))))


def _fused(modules: Mapping[str, Module]) -> Iterator[Module]:
    """The same with queries, keys and values in one."""
    for path, module in modules.items():
        block, _, part = path.rpartition(".")
        if part == PARTS[0]:
            parts = [modules[f"{block}.{each}"] for each in PARTS]
            yield {leaf: np.concatenate([each[leaf] for each in parts]) for leaf in module}
        elif part not in PARTS[1:]:
            yield module
