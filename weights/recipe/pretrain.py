"""Pretrain MobileViT-XXS on the 200 classes of small photos: the long part of the recipe.

The learning rate warms up and then stays (a "warmup, stable, decay" schedule), so the run has no planned end: start it,
kill it, start it again with more epochs, for as long as there is time. `--cooldown` branches off from wherever it
stands, lets the rate fall to zero and writes the weights that the next stages start from; the stable run can be
continued afterwards as if nothing had happened.

    python pretrain.py --epochs 20                                   64x64 pixels, the bulk
    python pretrain.py --epochs 24 --size 128 --output-stride 32     from there on larger, until epoch 24
    python pretrain.py --cooldown 2 --size 128 --output-stride 32    two more with falling rate; writes the weights
"""

import argparse
from functools import partial

import torch
from torch.nn import functional as F

import augment
import data
import loop
import state
import twin

SMOOTHING = 0.1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data.add_folders(parser)
    parser.add_argument("--epochs", type=float, default=20, help="stop when the stable run is this old (default: 20)")
    parser.add_argument("--cooldown", type=float, default=0, metavar="EPOCHS",
                        help="instead, branch off and let the rate fall to 0 over this many epochs")  # fmt: skip
    parser.add_argument("--size", type=int, default=64, help="side of the crops in pixels (default: 64)")
    parser.add_argument("--output-stride", type=int, default=16, choices=(16, 32),
                        help="16 gives L5 maps of 4x4 at 64 pixels, where 32 would leave 2x2, on which "
                             "attention has nothing to learn (default: 16)")  # fmt: skip
    parser.add_argument("--scale", type=float, default=0.35, help="least area of a crop (default: 0.35)")
    parser.add_argument("--mix", type=float, default=0.0, help="share of batches with mixup or CutMix (default: 0)")
    loop.add_options(parser, batch=128, rate=2e-3, warmup=500, weight_decay=0.02)
    return parser.parse_args()


def draw_loss(indices, source, *, run: loop.Run, photos, labels, options) -> torch.Tensor:
    """The loss of the photos numbered `indices`, augmented."""
    maps = augment.random_crop_maps(len(indices), (options.scale, 1.0), source)
    images = augment.crop(data.to_float(photos[indices]), maps, options.size)
    images = augment.jitter_colour(images, 0.3, source)
    targets = augment.soften(labels[indices], data.SMALL_CLASSES, SMOOTHING)
    if torch.rand(1, generator=source).item() < options.mix:
        images, targets = augment.mix(images, targets, source)
    return F.cross_entropy(run.network(loop.channels_last(images)), targets)


@torch.no_grad()
def validate(weights: dict, *, photos: torch.Tensor, labels: torch.Tensor, options: argparse.Namespace) -> dict:
    """Top-1 accuracy of the averaged weights on whole photos, resized to the training size."""
    network = twin.set_output_stride(twin.backbone(data.SMALL_CLASSES), options.output_stride).to(photos.device).eval()
    network.load_state_dict(weights)
    right = 0
    for some, truth in zip(photos.split(250), labels.split(250), strict=True):
        images = F.interpolate(data.to_float(some), size=(options.size, options.size), mode="bilinear")
        right += (network(loop.channels_last(images)).argmax(1) == truth).sum().item()
    return {"size": options.size, "output_stride": options.output_stride, "validation_accuracy": right / len(labels)}


def rate_at(run: loop.Run, *, options: argparse.Namespace, first: int, until: int) -> float:
    """Linear warmup and then constant; cooling down, linear to 0 from photo `first` to `until`."""
    if options.cooldown:
        return options.rate * max(0.0, (until - run.photos_seen) / (until - first))
    return options.rate * min(1.0, (run.step + 1) / options.warmup)


def main() -> None:
    options = parse()
    name = "pretrain-cooldown" if options.cooldown else "pretrain"
    photos, labels = (t.to(options.device) for t in data.small_photos(options.data, options.state, "train"))
    held_out, truths = (t.to(options.device) for t in data.small_photos(options.data, options.state, "val"))
    torch.manual_seed(options.seed)  # the initial weights
    # Cooling down, the weights improve faster than a long average follows.
    run = loop.Run(twin.backbone(data.SMALL_CLASSES), options, average_decay=0.99 if options.cooldown else 0.999)
    own, stable = options.state / f"{name}.pt", options.state / "pretrain.pt"
    first = 0
    if own.exists() or stable.exists():
        saved = state.load(own if own.exists() else stable)
        run.load_state_dict(saved)
        first = saved["cooldown_from"] if own.exists() and options.cooldown else run.photos_seen
    twin.set_output_stride(run.network, options.output_stride).train()
    until = first + round(options.cooldown * len(photos)) if options.cooldown else round(options.epochs * len(photos))
    loop.fit(
        run,
        partial(draw_loss, run=run, photos=photos, labels=labels, options=options),
        partial(validate, photos=held_out, labels=truths, options=options),
        partial(rate_at, options=options, first=first, until=until),
        photos=len(photos),
        until=until,
        options=options,
        save_to=own,
        log=state.Log(options.state / "logs" / f"{name}.csv"),
        extra={"cooldown_from": first},
    )
    if options.cooldown and loop.join_workers()[0] == 0:
        twin.save_halves(run.average.values, options.state / twin.PRETRAINED)
        own.unlink()  # finished: the next cooldown branches off afresh


if __name__ == "__main__":
    main()
