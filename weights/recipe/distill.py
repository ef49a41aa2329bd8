"""Pretrain MobileViT-XXS by distillation: it learns to answer as EfficientNet-Lite2 does, in ImageNet's 1000 classes.

From `pretrained-xx-small.safetensors` on, on all training photos, with the fixed crops whose features `teachers.py`
has computed. The loss is how far its probabilities are from the teacher's (arXiv 1503.02531, without softening: this
teacher is soft as it is, with 0.4 for its likeliest class on average); what the photo really shows isn't asked.

The learning rate warms up and then stays (a "warmup, stable, decay" schedule), so the run has no planned end: start it,
kill it, start it again with more epochs, for as long as there is time. `--cooldown` branches off from wherever it
stands, lets the rate fall to zero and writes the weights that the next stages start from; the stable run can be
continued afterwards as if nothing had happened.

    python distill.py --epochs 60                      128x128 pixels, the bulk
    python distill.py --epochs 80 --size 160           from there on larger, until epoch 80
    python distill.py --cooldown 10 --size 160         ten more with falling rate; writes the weights
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import augment
import data
import loop
import state
import teachers
import twin

CLASSES = 1000


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data.add_folders(parser)
    parser.add_argument("--from", dest="start", default=twin.SMALL_PHOTOS, metavar="FILE",
                        help="weights beside this script to start from (default: the pretrained ones)")  # fmt: skip
    parser.add_argument("--epochs", type=float, default=60, help="stop when the stable run is this old (default: 60)")
    parser.add_argument("--cooldown", type=float, default=0, metavar="EPOCHS",
                        help="instead, branch off and let the rate fall to 0 over this many epochs")  # fmt: skip
    parser.add_argument("--size", type=int, default=128, help="side of the crops in pixels (default: 128)")
    parser.add_argument("--worn", type=float, default=0.5, help="share of photos shrunk, compressed, enlarged again "
                        "(default: 0.5)")  # fmt: skip
    loop.add_options(parser, batch=128, rate=6e-3, warmup=200, weight_decay=0.03)
    return parser.parse_args()


class Lessons:
    """The training photos, the fixed crops of them, and what the teacher says of each: `last_layer` of its features."""

    def __init__(self, album: data.Album, state_folder: Path, last_layer: nn.Linear):
        self.photos, self.indices = album.photos, album.where("train")
        views = teachers.feature_files(state_folder)
        self.maps = torch.stack([teachers.view_maps(view, len(self.indices)) for view in views])
        self.features = [torch.from_numpy(np.load(file, mmap_mode="c")) for file in views.values()]
        self.last_layer = last_layer

    def draw(self, numbers: torch.Tensor, source: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Photos uint8 (B, H, W, 3), the map of one crop each, mirrored half of the time, the teacher's features."""
        views = torch.randint(len(self.features), (len(numbers),), generator=source)
        maps = self.maps[views, numbers].clone()
        maps[:, :, 0] *= torch.randint(0, 2, (len(numbers), 1), generator=source) * 2 - 1
        found = torch.stack([self.features[view][n] for view, n in zip(views, numbers, strict=True)]).float()
        return self.photos[self.indices[numbers]], maps, found


def draw_loss(numbers, source, *, run: loop.Run, lessons: Lessons, options) -> torch.Tensor:
    """How far the student is from the teacher on one crop of each photo."""
    photos, maps, features = lessons.draw(numbers, source)
    photos = augment.wear(photos, options.worn, source)
    images = augment.crop(data.to_float(photos.to(options.device)), maps, options.size)
    images = augment.jitter_color(images, 0.3, source)
    with torch.no_grad():
        wanted = lessons.last_layer(features).to(options.device)
    return divergence(run.network(loop.channels_last(images)), wanted)


def divergence(logits: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """How far the student's probabilities are from the teacher's: the mean over the batch, (B, K), (B, K) -> ()"""
    return F.kl_div(logits.log_softmax(1), teacher.log_softmax(1), reduction="batchmean", log_target=True)


@torch.no_grad()
def validate(weights: dict, *, photos: torch.Tensor, wanted: torch.Tensor, options: argparse.Namespace) -> dict:
    """How near the averaged weights come to the teacher on whole validation photos, resized to the training size."""
    network = twin.backbone(CLASSES).to(options.device).eval()
    network.load_state_dict(weights)
    answers = []
    for some in photos.split(64):
        images = F.interpolate(data.to_float(some), (options.size, options.size), mode="bilinear", antialias=True)
        answers.append(network(loop.channels_last(images.to(options.device))).cpu())
    logits = torch.cat(answers)
    same = (logits.argmax(1) == wanted.argmax(1)).float().mean().item()
    loss = divergence(logits, wanted).item()
    return {"size": options.size, "validation_loss": loss, "validation_agreement": same}


def rate_at(run: loop.Run, *, options: argparse.Namespace, first: int, until: int) -> float:
    """Linear warmup and then constant; cooling down, linear to 0 from photo `first` to `until`."""
    if options.cooldown:
        return options.rate * max(0.0, (until - run.photos_seen) / (until - first))
    return options.rate * min(1.0, (run.step + 1) / options.warmup)


def main() -> None:
    options = parse()
    name = "distill-cooldown" if options.cooldown else "distill"
    album = data.Album(options.data, options.state)
    lessons = Lessons(album, options.state, teachers.last_layer())
    held_out = album.where("validation")
    wanted = lessons.last_layer(
        torch.from_numpy(np.load(teachers.features_file(options.state, teachers.CENTER))).float()
    )
    torch.manual_seed(options.seed)  # the fresh last layer
    network: nn.Module = twin.backbone(CLASSES)
    start = twin.load_halves(options.start)
    if start["head.fc.weight"].shape[0] == CLASSES:  # its own earlier result: the last layer goes on too
        twin.load_whole(network, start)
    else:
        twin.load_backbone(network, start)
    # Cooling down, the weights improve faster than a long average follows.
    run = loop.Run(network.train(), options, average_decay=0.99 if options.cooldown else 0.998)
    own, stable = options.state / f"{name}.pt", options.state / "distill.pt"
    first, photos = 0, len(lessons.indices)
    if own.exists() or stable.exists():
        saved = state.load(own if own.exists() else stable)
        run.load_state_dict(saved)
        first = saved["cooldown_from"] if own.exists() and options.cooldown else run.photos_seen
    until = first + round(options.cooldown * photos) if options.cooldown else round(options.epochs * photos)
    loop.fit(
        run,
        partial(draw_loss, run=run, lessons=lessons, options=options),
        partial(validate, photos=album.photos[held_out], wanted=wanted, options=options),
        partial(rate_at, options=options, first=first, until=until),
        photos=photos,
        until=until,
        options=options,
        save_to=own,
        log=state.Log(options.state / "logs" / f"{name}.csv"),
        extra={"cooldown_from": first},
    )
    if options.cooldown and loop.join_workers()[0] == 0:
        twin.save_halves(run.average.values, options.state / twin.DISTILLED)
        own.unlink()  # finished: the next cooldown branches off afresh


if __name__ == "__main__":
    main()
