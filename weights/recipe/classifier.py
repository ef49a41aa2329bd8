"""Train the classifier of the 37 pet breeds from pretrained weights.

Small crops for most epochs, then crops as large as the classifier will be used at, since a network answers best at the
size it was trained at (arXiv 1906.06423). Validation sees what the shipped image processor
makes of a photo: by default short side 288, the middle 256. Interrupted, the same command goes on where it stopped.

    python classifier.py                                       about an hour and a half on two cores
    python classifier.py --phases 128:40,192:20,256:20         longer
"""

import argparse
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

SHORT_SIDE, CROP = 288, 256  # the Hugging Face classifier profile
PHASES = "96:12,128:9,192:2,256:6"
SMOOTHING = 0.1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data.add_folders(parser)
    parser.add_argument("--from", dest="start", type=Path, metavar="FILE",
                        help="pretrained weights (default: the state folder's, else those beside this "
                             "script)")  # fmt: skip
    parser.add_argument("--phases", type=loop.parse_phases, default=PHASES, metavar="SIDE:EPOCHS,...",
                        help=f"side of the crops and for how many epochs, in order (default: {PHASES})")  # fmt: skip
    parser.add_argument("--scale", type=float, default=0.3, help="least area of a crop (default: 0.3)")
    add_deployed_size(parser)
    parser.add_argument("--mix", type=float, default=0.2, help="share of batches with mixup or CutMix (default: 0.2)")
    parser.add_argument("--name", default="classifier", help="of the state and log files (default: classifier)")
    loop.add_options(parser, batch=64, rate=1e-2, warmup=100, weight_decay=0.05)
    return parser.parse_args()


def add_deployed_size(parser: argparse.ArgumentParser) -> None:
    """How large the shipped image processor hands photos over; smaller suits a network trained on small crops."""
    parser.add_argument("--short-side", type=int, default=SHORT_SIDE, help=f"resized to (default: {SHORT_SIDE})")
    parser.add_argument("--crop", type=int, default=CROP, help=f"side of the middle kept (default: {CROP})")


def draw_loss(indices, source, *, run: loop.Run, photos, labels, classes: int, options) -> torch.Tensor:
    """The loss of the training photos numbered `indices`, augmented."""
    size = loop.grown_size(run, options.phases, len(photos))
    # Aspect 1.5: the photos were squashed to squares, mostly from 4:3 and 3:4.
    maps = augment.random_crop_maps(len(indices), (options.scale, 1.0), source, aspect=1.5, turn=10)
    images = augment.crop(data.to_float(photos[indices]), maps, size)
    images = augment.jitter_colour(images, 0.4, source)
    targets = augment.soften(labels[indices], classes, SMOOTHING)
    if torch.rand(1, generator=source).item() < options.mix:
        images, targets = augment.mix(images, targets, source)
    return F.cross_entropy(run.network(loop.channels_last(images)), targets)


@torch.no_grad()
def logits_of(weights: dict[str, torch.Tensor], photos: torch.Tensor, classes: int) -> torch.Tensor:
    """The classifier's answers to uint8 photos (N, H, W, 3): (N, classes)."""
    device = loop.device_of(weights)
    network = twin.backbone(classes).to(device).eval()
    network.load_state_dict(weights)
    batches = (data.to_float(some.to(device)) for some in photos.split(32))
    return torch.cat([network(loop.channels_last(images)).cpu() for images in batches])


def validate(weights: dict[str, torch.Tensor], *, photos: torch.Tensor, labels: torch.Tensor, pets: data.Pets) -> dict:
    """Figures of the averaged weights on the validation photos as the processor would hand them over."""
    logits = logits_of(weights, photos, len(pets.breeds))
    return {
        "validation_loss": F.cross_entropy(logits, labels).item(),
        "validation_breed": figures.top1(logits, labels),
        "validation_species": figures.species(logits, labels, pets.breed_is_cat),
    }


def main() -> None:
    options = parse()
    pets = data.Pets(options.data, options.state)
    train, held_out = pets.indices("train"), pets.indices("validation")
    torch.manual_seed(options.seed)  # the fresh last layer
    network = twin.load_backbone(twin.backbone(len(pets.breeds)), twin.pretrained(options.start, options.state))
    run = loop.Run(network.train(), options, average_decay=0.995)
    save_to = options.state / f"{options.name}.pt"
    if save_to.exists():
        run.load_state_dict(state.load(save_to))
    until = round(sum(epochs for _, epochs in options.phases) * len(train))
    photos, labels = pets.photos[train].to(options.device), pets.labels[train].to(options.device)
    shown = data.as_deployed(pets.photos[held_out], options.short_side, options.crop)
    loop.fit(
        run,
        partial(draw_loss, run=run, photos=photos, labels=labels, classes=len(pets.breeds), options=options),
        partial(validate, photos=shown, labels=pets.labels[held_out], pets=pets),
        lambda run: loop.warm_then_cosine(run, options.rate, options.warmup, until),
        photos=len(train),
        until=until,
        options=options,
        save_to=save_to,
        log=state.Log(options.state / "logs" / f"{options.name}.csv"),
    )


if __name__ == "__main__":
    main()
