"""Train the segmenter of cats and dogs, from the classifier's backbone.

The masks are automatic (GrabCut) and noisy: a band along their edge is ignored, photos whose mask covers less than a
tenth or more than seven tenths are left out, and `--teacher` retrains on masks cleaned by an earlier segmenter: where
the teacher is sure and the mask disagrees, the pixel is ignored. The loss is cross-entropy, which counts pixels, plus
one minus the IoU of the probabilities, which is what the segmenter is judged by. Interrupted, the same command goes on.

    python segmenter.py                                                            an hour and a half on two cores
    python segmenter.py --name segmenter-2 --teacher $RECIPE_STATE/segmenter.pt    once more, on cleaned masks
"""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch.nn import functional as F

import augment
import data
import figures
import loop
import state
import twin

CLASSES = ("background", "cat", "dog")
IGNORED = figures.IGNORED
EDGE = 4  # pixels ignored on either side of a mask's outline, of a photo's 224
COVER = (0.1, 0.7)  # shares of the photo outside of which a mask is not believed
PHASES = "128:4,192:9,224:4"
SIDE = 224  # at which photos are segmented: as large as they are


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data.add_folders(parser)
    parser.add_argument("--from", dest="start", type=Path, metavar="FILE",
                        help="classifier whose backbone to start from (default: classifier.pt of the state folder, "
                             "else pretrained weights)")  # fmt: skip
    parser.add_argument("--teacher", type=Path, metavar="FILE",
                        help="state of an earlier segmenter, to clean the masks with")  # fmt: skip
    parser.add_argument("--phases", type=loop.parse_phases, default=PHASES, metavar="SIDE:EPOCHS,...",
                        help=f"side of the crops and for how many epochs, in order (default: {PHASES})")  # fmt: skip
    parser.add_argument("--scale", type=float, default=0.2, help="least area of a crop (default: 0.2)")
    parser.add_argument("--side", type=int, default=SIDE,
                        help=f"short side of photos when deployed, for validation (default: {SIDE})")  # fmt: skip
    parser.add_argument("--name", default="segmenter", help="of the state and log files (default: segmenter)")
    loop.add_options(parser, batch=32, rate=6e-3, warmup=100, weight_decay=0.05)
    return parser.parse_args()


def truth_of(masks: torch.Tensor, is_cat: torch.Tensor) -> torch.Tensor:
    """Masks (N, H, W) and species (N,) to class numbers, uint8 (N, H, W): 0 background, 1 cat, 2 dog."""
    species = torch.where(is_cat, 1, 2).to(torch.uint8)
    return masks.to(torch.uint8) * species[:, None, None]


def ignore_edges(truths: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """`truths` with a band of 2 EDGE pixels along the outline of `masks` set to 255."""
    cover, window = masks[:, None].float(), 2 * EDGE + 1
    grown = F.max_pool2d(cover, window, stride=1, padding=EDGE)
    shrunk = -F.max_pool2d(-cover, window, stride=1, padding=EDGE)
    return torch.where((grown > shrunk)[:, 0], IGNORED, truths)


def believable(masks: torch.Tensor) -> torch.Tensor:
    """Whether a mask's cover is neither tiny nor nearly all: (N, H, W) -> bool (N,)."""
    cover = masks.float().mean((1, 2))
    return (cover >= COVER[0]) & (cover <= COVER[1])


@torch.no_grad()
def logits_of(weights: dict[str, torch.Tensor], photos: torch.Tensor, side: int) -> Iterator[torch.Tensor]:
    """The answers to uint8 photos (N, H, W, 3), upsampled: (B, 3, side, side), batch by batch."""
    device = loop.device_of(weights)
    network = twin.Segmenter(len(CLASSES)).to(device).eval()
    network.load_state_dict(weights)
    for some in photos.split(32):
        logits = network(loop.channels_last(data.to_float(some.to(device))))
        yield F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False).cpu()


def clean(
    truths: torch.Tensor, photos: torch.Tensor, teacher: dict[str, torch.Tensor], side: int, sure: float = 0.9
) -> torch.Tensor:
    """`truths` with the pixels ignored where the teacher, shown photos of `side` pixels, is `sure` of another class."""
    deployed = data.as_deployed(photos, side, side)
    cleaned = []
    for some, logits in zip(truths.split(32), logits_of(teacher, deployed, truths.shape[-1]), strict=True):
        confidence, answer = logits.softmax(1).max(1)
        cleaned.append(torch.where((confidence > sure) & (answer != some), IGNORED, some))
    return torch.cat(cleaned)


def jaccard_loss(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """One minus the IoU of the probabilities over all pixels of a worker's photos (Rahman and Wang, ISVC 2016).

    The mean of the classes that occur in them; ignored pixels count on neither side.
    (B, classes, H, W), (B, H, W) -> ()
    """
    seen = (wanted != IGNORED)[:, None]
    probabilities = logits.softmax(1) * seen
    truth = (wanted[:, None] == torch.arange(logits.shape[1], device=logits.device)[:, None, None]).float()
    both = (probabilities * truth).sum((0, 2, 3))
    either = (probabilities + truth).sum((0, 2, 3)) - both
    present = truth.sum((0, 2, 3)) > 0
    return 1 - (both / either.clamp(min=1))[present].mean()


def draw_loss(indices, source, *, run: loop.Run, photos, truths, options) -> torch.Tensor:
    """The loss of the photos numbered `indices`, augmented together with their masks."""
    side = loop.grown_size(run, options.phases, len(photos))
    maps = augment.random_crop_maps(len(indices), (options.scale, 1.0), source, aspect=1.5, turn=10)
    images = augment.crop(data.to_float(photos[indices]), maps, side)
    images = augment.jitter_colour(images, 0.4, source)
    wanted = augment.crop(truths[indices][:, None].float(), maps, side, mode="nearest")[:, 0].long()
    logits = run.network(loop.channels_last(images))
    logits = F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False)
    return F.cross_entropy(logits, wanted, ignore_index=IGNORED) + jaccard_loss(logits, wanted)


def validate(weights: dict[str, torch.Tensor], *, photos: torch.Tensor, truths: torch.Tensor) -> dict:
    """IoU over all pixels of all validation photos against their automatic masks, edges and extremes included."""
    answers = torch.cat([logits.argmax(1) for logits in logits_of(weights, photos, truths.shape[-1])])
    values = figures.intersection_over_union(answers, truths, len(CLASSES))
    named = {f"validation_iou_{name}": value for name, value in zip(CLASSES, values, strict=True)}
    return {**named, "validation_miou": sum(values) / len(values)}


def load_start(network: twin.Segmenter, options: argparse.Namespace) -> None:
    """Give the segmenter the classifier's backbone, or the pretrained one where there is no classifier yet."""
    classifier = options.state / "classifier.pt"
    weights = twin.pretrained(options.start or (classifier if classifier.exists() else None), options.state)
    twin.load_backbone(network.backbone, weights)


def main() -> None:
    options = parse()
    pets = data.Pets(options.data, options.state)
    train, held_out = pets.indices("train"), pets.indices("validation")
    train = train[believable(pets.masks[train])]
    masks, photos = pets.masks[train], pets.photos[train]
    chunks = zip(masks.split(256), pets.is_cat[train].split(256), strict=True)  # all at once takes gigabytes
    truths = torch.cat([ignore_edges(truth_of(some, is_cat), some) for some, is_cat in chunks])
    if options.teacher:
        truths = clean(truths, photos, state.load(options.teacher)["average"]["values"], options.side)
    photos, truths = photos.to(options.device), truths.to(options.device)
    torch.manual_seed(options.seed)  # the fresh head and its dropout
    network = twin.Segmenter(len(CLASSES))
    load_start(network, options)
    run = loop.Run(network.train(), options, average_decay=0.995)
    save_to = options.state / f"{options.name}.pt"
    if save_to.exists():
        run.load_state_dict(state.load(save_to))
    until = round(sum(epochs for _, epochs in options.phases) * len(train))
    shown = data.as_deployed(pets.photos[held_out], options.side, options.side)
    loop.fit(
        run,
        partial(draw_loss, run=run, photos=photos, truths=truths, options=options),
        partial(validate, photos=shown, truths=truth_of(pets.masks[held_out], pets.is_cat[held_out])),
        lambda run: loop.warm_then_cosine(run, options.rate, options.warmup, until),
        photos=len(train),
        until=until,
        options=options,
        save_to=save_to,
        log=state.Log(options.state / "logs" / f"{options.name}.csv"),
    )


if __name__ == "__main__":
    main()
