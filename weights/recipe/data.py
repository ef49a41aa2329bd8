"""Photos as arrays in memory, decoded once and cached in the state folder.

Two sets (see README.md for where they come from and their terms):

* small photos: 64x64, 200 classes, for pretraining; packed as WebP files in two .npz archives.
* pets: the Oxford-IIIT Pet photos, 224x224, and automatic foreground masks, in one tar archive.
"""

import argparse
import hashlib
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

SMALL_CLASSES = 200
SPLITS = (("train", 75), ("validation", 10), ("test", 15))  # percent of the pets, by `split_of`


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
    """'train', 'validation' or 'test' for a pet photo, from its file name without extension.

    The name is hashed (SHA-256, first 8 hex digits, modulo 100), so that the split depends on nothing else: no seed, no
    order of files, no library version.
    """
    place = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 100
    for split, percent in SPLITS:
        if place < percent:
            return split
        place -= percent
    raise AssertionError("the percentages of SPLITS add up to 100")


def small_photos(data: Path, state: Path, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The 64x64 photos, split 'train' or 'val': uint8 (N, 64, 64, 3) RGB and int64 labels (N,)."""
    archive = np.load(data / f"small-photos-{split}.npz")
    cache = state / f"small-photos-{split}.npy"
    if not cache.exists():
        blob, offsets = archive["blob"], archive["offsets"]
        photos = np.empty((len(offsets) - 1, 64, 64, 3), np.uint8)
        for i in range(len(photos)):
            encoded = blob[offsets[i] : offsets[i + 1]].tobytes()
            photos[i] = Image.open(io.BytesIO(encoded)).convert("RGB")
        _save_atomically(photos, cache)
    return torch.from_numpy(np.load(cache)), torch.from_numpy(archive["labels"].astype(np.int64))


def to_float(photos: torch.Tensor) -> torch.Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in 0..1."""
    return photos.permute(0, 3, 1, 2).float().div_(255)


class Pets:
    """The Oxford-IIIT Pet photos in memory: `photos` uint8 (N, 224, 224, 3), `masks` bool (N, 224, 224), `names`.

    `labels` (N,) index `breeds`; `is_cat` (N,) follows the data set's rule that cats' file names are capitalised.
    """

    def __init__(self, data: Path, state: Path):
        cache = state / "pets.npz"
        if not cache.exists():
            _decode_pets(data / "pets.tar", cache)
        archive = np.load(cache)
        self.names = [str(name) for name in archive["names"]]
        self.photos, self.masks = torch.from_numpy(archive["photos"]), torch.from_numpy(archive["masks"])
        breeds = sorted({breed_of(name) for name in self.names}, key=str.lower)
        self.breeds = [breed.replace("_", " ") for breed in breeds]
        self.labels = torch.tensor([breeds.index(breed_of(name)) for name in self.names])
        self.breed_is_cat = torch.tensor([breed[0].isupper() for breed in breeds])  # (37,)
        self.is_cat = self.breed_is_cat[self.labels]
        self.splits = [split_of(name) for name in self.names]

    def indices(self, split: str) -> torch.Tensor:
        """Positions of the photos of one split."""
        return torch.tensor([i for i, its in enumerate(self.splits) if its == split])

    def repeated(self, split: str) -> int:
        """How many photos of a split are in the training split too, pixel for pixel, under another name."""
        seen = {self._digest(i) for i in self.indices("train")}
        return sum(self._digest(i) in seen for i in self.indices(split))

    def _digest(self, i: int) -> bytes:
        return hashlib.sha256(self.photos[i].numpy()).digest()


def breed_of(name: str) -> str:
    """'great_pyrenees_12' -> 'great_pyrenees'."""
    return name.rsplit("_", 1)[0]


def as_deployed(photos: torch.Tensor, short_side: int, crop: int) -> torch.Tensor:
    """Square uint8 photos as the image processor gives them: Pillow's bilinear resize, the middle: (N, c, c, 3)."""
    left = (short_side - crop) // 2
    out = np.empty((len(photos), crop, crop, 3), np.uint8)
    for i, photo in enumerate(photos.numpy()):
        resized = Image.fromarray(photo).resize((short_side, short_side), Image.Resampling.BILINEAR)
        out[i] = np.asarray(resized)[left : left + crop, left : left + crop]
    return torch.from_numpy(out)


def _decode_pets(tar: Path, cache: Path) -> None:
    with tarfile.open(tar) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
    names = sorted(Path(name).stem for name in files if name.endswith(".jpg"))
    photos = np.stack([_decode(files[f"images/{name}.jpg"], "RGB") for name in names])
    masks = np.stack([_decode(files[f"masks/{name}.png"], "1") for name in names])
    _save_atomically({"names": np.array(names), "photos": photos, "masks": masks}, cache)


def _decode(encoded: bytes, mode: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded)).convert(mode))


def _save_atomically(content: np.ndarray | dict[str, np.ndarray], path: Path) -> None:
    """Write one array, or several by name, so that `path` never holds half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")  # several workers may decode at once
    with beside.open("wb") as file:
        if isinstance(content, dict):
            np.savez(file, **content)
        else:
            np.save(file, content)
    os.replace(beside, path)
