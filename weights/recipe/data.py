"""The photos as one array, decoded once and cached in the state folder.

Two archives (see README.md for where they come from and their terms): the Oxford-IIIT Pet photos, whose breed is
known, and photos of other cats, other dogs and things that are neither. All are squashed to SIDE x SIDE pixels.
"""

import argparse
import csv
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

SIDE = 224
KINDS = ("cat", "dog", "neither")
PETS = "pets"  # the source of photos whose breed is known
SPLITS = (("train", 75), ("validation", 10), ("test", 15))  # percent of the photos, by `split_of`


def add_folders(parser: argparse.ArgumentParser) -> None:
    """The two folders every command needs: photos to read, and a place for caches, states and logs."""
    default_data = os.environ.get("RECIPE_DATA", "data")
    default_state = os.environ.get("RECIPE_STATE", "train-state")
    parser.add_argument("--data", type=Path, default=default_data, metavar="DIR",
                        help="folder of the training archives (default: $RECIPE_DATA or ./data)")  # fmt: skip
    parser.add_argument("--state", type=Path, default=default_state, metavar="DIR",
                        help="folder for caches and training state, best outside the repository "
                             "(default: $RECIPE_STATE or ./train-state)")  # fmt: skip


def split_of(name: str) -> str:
    """'train', 'validation', 'test' or 'reserved' for a photo, from its file name without folder and extension.

    The name is hashed (SHA-256, first 8 hex digits, modulo 100), so that the split depends on nothing else: no seed, no
    order of files, no library version. RESERVED photos are kept out of all three.
    """
    if name in RESERVED:
        return "reserved"
    place = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 100
    for split, percent in SPLITS:
        if place < percent:
            return split
        place -= percent
    raise AssertionError("the percentages of SPLITS add up to 100")


RESERVED = frozenset(Path(__file__).with_name("reserved.txt").read_text().split())


class Album:
    """Every photo: `photos` uint8 (N, SIDE, SIDE, 3) RGB, a memory map that several workers share.

    `names` are file names without folder and extension; `sources` say where a photo is from; `kinds` (N,) index KINDS;
    `breeds` names the breeds and `breed` (N,) indexes it, -1 where it isn't known. `breed_is_cat` (breeds,).
    """

    def __init__(self, data: Path, state: Path):
        rows, pixels = state / "album.csv", state / "album.npy"
        if not rows.exists():
            _decode(data, rows, pixels)
        with rows.open(newline="") as file:
            self.describe(list(csv.reader(file)))
        self.photos = torch.from_numpy(np.load(pixels, mmap_mode="c"))  # copy-on-write: nothing is ever written

    def describe(self, rows: list[tuple[str, str, str]]) -> None:
        """Fill in everything but the pixels, from (name, kind, source) of each photo."""
        self.names, kinds, self.sources = zip(*rows, strict=True)
        self.kinds = torch.tensor([KINDS.index(kind) for kind in kinds])
        self.splits = [split_of(name) for name in self.names]
        known = [breed_of(name) if source == PETS else None for name, _, source in rows]
        self.breeds = sorted(set(known) - {None}, key=str.lower)
        self.breed_is_cat = torch.tensor([breed[0].isupper() for breed in self.breeds])
        self.breed = torch.tensor([-1 if breed is None else self.breeds.index(breed) for breed in known])

    def __len__(self) -> int:
        return len(self.names)

    def where(self, *splits: str) -> torch.Tensor:
        """Positions of the photos of these splits."""
        return torch.tensor([i for i, split in enumerate(self.splits) if split in splits])

    def repeated(self, indices: torch.Tensor) -> int:
        """How many of these photos are in the training split too, pixel for pixel, under another name."""
        seen = {self._digest(i) for i in self.where("train")}
        return sum(self._digest(i) in seen for i in indices)

    def _digest(self, i: int) -> bytes:
        return hashlib.sha256(self.photos[i].numpy()).digest()


def breed_of(name: str) -> str:
    """'great_pyrenees_12' -> 'great_pyrenees'."""
    return name.rsplit("_", 1)[0]


def to_float(photos: torch.Tensor) -> torch.Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in 0..1."""
    return photos.permute(0, 3, 1, 2).float().div_(255)


def as_deployed(photos: torch.Tensor, short_side: int, crop: int) -> torch.Tensor:
    """Square uint8 photos as the image processor gives them: Pillow's bilinear resize, the middle: (N, c, c, 3)."""
    left = (short_side - crop) // 2
    out = np.empty((len(photos), crop, crop, 3), np.uint8)
    for i, photo in enumerate(photos.numpy()):
        resized = Image.fromarray(photo).resize((short_side, short_side), Image.Resampling.BILINEAR)
        out[i] = np.asarray(resized)[left : left + crop, left : left + crop]
    return torch.from_numpy(out)


def _archived(data: Path) -> Iterator[tuple[str, str, str, bytes]]:
    """(name, kind, source, encoded photo) of both archives."""
    with tarfile.open(data / "pets.tar") as archive:
        for member in archive:
            if member.isfile() and member.name.startswith("images/"):
                name = Path(member.name).stem
                kind = "cat" if name[0].isupper() else "dog"  # the set's own rule
                yield name, kind, PETS, archive.extractfile(member).read()
    with tarfile.open(data / "photos.tar") as archive:
        lines = io.TextIOWrapper(archive.extractfile("photos.csv"), newline="")
        for row in csv.DictReader(lines):
            yield Path(row["name"]).stem, row["kind"], row["source"], archive.extractfile(row["name"]).read()


def _decode(data: Path, rows: Path, pixels: Path) -> None:
    found = sorted(_archived(data))
    photos = np.stack([_squashed(encoded) for *_, encoded in found])
    save_array(photos, pixels)
    beside = rows.with_suffix(".part")
    with beside.open("w", newline="") as file:
        csv.writer(file).writerows(row[:3] for row in found)
    os.replace(beside, rows)  # last: where it is, the photos are


def _squashed(encoded: bytes) -> np.ndarray:
    photo = Image.open(io.BytesIO(encoded)).convert("RGB")
    return np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def save_array(array: np.ndarray, path: Path) -> None:
    """Write an array so that `path` never holds half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")  # several workers may decode at once
    with beside.open("wb") as file:
        np.save(file, array)
    os.replace(beside, path)
