"""What a golden file is made with: a network with its weights, and a run of it.

Tracing, replaying and diagnosing all run networks from here, so that they run the very same thing: the photo, if there
is one, prepared as the profile says, then the reference engine. A bare backbone's tensors get the ``mobilevit.`` prefix
that they have in a classifier: the paths in golden files are the same for all three tasks.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..checkpoints import Checkpoint, check_tensors, parameter_shapes
from ..checkpoints.parameter_names import PREFIX
from ..checkpoints.parameters import COUNTER
from ..config import MAX_ATTENTION_BYTES, NetworkConfig, check_pixel_values, probability_bytes
from ..errors import CheckpointError, InputError
from ..model import NETWORKS
from ..preprocess import Profile, preprocess
from ..scope import Scope
from .file import IMAGE, LOGITS, PIXELS, Golden, profile_of

_NARROW: dict[str, Any] = {  # the smallest widths: paths don't depend on them
    "hidden_sizes": [4] * 3, "neck_hidden_sizes": [4] * 7, "expand_ratio": 1.0, "aspp_out_channels": 4,
    "num_labels": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Network:
    """A network that can be run: its task, its configuration, its weights (under names with prefix, float64)."""

    task: str  # "classifier", "segmenter" or "backbone"
    config: NetworkConfig
    tensors: Mapping[str, np.ndarray]
    expand_output: bool = True
    profile: Profile | None = None  # how photos are prepared for it
    weights: dict[str, Any] = field(default_factory=dict)  # their name, and the ``sha256`` of their numbers

    def scope(self, dtype: Any = np.float64) -> Scope:
        """Its weights in ``dtype``; numbers too large for it become infinite, as their results will be."""
        with np.errstate(over="ignore"):
            return Scope({name: tensor.astype(dtype, copy=False) for name, tensor in self.tensors.items()})

    def run(self, pixel_values: np.ndarray, scope: Scope) -> np.ndarray:
        """The logits, or a backbone's last map. Numbers may overflow on the way: they're compared, not trusted.

        (B, C, H, W) -> (B, K, ...)
        """
        with np.errstate(all="ignore"):
            if self.task == "backbone":
                return NETWORKS["backbone"](
                    pixel_values, scope / "mobilevit", self.config, expand_output=self.expand_output
                )
            return NETWORKS[self.task](pixel_values, scope, self.config)


def network_of(checkpoint: Checkpoint, profile: Profile | None = None) -> Network:
    """The network in a checkpoint; ``profile`` replaces the checkpoint's own way of preparing photos."""
    bare = checkpoint.task == "backbone"
    tensors = {
        f"{PREFIX if bare else ''}{name}": np.asarray(tensor, np.float64)
        for name, tensor in checkpoint.tensors.items()
        if not name.endswith(COUNTER)
    }
    return Network(
        checkpoint.task,
        checkpoint.config,
        tensors,
        checkpoint.expand_output,
        checkpoint.profile if profile is None else profile,
        {"name": checkpoint.name, "sha256": digest(tensors), "file_sha256": checkpoint.provenance.sha256},
    )


def network_for(golden: Golden, tensors: Mapping[str, np.ndarray]) -> Network:
    """The network a golden was made with, given its weights (under names with prefix).

    Raises CheckpointError if they are other weights, ConfigError if the golden's config is impossible.
    """
    config = NetworkConfig(**golden.config)
    found = digest(tensors)
    if found != golden.weights.get("sha256"):
        raise CheckpointError(
            f"these aren't the weights that the golden file was made with ({golden.weights.get('name')}): their "
            f"sha256 is {found[:12]}, the file's {str(golden.weights.get('sha256'))[:12]}; give those, or trace again"
        )
    expand = any(name.startswith(f"{PREFIX}conv_1x1_exp.") for name in tensors)
    bare = golden.task == "backbone"
    shapes = parameter_shapes(config, golden.task, expand_output=expand)
    shapes = {f"{PREFIX if bare else ''}{name}": shape for name, shape in shapes.items()}
    checked = check_tensors(dict(tensors), shapes)
    return Network(golden.task, config, checked, expand, profile_of(golden), dict(golden.weights))


def make_pixel_values(photo: np.ndarray, profile: Profile | None, scope: Scope) -> np.ndarray:
    """The photo as the network's input, in float32 as every image processor makes it; ``scope`` may hold mistakes.

    (H, W, C) -> (1, C, H', W')

    Raises InputError without a profile.
    """
    if profile is None:
        raise InputError("no profile says how to prepare the photo; give --profile")
    return preprocess(photo, profile, scope, np.float32)


def check_input(pixel_values: np.ndarray, network: Network) -> np.ndarray:
    """``pixel_values`` with a batch axis. Raises InputError unless they fit the network and memory, and are finite.

    (B, C, H, W) -> (B, C, H, W)
    """
    if pixel_values.ndim == 3:
        pixel_values = pixel_values[None]
    check_pixel_values(pixel_values, network.config)
    check_memory(pixel_values.shape, network.config)
    if not np.isfinite(pixel_values).all():
        raise InputError("the input holds numbers that aren't finite; look at where it comes from")
    return pixel_values


def check_memory(shape: tuple[int, ...], config: NetworkConfig) -> None:
    """Raise InputError if attention over an input of ``shape`` = (B, C, H, W) would take gigabytes in float64."""
    batch, _, height, width = shape
    needed = batch * probability_bytes(height, width, config, np.dtype(np.float64))
    if needed > MAX_ATTENTION_BYTES:
        raise InputError(
            f"one layer's attention over {batch} x {width}x{height} pixels would take {needed / 1e9:.1f} GB in "
            f"float64, and {MAX_ATTENTION_BYTES / 1e9:.1f} GB is the most here; give a smaller input, or a profile "
            "that makes the photo smaller"
        )


def paths_of(golden: Golden) -> set[str]:
    """The names in a complete golden file of this one's network, whichever tensors this one keeps."""
    config = NetworkConfig(**{**_NARROW, "output_stride": golden.config.get("output_stride", 32)})
    prefix = PREFIX if golden.task == "backbone" else ""
    shapes = parameter_shapes(config, golden.task, expand_output=True)
    found = {IMAGE, PIXELS}
    scope = Scope({f"{prefix}{name}": np.zeros(shape) for name, shape in shapes.items()})
    network = Network(golden.task, config, {})
    side = 32  # the smallest that every layer has a place for
    network.run(
        np.zeros((1, config.num_channels, side, side)), scope.listen(lambda path, _: found.add(name_of_output(path)))
    )
    return found


def name_of_output(path: str) -> str:
    """The name of the output of the module at ``path``, which is empty for the whole network."""
    return path or LOGITS


def digest(tensors: Mapping[str, np.ndarray]) -> str:
    """The sha256 of tensors: their names, shapes and numbers (as float64), whatever file they come from."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name], "<f8")
        total.update(f"{name}{list(array.shape)}".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def input_facts(tensors: Mapping[str, np.ndarray], name: str) -> dict[str, Any]:
    """What the metadata says about the input."""
    given = {key: tensors[key] for key in (IMAGE, PIXELS) if key in tensors}
    return {"name": name, **{f"{key}_sha256": digest({key: tensor}) for key, tensor in given.items()}}
