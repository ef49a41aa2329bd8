"""Train the segmenter of cats and dogs, from the classifier's backbone.

It learns from the teacher's masks (`teachers.py masks`), from the outlines drawn by hand where there are some, and
from photos of neither cat nor dog, in which all is background. The outlines, few and true, come several times in an
epoch. Where the teacher's three views of a photo disagree it counts less, or not at all; where the hand was unsure, the
pixel is ignored. The loss is cross-entropy, which counts pixels, plus one minus the IoU of the probabilities, which is
what the segmenter is judged by. Interrupted, the same command goes on.

    python segmenter.py --backbone ../pets-xx-small         three hours on two cores
    python segmenter.py --phases 128:1,224:1                a first look, from the distilled backbone
"""

import argparse
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

import augment
import data
import figures
import loop
import names
import state
import teachers
import twin

CLASSES = ("background", "cat", "dog")
IGNORED = figures.IGNORED
ANIMAL, UNCLEAR = 1, 3  # in the outlines; 2 is background
LEAST_AGREEMENT = 0.5  # IoU of the teacher's views below which a photo is left out
LEAST_COVER = 0.02  # of the photo: below, the teacher has missed the animal
BY_HAND = 4  # times an epoch that a photo outlined by hand comes
PHASES = "128:2,192:4,256:6"
SIDE = 224  # at which photos are segmented: as large as they are
STRANGERS = 3  # every third photo of neither chooses


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data.add_folders(parser)
    parser.add_argument("--phases", type=loop.parse_phases, default=PHASES, metavar="SIDE:EPOCHS,...",
                        help=f"side of the crops and for how many epochs, in order (default: {PHASES})")  # fmt: skip
    parser.add_argument("--side", type=int, default=SIDE,
                        help=f"short side of photos when deployed, for validation (default: {SIDE})")  # fmt: skip
    parser.add_argument("--from", dest="start", type=Path, metavar="DIR",
                        help="go on from an exported folder's weights (default: the distilled ones)")  # fmt: skip
    parser.add_argument("--backbone", type=Path, metavar="DIR",
                        help="take the backbone of an exported classifier instead")  # fmt: skip
    parser.add_argument("--name", default="segmenter", help="of the state and log files (default: segmenter)")
    loop.add_options(parser, batch=32, rate=4e-3, warmup=200, weight_decay=0.05)
    return parser.parse_args()


@dataclass
class Lessons:
    """Photos by their position in the album, the animal's share of each place, and how much that is to count.

    `shares` and `counts` are uint8 (N, MASK_SIDE, MASK_SIDE), 255 for all.
    """

    album: data.Album
    indices: torch.Tensor
    shares: torch.Tensor
    counts: torch.Tensor

    def __len__(self) -> int:
        return len(self.indices)


def lessons(album: data.Album, data_folder: Path, state_folder: Path) -> Lessons:
    """All training photos that something is known of; prints how many the teacher was left out of."""
    chosen, drawn = teachers.animals(album), outlines(data_folder)
    is_drawn = torch.tensor([name in drawn for name in album.names])
    by_hand = chosen[is_drawn[chosen]]
    hand_shares, hand_counts = map(torch.stack, zip(*(shrunk(drawn[album.names[i]]) for i in by_hand), strict=True))

    animals, views = teachers.load_masks(state_folder, chosen)
    seen = views > 127
    agreement = seen.all(1).sum((1, 2)) / seen.any(1).sum((1, 2)).clamp(min=1)
    trusted = (agreement >= LEAST_AGREEMENT) & (seen.float().mean((1, 2, 3)) >= LEAST_COVER) & ~is_drawn[animals]
    shares = views[trusted].float().mean(1).round().to(torch.uint8)
    counts = (agreement[trusted] * 255).to(torch.uint8)[:, None, None].expand_as(shares)

    train = album.where("train")
    empty = train[album.kinds[train] == data.KINDS.index("neither")]
    nothing = torch.zeros(len(empty), *shares.shape[1:], dtype=torch.uint8)
    print(f"{len(shares)} of {len(animals)} animals, {len(by_hand)} more by hand; {len(empty)} of neither")
    return Lessons(
        album,
        torch.cat([animals[trusted], *[by_hand] * BY_HAND, empty]),
        torch.cat([shares, *[hand_shares] * BY_HAND, nothing]),
        torch.cat([counts, *[hand_counts] * BY_HAND, nothing + 255]),
    )


def outlines(data_folder: Path) -> dict[str, np.ndarray]:
    """The outlines drawn by hand, by the photo's name, at the original photo's size; the reserved ones left out."""
    found = {}
    with tarfile.open(data_folder / "outlines.tar") as archive:
        for member in archive:
            name = Path(member.name).stem
            if member.name.endswith(".png") and data.split_of(name) != "reserved":
                found[name] = np.asarray(Image.open(io.BytesIO(archive.extractfile(member).read())))
    return found


def shrunk(outline: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """An outline as the animal's share of each place and how much that counts: two of (MASK_SIDE, MASK_SIDE)."""
    size = (teachers.MASK_SIDE, teachers.MASK_SIDE)
    parts = [np.where(outline == ANIMAL, 255, 0), np.where(outline == UNCLEAR, 0, 255)]
    small = [np.array(Image.fromarray(part.astype(np.uint8)).resize(size, Image.Resampling.BOX)) for part in parts]
    known = np.maximum(small[1], 1)
    return torch.from_numpy((small[0] * 255.0 / known).clip(0, 255).astype(np.uint8)), torch.from_numpy(small[1])


def truths_of(album: data.Album, indices: torch.Tensor, drawn: dict[str, np.ndarray], side: int) -> torch.Tensor:
    """Hand outlines as class numbers, uint8 (N, side, side): 0 background, 1 cat, 2 dog, 255 unclear."""
    found = []
    for index in indices.tolist():
        outline = Image.fromarray(drawn[album.names[index]]).resize((side, side), Image.Resampling.NEAREST)
        classes = np.where(np.asarray(outline) == ANIMAL, 1 + int(album.kinds[index]), 0)
        found.append(np.where(np.asarray(outline) == UNCLEAR, IGNORED, classes))
    return torch.from_numpy(np.stack(found).astype(np.uint8))


@torch.no_grad()
def logits_of(weights: dict[str, torch.Tensor], photos: torch.Tensor, side: int) -> Iterator[torch.Tensor]:
    """The answers to uint8 photos (N, H, W, 3), upsampled: (B, 3, side, side), batch by batch."""
    device = loop.device_of(weights)
    network = twin.Segmenter(len(CLASSES)).to(device).eval()
    network.load_state_dict(weights)
    for some in photos.split(32):
        logits = network(loop.channels_last(data.to_float(some.to(device))))
        yield F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False).cpu()


def jaccard_loss(logits: torch.Tensor, wanted: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """One minus the IoU of the probabilities over all places of a worker's photos, the mean of the classes in them.

    (B, K, H, W), (B, K, H, W), (B, 1, H, W) -> ()

    With soft truths the intersection is what sum and difference leave (the Jaccard metric loss, arXiv 2302.05666), so
    that it's 0 where both are equal.
    """
    probabilities = logits.softmax(1)
    both = ((probabilities + wanted) * counts).sum((0, 2, 3))
    apart = ((probabilities - wanted).abs() * counts).sum((0, 2, 3))
    present = (wanted * counts).sum((0, 2, 3)) > 0
    return 1 - ((both - apart) / (both + apart).clamp(min=1))[present].mean()


def draw_loss(indices, source, *, run: loop.Run, lessons: Lessons, options) -> torch.Tensor:
    """The loss of the photos numbered `indices`, augmented together with their masks."""
    side = loop.grown_size(run, options.phases, len(lessons))
    places = lessons.indices[indices]
    maps = augment.random_placement_maps(len(indices), (0.6, 1.6), 1 / 3, source, aspect=1.5, turn=15)
    photos = augment.wear(lessons.album.photos[places], 0.3, source)
    images = augment.crop(data.to_float(photos.to(options.device)), maps, side, border="reflection")
    images = augment.jitter_color(images, 0.4, source)
    masks = torch.stack([lessons.shares[indices], lessons.counts[indices]], dim=1).to(options.device).float() / 255
    share, counts = augment.crop(masks, maps, side, border="reflection").split(1, dim=1)
    wanted = F.one_hot(lessons.album.kinds[places].clamp(max=1) + 1, len(CLASSES)).to(share)[:, :, None, None] * share
    wanted[:, :1] = 1 - share
    logits = run.network(loop.channels_last(images))
    logits = F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False)
    entropy = -(wanted * logits.log_softmax(1)).sum(1, keepdim=True)
    return (entropy * counts).sum() / counts.sum() + jaccard_loss(logits, wanted, counts)


def validate(weights: dict[str, torch.Tensor], *, photos: torch.Tensor, truths: torch.Tensor, strangers) -> dict:
    """IoU over all pixels of the validation photos with hand outlines; the animals' area where there are none."""
    answers = torch.cat([logits.argmax(1) for logits in logits_of(weights, photos, truths.shape[-1])])
    values = figures.intersection_over_union(answers, truths, len(CLASSES))
    named = {f"validation_iou_{name}": value for name, value in zip(CLASSES, values, strict=True)}
    elsewhere = torch.cat([logits.argmax(1) > 0 for logits in logits_of(weights, strangers, truths.shape[-1])])
    return {**named, "validation_miou": sum(values) / len(values), "area_of_neither": figures.share(elsewhere)}


def held_out(album: data.Album, drawn: dict[str, np.ndarray], split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions of a split's photos with hand outlines, and of those of neither."""
    its = album.where(split)
    outlined = torch.tensor([album.names[i] in drawn for i in its])
    return its[outlined], its[album.kinds[its] == data.KINDS.index("neither")]


def main() -> None:
    options = parse()
    album = data.Album(options.data, options.state)
    training, drawn = lessons(album, options.data, options.state), outlines(options.data)
    torch.manual_seed(options.seed)  # the fresh head and its dropout
    network = twin.Segmenter(len(CLASSES))
    if options.start:
        twin.load_whole(network, names.of_folder(options.start))
    else:
        twin.load_backbone(network.backbone, twin.load_halves(twin.DISTILLED, options.state))
    if options.backbone:
        twin.load_backbone(network.backbone, names.of_folder(options.backbone))
    run = loop.Run(network.train(), options, average_decay=0.995)
    save_to = options.state / f"{options.name}.pt"
    if save_to.exists():
        run.load_state_dict(state.load(save_to))
    until = round(sum(epochs for _, epochs in options.phases) * len(training))
    outlined, neither = held_out(album, drawn, "validation")
    loop.fit(
        run,
        partial(draw_loss, run=run, lessons=training, options=options),
        partial(
            validate,
            photos=data.as_deployed(album.photos[outlined], options.side, options.side),
            truths=truths_of(album, outlined, drawn, data.SIDE),
            strangers=data.as_deployed(album.photos[neither[::STRANGERS]], options.side, options.side),
        ),
        lambda run: loop.warm_then_cosine(run, options.rate, options.warmup, until),
        photos=len(training),
        until=until,
        options=options,
        save_to=save_to,
        log=state.Log(options.state / "logs" / f"{options.name}.csv"),
    )


if __name__ == "__main__":
    main()
