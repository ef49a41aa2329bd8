"""The 40 labels, and which of them each photo may have.

37 breeds are those of the Oxford-IIIT Pet set; the others are every other cat, every other dog, and whatever is
neither. A photo's label is often known only in part: Kaggle's cats and dogs may be of any breed. So each photo has a
row of the labels that are *possible* for it, and the loss is on the sum of their probabilities.

`python labels.py` asks the teacher about the photos of unknown breed, and trains a linear layer on its features that
answers in our labels: what the classifier then learns from, beside the labels themselves.
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import data
import figures
import state
import teachers

OTHERS = ("other cat", "other dog", "neither cat nor dog")  # in the order of data.KINDS
SPELT = {"german_shorthaired": "German Shorthaired Pointer"}  # the others as they are, with capitals
WORDNET = {"n02088364": "beagle", "n02111889": "samoyed"}  # sources of photos of one of the 37 breeds
# ImageNet's classes of cats and of dogs, and those that are a breed of ours or may be taken for one.
IMAGENET = {0: range(281, 286), 1: range(151, 269)}
OURS = {
    0: {283: "Persian", 284: "Siamese"},  # 285, "Egyptian cat", holds common tabbies, hardly an Egyptian Mau
    1: {151: "Chihuahua", 152: "Japanese spaniel", 153: "Maltese (Havanese)", 161: "basset", 162: "beagle",
        179: "Staffordshire bullterrier", 180: "American pit bull terrier", 187: "Yorkshire terrier",
        199: "Scottish terrier", 202: "wheaten terrier", 210: "German short-haired pointer", 212: "English setter",
        219: "cocker spaniel", 237: "miniature pinscher", 242: "boxer", 243: "bull mastiff (American bulldog)",
        247: "Saint Bernard", 253: "basenji (Shiba Inu)", 254: "pug", 255: "Leonberg", 256: "Newfoundland",
        257: "Great Pyrenees", 258: "Samoyed", 259: "Pomeranian", 261: "keeshond"},
}  # fmt: skip
SURE = 0.5  # of the teacher that it is of another breed, and the most that the breed-only model may give any breed
PROBE = "probe.pt"
UNDECIDED = "asirra"  # the source of photos whose breed nobody has said
ONE_COLLECTION = re.compile(r"n\d{8}")  # sources of Imagewoof's dogs and Imagenette's things, made by the same hands


def names(album: data.Album) -> list[str]:
    """The labels, in the order of the logits."""
    return [SPELT.get(breed, breed.replace("_", " ").title()) for breed in album.breeds] + list(OTHERS)


def kind_of_label(album: data.Album) -> torch.Tensor:
    """0 cat, 1 dog, 2 neither, for each label: (40,)"""
    return torch.cat([torch.where(album.breed_is_cat, 0, 1), torch.arange(3)])


def possible(album: data.Album, decided: torch.Tensor | None = None) -> torch.Tensor:
    """Which labels each photo may have: bool (N, 40). `decided` (N,) marks those known to be of no breed of ours."""
    breeds, kinds = len(album.breeds), kind_of_label(album)
    known = torch.zeros(len(album), breeds + len(OTHERS), dtype=torch.bool)
    for i, source in enumerate(album.sources):
        if album.breed[i] >= 0:
            known[i, album.breed[i]] = True
        elif source in WORDNET:
            known[i, album.breeds.index(WORDNET[source])] = True
        elif source == UNDECIDED and not (decided is not None and decided[i]):
            known[i] = kinds == album.kinds[i]
        else:
            known[i, breeds + album.kinds[i]] = True
    return known


def partial_loss(logits: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Minus the logarithm of what the possible labels get together: (B, K), bool (B, K) -> (B,)"""
    answer = logits.log_softmax(1)
    return -answer.masked_fill(~known, -torch.inf).logsumexp(1)


def fit(features: torch.Tensor, known: torch.Tensor, seed: int = 0, epochs: int = 20, decay: float = 1e-2) -> nn.Linear:
    """A linear layer from the teacher's features, (views, N, 1280), to the labels that are possible, bool (N, K)."""
    torch.manual_seed(seed)
    layer = nn.Linear(features.shape[-1], known.shape[1])
    optimizer = torch.optim.AdamW(layer.parameters(), lr=2e-3, weight_decay=decay)
    views, photos = features.shape[:2]
    steps = epochs * views * photos // 512
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(steps):
        view, photo = torch.randint(views, (512,)), torch.randint(photos, (512,))
        loss = partial_loss(layer(features[view, photo].float()), known[photo]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return layer.requires_grad_(False)


def decide(album: data.Album, train: torch.Tensor, features: torch.Tensor) -> tuple[torch.Tensor, dict]:
    """Which photos of unknown breed are of none of ours: those of which two say so. bool (N,), and how many.

    The teacher, of 1000 classes: of what it gives the species, more than SURE is on breeds that aren't ours. And a
    linear layer that knows our breeds only, trained on the photos of known breed: at most SURE on any.
    """
    pets = (album.breed[train] >= 0).nonzero()[:, 0]
    breeds_only = fit(features[:, pets], F.one_hot(album.breed[train][pets], len(album.breeds)).bool())
    last_layer = teachers.last_layer()
    decided, counts = torch.zeros(len(album), dtype=torch.bool), {}
    asked = torch.tensor([album.sources[i] == UNDECIDED for i in train])
    for kind, classes in IMAGENET.items():
        some = (asked & (album.kinds[train] == kind)).nonzero()[:, 0]
        seen = features[:, some].float()
        teacher = last_layer(seen).softmax(-1).mean(0)
        elsewhere = teacher[:, [c for c in classes if c not in OURS[kind]]].sum(1) / teacher[:, list(classes)].sum(1)
        likeliest = breeds_only(seen).softmax(-1).mean(0).max(1).values
        agreed = (elsewhere > SURE) & (likeliest <= SURE)
        decided[train[some[agreed]]] = True
        counts[data.KINDS[kind]] = {
            "photos": len(some),
            "teacher_says_another": int((elsewhere > SURE).sum()),
            "breed_only_unsure": int((likeliest <= SURE).sum()),
            "both_so_other": int(agreed.sum()),
        }
    return decided, counts


def figures_of(logits: torch.Tensor, album: data.Album, indices: torch.Tensor) -> dict:
    """All figures of a classifier of the 40 labels, for the album's photos at `indices`: (N, 40) -> by name."""
    kinds, breed = album.kinds[indices], album.breed[indices]
    known = possible(album)[indices]
    said = kind_of_label(album)[logits.argmax(1)]
    pets, neither, certain = breed >= 0, kinds == 2, known.sum(1) == 1
    others = ~pets & ~neither
    alike = torch.tensor([bool(ONE_COLLECTION.fullmatch(album.sources[i])) for i in indices])
    odds = logits.log_softmax(1)
    of_kind = torch.stack([odds[:, kind_of_label(album) == kind].logsumexp(1) for kind in range(3)], dim=1)
    return {
        "pets": int(pets.sum()),
        "breed_top1": figures.top1(logits[pets], breed[pets]),
        "breed_top5": figures.top5(logits[pets], breed[pets]),
        "cat_or_dog": figures.share(said[pets] == kinds[pets]),
        "pets_called_neither": figures.share(said[pets] == 2),
        "photos_of_neither": int(neither.sum()),
        "neither_called_so": figures.share(said[neither] == 2),
        "other_cats_and_dogs": int(others.sum()),
        "others_species": figures.share(said[others] == kinds[others]),
        "others_called_other": figures.share(logits[others].argmax(1) >= len(album.breeds)),
        "imagewoof_dogs": int((alike & ~neither).sum()),  # where a photo comes from doesn't tell these two apart
        "imagewoof_dogs_called_dog": figures.share(said[alike & ~neither] == 1),
        "imagenette_things": int((alike & neither).sum()),
        "imagenette_things_called_neither": figures.share(said[alike & neither] == 2),
        "calibration_error": figures.calibration_error(logits[certain], known[certain].int().argmax(1)),
        "calibration_error_of_species": figures.calibration_error(of_kind[~certain], kinds[~certain]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data.add_folders(parser)
    options = parser.parse_args()
    album = data.Album(options.data, options.state)
    train, held_out = album.where("train"), album.where("validation")
    views = teachers.feature_files(options.state)
    wide = [file for view, file in views.items() if teachers.area_of(view) == teachers.WIDE]  # close, all may be grass
    features = torch.stack([torch.from_numpy(np.load(file)) for file in wide])
    decided, counts = decide(album, train, features)
    known = possible(album, decided)
    layer = fit(features, known[train])
    center = torch.from_numpy(np.load(teachers.features_file(options.state, teachers.CENTER))).float()
    found = {"of_unknown_breed": counts, "teacher": figures_of(layer(center), album, held_out)}
    state.save_atomically({"weight": layer.weight, "bias": layer.bias, "decided": decided}, options.state / PROBE)
    print(json.dumps(found, indent=2))
    (options.state / "logs").mkdir(exist_ok=True)
    (options.state / "logs" / "labels.json").write_text(json.dumps(found, indent=2) + "\n")


def load(state_folder: Path) -> tuple[nn.Linear, torch.Tensor]:
    """The teacher's last layer in our labels, and which photos were decided to be of no breed of ours."""
    file = state_folder / PROBE
    if not file.exists():
        raise SystemExit("the labels of photos of unknown breed aren't decided yet: run labels.py first")
    saved = state.load(file)
    layer = nn.Linear(saved["weight"].shape[1], saved["weight"].shape[0])
    layer.load_state_dict({"weight": saved["weight"], "bias": saved["bias"]})
    return layer.requires_grad_(False), saved["decided"]


if __name__ == "__main__":
    main()
