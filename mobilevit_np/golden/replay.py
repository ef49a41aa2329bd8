"""The reference run on the port's own tensors, so that each layer's error is its own.

One wrapper on every path does it. ``feed`` lets a module compute what it would, keeps that beside the port's
tensor of the same path, and hands on the port's tensor in place of it: the next module is fed what the port's next
module was fed. Nothing piles up; a layer after a wrong one is right if it's right. Where the port has no tensor for a
path, ours goes on.

The noise floor is local too: the same replay in float32, layer by layer beside the float64 one, and for a port in
half precision or int8 another that rounds as it does (``rounding``).

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..scope import Scope
from .file import IMAGE, PIXELS, Golden
from .measure import UNITS, Difference, error, floor, measure
from .network import Network, check_input, make_pixel_values, name_of_output
from .rounding import rounding_noise, roundings

_RESIZED = (".unfolding", ".folding")  # where maps that aren't whole patches are resized
Plant = Callable[[Scope], Scope]


@dataclass(frozen=True)
class Local:
    """How far the port's tensor is from what the reference gives for the port's own input, and the noise there."""

    difference: Difference
    noise: float
    expected: np.ndarray


class _ReachedError(Exception):
    """The one tensor that was asked for has been computed: the rest of the network needn't be."""


def replay(
    network: Network, golden: Golden, port: Mapping[str, np.ndarray], precisions: Mapping[str, str]
) -> dict[str, Local]:
    """For every path that the port has a tensor for, in order of execution: how far it is from the reference there.

    ``port`` is under our paths and in our layout. The noise is the floor in the tensor's precision: float32's, scaled
    for float64; and measured for those that are coarser.
    """
    exact = reference_tensors(network, golden, port)
    coarse = reference_tensors(network, golden, port, dtype=np.float32)
    noise = {path: _noise(path, coarse[path], ours) for path, ours in exact.items()}
    floors = {path: floor(noise[path], min(precisions[path], "float32", key=UNITS.__getitem__)) for path in exact}
    for precision, plant in roundings(network).items():
        paths = [path for path in exact if precisions[path] == precision]
        rounded = reference_tensors(network, golden, port, plant=plant) if paths else {}
        floors |= {path: max(floors[path], rounding_noise(rounded[path], exact[path], precision)) for path in paths}
    return {path: Local(measure(port[path], ours), floors[path], ours) for path, ours in exact.items()}


def reference_tensors(
    network: Network,
    golden: Golden,
    port: Mapping[str, np.ndarray],
    *,
    plant: Plant | None = None,
    target: str | None = None,
    everything: bool = False,
    dtype: Any = np.float64,
) -> dict[str, np.ndarray]:
    """What the reference gives for the port's own inputs, for every path that the port has, in order of execution.

    ``plant`` switches mistakes on. With ``target`` only that path's tensor is computed, and of the rest no more than
    that takes: empty where the run doesn't reach it. With ``everything`` the paths that the port hasn't are told too.
    """
    scope = network.scope(dtype)
    planted = scope if plant is None else plant(scope)
    ours: dict[str, np.ndarray] = {}

    def keep(path: str, output: np.ndarray) -> np.ndarray:
        """``output`` is ours; what's handed back is the port's where it has it."""
        name = name_of_output(path)
        if name not in port:
            if everything:
                ours[name] = output
            return output
        if target in (None, name) and output.shape == port[name].shape:
            ours[name] = output
        if target == name:
            raise _ReachedError
        return port[name].astype(dtype)

    def feed(compute: Callable[..., np.ndarray], x: np.ndarray, here: Scope, *args: Any, **kwargs: Any) -> np.ndarray:
        name = name_of_output(here.path)
        if target is not None and name in port and not _leads_to(here.path, target):
            return port[name].astype(dtype)  # not asked for: no need to compute it
        return keep(here.path, compute(x, here, *args, **kwargs))

    given = check_input(_pixel_values(golden, network, planted), network)
    with np.errstate(over="ignore"), contextlib.suppress(_ReachedError):
        network.run(keep(PIXELS, given).astype(dtype), planted.wrap("*", feed))
    return ours


def _noise(path: str, coarse: np.ndarray, exact: np.ndarray) -> float:
    """float32's noise floor; 0 where there's none that's a number, which excuses nothing.

    A resize has more than its values show: ports compute positions in float32 too. A position's rounding is one unit
    of the map's side, and we compute positions in float64 in either run.
    """
    found = error(coarse, exact)
    found = found if math.isfinite(found) else 0.0
    if not path.endswith(_RESIZED):
        return found
    pixels = exact.shape[0] * exact.shape[1] if exact.ndim == 3 else exact.shape[2] * exact.shape[3]
    return max(found, UNITS["float32"] * math.sqrt(pixels))


def _pixel_values(golden: Golden, network: Network, planted: Scope) -> np.ndarray:
    """Made from the stored photo, with what mistakes are planted in the preprocessing; the stored ones without it."""
    if IMAGE in golden.tensors:
        return make_pixel_values(golden.tensors[IMAGE], network.profile, planted)
    return golden.tensors[PIXELS]


def _leads_to(path: str, target: str) -> bool:
    return path in ("", target) or target.startswith(f"{path}.")
