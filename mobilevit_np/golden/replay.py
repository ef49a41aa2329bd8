"""The reference run on the port's own tensors, so that each layer's error is its own.

One wrapper on every path does it. ``feed`` lets a module compute its output, keeps that, and returns the port's tensor
of the same path instead: the next module is fed what the port's next module was fed. Errors don't accumulate; a layer
after a wrong one is judged by itself. If the port has no tensor for a path, ours is passed on.

The noise floor is local too: the same replay in float32, compared layer by layer with the float64 one, and for a port
in half precision or int8 another that rounds as such a port does (``rounding``).

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
from .rounding import Plant, rounding_noise, roundings

_RESIZED = (".unfolding", ".folding")  # where maps that aren't whole patches are resized


@dataclass(frozen=True)
class Measured:
    """How far the port's tensor is from the one expected, and the noise floor there, in the tensor's precision."""

    difference: Difference
    noise: float
    expected: np.ndarray


class _ReachedError(Exception):
    """The one tensor that was asked for is computed: the rest of the network needn't be."""


def replay(
    network: Network, golden: Golden, port: Mapping[str, np.ndarray], precisions: Mapping[str, str]
) -> dict[str, Measured]:
    """For every path that the port has a tensor for, in order of execution: how far it is from the reference there.

    ``port`` is under our paths and in our layout. The noise floor is that of the tensor's precision: float32's, scaled
    for float64; measured for coarser ones.
    """
    exact = reference_tensors(network, golden, port)
    coarse = reference_tensors(network, golden, port, dtype=np.float32)
    noise = {path: _noise(path, coarse[path], ours) for path, ours in exact.items()}
    floors = {path: floor(noise[path], min(precisions[path], "float32", key=UNITS.__getitem__)) for path in exact}
    for precision, plant in roundings(network).items():
        paths = [path for path in exact if precisions[path] == precision]
        rounded = reference_tensors(network, golden, port, plant=plant) if paths else {}
        floors |= {path: max(floors[path], rounding_noise(rounded[path], exact[path], precision)) for path in paths}
    return {path: Measured(measure(port[path], ours), floors[path], ours) for path, ours in exact.items()}


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
    """What the reference outputs for the port's own inputs, for every path that the port has, in order of execution.

    ``plant`` plants mistakes. With ``target`` only that path's tensor is computed, and of the rest no more than that
    takes; the result hasn't got it if the run doesn't reach it. With ``everything`` the paths that the port hasn't got
    are included.
    """
    scope = network.scope(dtype)
    planted = scope if plant is None else plant(scope)
    ours: dict[str, np.ndarray] = {}

    def keep(path: str, output: np.ndarray) -> np.ndarray:
        """Keep ``output``, which is ours; return the port's tensor, if it has one."""
        name = name_of_output(path)
        theirs = port.get(name)
        wanted = everything if theirs is None else target in (None, name) and output.shape == theirs.shape
        if wanted:
            ours[name] = output
        if target == name:
            raise _ReachedError
        return output if theirs is None else theirs.astype(dtype)

    def feed(compute: Callable[..., np.ndarray], x: np.ndarray, here: Scope, *args: Any, **kwargs: Any) -> np.ndarray:
        name = name_of_output(here.path)
        if target is not None and name in port and not _leads_to(here.path, target):
            return port[name].astype(dtype)  # not asked for, so it needn't be computed
        return keep(here.path, compute(x, here, *args, **kwargs))

    replaced = target not in (None, PIXELS) and PIXELS in port  # the port's, so the photo needn't be prepared
    given = port[PIXELS] if replaced else check_input(_pixel_values(golden, network, planted), network)
    with np.errstate(over="ignore"), contextlib.suppress(_ReachedError):
        network.run(keep(PIXELS, given).astype(dtype), planted.wrap("*", feed))
    return ours


def _noise(path: str, coarse: np.ndarray, exact: np.ndarray) -> float:
    """float32's noise floor; 0, which excuses nothing, if it isn't finite.

    A resize has more noise than its values show: ports compute positions in float32 too. A position's rounding is one
    unit of the map's side, and we compute positions in float64 in both runs.
    """
    found = error(coarse, exact)
    found = found if math.isfinite(found) else 0.0
    if not path.endswith(_RESIZED):
        return found
    pixels = exact.shape[0] * exact.shape[1] if exact.ndim == 3 else exact.shape[2] * exact.shape[3]
    return max(found, UNITS["float32"] * math.sqrt(pixels))


def _pixel_values(golden: Golden, network: Network, planted: Scope) -> np.ndarray:
    """Made from the stored photo, with any mistakes planted in the preprocessing; without a photo, the stored ones."""
    if IMAGE in golden.tensors:
        return make_pixel_values(golden.tensors[IMAGE], network.profile, planted)
    return golden.tensors[PIXELS]


def _leads_to(path: str, target: str) -> bool:
    return path in ("", target) or target.startswith(f"{path}.")
