"""Making a golden: the network run in float64 and float32, and every layer's output.

The float64 run is what ports are compared with. The float32 run measures the noise floor: how far correct float32
arithmetic strays at each tensor, over the tensor's largest magnitude. Tolerances are multiples of it.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from ..config import plain_fields
from ..errors import InputError
from ..formats.dtypes import float_type
from ..preprocess import decode, with_channels
from ..scope import Scope
from .file import IMAGE, LOGITS, PIXELS, Golden, read_tensors
from .measure import error
from .network import Network, check_input, input_facts, make_pixel_values, name_of_output

TENSOR_SUFFIXES = (".npy", ".npz", ".safetensors")
Wanted = Callable[[str], bool]


def trace(
    source: Any, network: Network, *, dtype: str = "float64", only: str | None = None, depth: int | None = None
) -> Golden:
    """The golden of ``network`` for ``source``: a photo (whatever ``decode`` takes), a tensor's file, or pixel values.

    Pixel values are a float array (B, C, H, W) or (C, H, W). ``only`` keeps the activations whose path matches a
    shell-style pattern, ``depth`` those of at most so many names (``mobilevit.encoder.layer.2`` has four); inputs and
    logits are always kept. ``dtype`` is that of the activations, float64 or float32.
    Raises InputError if the source doesn't fit the network or memory, if nothing matches ``only``, or for another
    dtype; ImageError or CheckpointError if the photo or the file can't be read.
    """
    dtype = float_type(dtype, ("float64", "float32")).name
    given = _load(source, network)
    activations, noise = capture(given[PIXELS], network, dtype, wanted(only, depth))
    if only is not None and not any(fnmatchcase(name, only) for name in activations):
        raise InputError(
            f"no activation's path matches {only!r:.80}{'' if depth is None else f' within {depth} names'}; paths look "
            "like mobilevit.encoder.layer.2.conv_1x1, and * stands for any part of one"
        )
    profile = network.profile if IMAGE in given else None
    return Golden(
        task=network.task,
        config=plain_fields(network.config),
        tensors={**given, PIXELS: given[PIXELS].astype(dtype), **activations},
        noise=noise,
        dtype=dtype,
        profile=asdict(profile) if profile else None,
        weights=network.weights,
        input=input_facts(given, _name(source)),
    )


def wanted(only: str | None, depth: int | None) -> Wanted:
    """A function that says whether an activation is kept; see ``trace``."""

    def keep(name: str) -> bool:
        if name == LOGITS:
            return True
        return (only is None or fnmatchcase(name, only)) and (depth is None or name.count(".") < depth)

    return keep


def capture(
    pixel_values: np.ndarray, network: Network, dtype: str, keep: Wanted
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The activations in ``dtype``, in order of execution, and their noise floors."""
    kept: dict[str, np.ndarray] = {}
    noise: dict[str, float] = {}

    def listen_exactly(path: str, output: np.ndarray) -> None:
        if keep(name_of_output(path)):
            kept[name_of_output(path)] = output.copy()

    def listen_coarsely(path: str, output: np.ndarray) -> None:
        name = name_of_output(path)
        if name in kept:
            noise[name] = error(output, kept[name])
            if dtype == "float32":
                kept[name] = output.copy()

    _run(pixel_values, network, network.scope(np.float64).listen(listen_exactly))
    _run(pixel_values, network, network.scope(np.float32).listen(listen_coarsely))
    return kept, noise


def _run(pixel_values: np.ndarray, network: Network, scope: Scope) -> None:
    dtype = scope["mobilevit.conv_stem.convolution.weight"].dtype
    network.run(pixel_values.astype(dtype), scope)


def _load(source: Any, network: Network) -> dict[str, np.ndarray]:
    """The inputs by name: pixel values in float32 (float64 if given so), and before them the photo, if there is one."""
    array = source if isinstance(source, np.ndarray) and source.dtype.kind == "f" else None
    if isinstance(source, (str, os.PathLike)) and Path(source).suffix.lower() in TENSOR_SUFFIXES:
        tensors = read_tensors(Path(source))[0]
        if IMAGE not in tensors:
            array = _one_of(tensors, str(source))
        else:
            source = tensors[IMAGE]  # another golden's photo
    if array is not None:
        return {PIXELS: check_input(array, network)}
    photo = with_channels(decode(source), network.config.num_channels)
    return {IMAGE: photo, PIXELS: check_input(make_pixel_values(photo, network.profile, Scope({})), network)}


def _one_of(tensors: dict[str, np.ndarray], name: str) -> np.ndarray:
    if PIXELS in tensors:
        return tensors[PIXELS]
    if len(tensors) != 1:
        raise InputError(f"{name} holds {len(tensors)} tensors and none is called {PIXELS}; call the input so")
    return next(iter(tensors.values()))


def _name(source: Any) -> str:
    return Path(source).name if isinstance(source, (str, os.PathLike)) else "array"
