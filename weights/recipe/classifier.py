"""Train the classifier of the 40 labels from the distilled weights.

It learns from the labels that are possible for each photo, and from what the teacher, with a last layer of our labels,
says of the fixed crops. Where the teacher sees nothing of these labels, as in a crop of the grass, it learns from the
teacher alone. All photos pass the same shrinking, compressing and enlarging, so that where one comes from doesn't give
away what it shows; the pets, sharper than the rest, are now and then shown as they are, and then only asked which of
the breeds it is.

Small crops for most epochs, then crops as large as the classifier will be used at, since a network answers best at the
size it was trained at (arXiv 1906.06423). Validation sees what the shipped image processor makes of a photo: by default
short side 288, the middle 256. Interrupted, the same command goes on where it stopped.

    python classifier.py                                     two hours on two cores
    python classifier.py --phases 128:20,192:10,256:10       longer
"""

import argparse
from functools import partial
from pathlib import Path

import torch
from torch.nn import functional as F

import augment
import data
import distill
import labels
import loop
import names
import state
import twin

SHORT_SIDE, CROP = 288, 256  # the Hugging Face classifier profile
PHASES = "128:8,160:4,256:4"
TEACHING = 1.0  # weight of the teacher's answers beside the labels'
SEEN = 0.05  # of the teacher's probabilities, on the possible labels: with less, the crop doesn't show what they say
UNASKED = -50.0  # the logit of a label that a photo is not asked about: as good as impossible, and finite


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data.add_folders(parser)
    parser.add_argument("--phases", type=loop.parse_phases, default=PHASES, metavar="SIDE:EPOCHS,...",
                        help=f"side of the crops and for how many epochs, in order (default: {PHASES})")  # fmt: skip
    add_deployed_size(parser)
    parser.add_argument("--sharp", type=float, default=0.3, help="share of pets shown as they are (default: 0.3)")
    parser.add_argument("--mix", type=float, default=0.2, help="share of batches with mixup or CutMix (default: 0.2)")
    parser.add_argument("--from", dest="start", type=Path, metavar="DIR",
                        help="go on from an exported folder's weights (default: the distilled ones)")  # fmt: skip
    parser.add_argument("--name", default="classifier", help="of the state and log files (default: classifier)")
    loop.add_options(parser, batch=64, rate=6e-3, warmup=200, weight_decay=0.05)
    return parser.parse_args()


def add_deployed_size(parser: argparse.ArgumentParser) -> None:
    """How large the shipped image processor hands photos over; smaller suits a network trained on small crops."""
    parser.add_argument("--short-side", type=int, default=SHORT_SIDE, help=f"resized to (default: {SHORT_SIDE})")
    parser.add_argument("--crop", type=int, default=CROP, help=f"side of the middle kept (default: {CROP})")


def draw_loss(numbers, source, *, run: loop.Run, lessons: distill.Lessons, known, breeds: int, options) -> torch.Tensor:
    """The loss of one crop of each of the training photos at `numbers`: what labels and teacher want, evenly."""
    size = loop.grown_size(run, options.phases, len(lessons.indices))
    photos, maps, features = lessons.draw(numbers, source)
    possible, mixing = known[lessons.indices[numbers]], torch.rand(1, generator=source).item() < options.mix
    sharp = (torch.rand(len(numbers), generator=source) < (0 if mixing else options.sharp)) & possible[:, :breeds].any(
        1
    )
    sharp &= possible.sum(1) == 1  # a breed, and which one is known
    worn = augment.wear(photos, 1.0, source)
    worn[sharp] = photos[sharp]
    images = augment.crop(data.to_float(worn.to(options.device)), maps, size)
    images = augment.jitter_color(images, 0.3, source)
    images, share = augment.mix(images, source) if mixing else (images, 0.0)
    logits, teacher = run.network(loop.channels_last(images)), lessons.last_layer(features)
    unasked = (sharp[:, None] & (torch.arange(logits.shape[1]) >= breeds)).to(logits.device)

    def loss_of(possible: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        teacher = teacher.to(logits.device).masked_fill(unasked, UNASKED)
        said = logits.masked_fill(unasked, UNASKED)
        apart = F.kl_div(said.log_softmax(1), teacher.log_softmax(1), reduction="none", log_target=True).sum(1)
        possible = possible.to(logits.device)
        seen = (teacher.softmax(1) * possible).sum(1) > SEEN
        return (labels.partial_loss(said, possible) * seen + TEACHING * apart).mean()

    return (1 - share) * loss_of(possible, teacher) + share * loss_of(possible.flip(0), teacher.flip(0))


@torch.no_grad()
def logits_of(weights: dict[str, torch.Tensor], photos: torch.Tensor, classes: int) -> torch.Tensor:
    """The classifier's answers to uint8 photos (N, H, W, 3): (N, classes)."""
    device = loop.device_of(weights)
    network = twin.backbone(classes).to(device).eval()
    network.load_state_dict(weights)
    batches = (data.to_float(some.to(device)) for some in photos.split(32))
    return torch.cat([network(loop.channels_last(images)).cpu() for images in batches])


def validate(weights: dict, *, album: data.Album, indices: torch.Tensor, classes: int, options) -> dict:
    """Figures of the averaged weights on the validation photos as the processor would hand them over."""
    parts = (data.as_deployed(album.photos[some], options.short_side, options.crop) for some in indices.split(256))
    logits = torch.cat([logits_of(weights, photos, classes) for photos in parts])
    return labels.figures_of(logits, album, indices)


def main() -> None:
    options = parse()
    album = data.Album(options.data, options.state)
    layer, decided = labels.load(options.state)
    lessons = distill.Lessons(album, options.state, layer)
    known, classes = labels.possible(album, decided), len(labels.names(album))
    torch.manual_seed(options.seed)  # the fresh last layer
    network = twin.backbone(classes)
    if options.start:
        twin.load_whole(network, names.of_folder(options.start))
    else:
        twin.load_backbone(network, twin.load_halves(twin.DISTILLED, options.state))
    run = loop.Run(network.train(), options, average_decay=0.995)
    save_to, photos = options.state / f"{options.name}.pt", len(lessons.indices)
    if save_to.exists():
        run.load_state_dict(state.load(save_to))
    until = round(sum(epochs for _, epochs in options.phases) * photos)
    loop.fit(
        run,
        partial(draw_loss, run=run, lessons=lessons, known=known, breeds=len(album.breeds), options=options),
        partial(validate, album=album, indices=album.where("validation"), classes=classes, options=options),
        lambda run: loop.warm_then_cosine(run, options.rate, options.warmup, until),
        photos=photos,
        until=until,
        options=options,
        save_to=save_to,
        log=state.Log(options.state / "logs" / f"{options.name}.csv"),
    )


if __name__ == "__main__":
    main()
