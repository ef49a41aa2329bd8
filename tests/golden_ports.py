"""Stand-in ports for the golden toolkit's tests: the reference itself in float32, with known mistakes planted.

``python tests/golden_ports.py [SEEDS]`` plants each mistake, and each pair, on its own configuration, and prints how
many were named. The planting is done by the table that the diagnosis uses too; tests/parity plants in PyTorch.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

import drawing
import numpy as np

from mobilevit_np.checkpoints import parameter_shapes
from mobilevit_np.config import VARIANTS, NetworkConfig
from mobilevit_np.golden import Diagnosis, Golden, Network, diagnose, trace
from mobilevit_np.golden.mistakes import MISTAKES, Mistake
from mobilevit_np.golden.network import digest, make_pixel_values
from mobilevit_np.preprocess import Profile

PROFILES = {  # 72 is to 64 as 288 to 256
    size: Profile("small", size * 9 // 8, "bilinear", (size, size), flip_channels=True) for size in (64, 128)
}
SETTINGS = {  # task, pixel values' height and width (None: a photo), configuration
    "classifier": ("classifier", None, {}),  # L3 has as many tokens as features, and the maps are even
    "odd": ("classifier", (72, 88), {}),
    "segmenter": ("segmenter", (64, 128), {"output_stride": 16}),  # its last map is wider than the first rate
}
UNSEPARABLE = {frozenset(("padded_odd_maps", "align_corners"))}  # a map resized to whole patches needs no padding
BY_NAME = {mistake.name: mistake for mistake in MISTAKES}
PREPROCESSING = {m.name for m in MISTAKES if m.replacements[0][0].startswith("preprocessing")}


def setting_of(name: str) -> str:
    """Where a mistake shows."""
    golden = BY_NAME[name].golden
    return "segmenter" if "segmenter" in golden else "odd" if golden.endswith("112") else "classifier"


@functools.lru_cache(maxsize=8)
def golden_and_network(setting: str = "classifier", seed: int = 0, full: bool = False) -> tuple[Golden, Network]:
    """A golden of a cut-down network (xx_small with ``full``), and the network. Drawn anew for every seed."""
    task, size, options = SETTINGS[setting]
    config = NetworkConfig(**{**(VARIANTS["xx_small"] if full else drawing.CUT_DOWN), "num_labels": 7, **options})
    drawn = drawing.draw_tensors(parameter_shapes(config, task), config, task, seed=seed)
    tensors = {name: tensor.astype(np.float32).astype(np.float64) for name, tensor in drawn.items()}
    network = Network(task, config, tensors, True, PROFILES[128 if full else 64], {"sha256": digest(tensors)})
    if size is None:
        source = (np.random.RandomState(seed).random_sample((160, 200, 3)) * 256).astype(np.uint8)
    else:
        source = drawing.draw_pixels((1, 3, *size), seed=seed).astype(np.float32)
    return trace(source, network), network


def port(golden: Golden, network: Network, mistakes: Sequence[Mistake] = (), dtype: type = np.float32):
    """Every tensor of a port that makes these mistakes, in order of execution."""
    scope = network.scope(dtype)
    for mistake in mistakes:
        scope = mistake.plant(scope)
    pixels = golden.tensors["pixel_values"]
    if "image" in golden.tensors:
        pixels = make_pixel_values(golden.tensors["image"], network.profile, scope)
    found = {"pixel_values": pixels.astype(dtype)}
    network.run(found["pixel_values"], scope.listen(lambda path, x: found.__setitem__(path or "logits", x.copy())))
    return found


def diagnosed(names: Sequence[str], setting: str, seed: int = 0) -> Diagnosis:
    """What is said of a port with these mistakes."""
    golden, network = golden_and_network(setting, seed)
    return diagnose(golden, port(golden, network, [BY_NAME[name] for name in names]), network)


def separable(name: str, other: str) -> bool:
    """Whether both of two mistakes can be told: they're made at other places, and one doesn't undo the other."""
    places, others = ({pattern for pattern, _ in BY_NAME[each].replacements} for each in (name, other))
    preprocessing = {name, other} <= PREPROCESSING
    return not (places & others or preprocessing or frozenset((name, other)) in UNSEPARABLE)


def pairs() -> Iterator[tuple[tuple[str, str], str]]:
    """Every mistake with the next one that can be made in the same network and told apart from it."""
    for setting in SETTINGS:
        names = [name for name in BY_NAME if setting_of(name) in (setting, "classifier")]
        names = [name for name in names if setting == "classifier" or name not in PREPROCESSING]
        mine = [name for name in names if setting_of(name) == setting]
        for name in mine:
            following = [*names[names.index(name) + 1 :], *names]
            yield (name, next(other for other in following if separable(name, other))), setting


def main(seeds: int) -> int:
    caught = total = 0
    for seed in range(seeds):
        tries = [((name,), setting_of(name)) for name in BY_NAME] + list(pairs())
        tries += [((), setting) for setting in SETTINGS]
        for names, setting in tries:
            diagnosis = diagnosed(names, setting, seed)
            right = set(diagnosis.names) == set(names) and not diagnosis.unexplained and not diagnosis.still_wrong
            total, caught = total + 1, caught + right
            if not right:
                print(f"seed {seed}, {setting}: planted {names}, named {diagnosis.names}", diagnosis.unexplained)
    print(f"{caught} of {total} named rightly (each mistake alone, pairs, clean ports; {seeds} seeds)")
    return int(caught < total)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", nargs="?", type=int, default=1, help="of the weights, from 0 on (default: 1)")
    sys.exit(main(parser.parse_args().seeds))
