"""Measure an exported folder the way it will be used: read by mobilevit_np, one photo in, one answer out.

The validation photos are for choosing; the test photos are there to be opened once, when nothing is left to choose.
`--split test` measures the shipped folders once; `--library transformers` asks the other implementation.

    python evaluate.py classifier                   validation figures of ../pets-xx-small
    python evaluate.py segmenter                    validation figures of ../pets-deeplabv3-xx-small
    python evaluate.py classifier --split test      the final figures, into logs/classifier-test.json
"""

import argparse
import hashlib
import importlib
import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

import data
import figures
import labels
import oracles
import segmenter
from export import KINDS

HERE = Path(__file__).parent
BATCH = 16


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=tuple(KINDS))
    data.add_folders(parser)
    parser.add_argument("--weights", type=Path, metavar="DIR", help="the exported folder (default: as listed above)")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--library", choices=("mobilevit_np", "transformers"), default="mobilevit_np")
    return parser.parse_args()


class Answers:
    """A model and its processor from one folder; mobilevit_np's classes have the same names as transformers'."""

    def __init__(self, library: str, architecture: str, folder: Path):
        self.tensors = "pt" if library == "transformers" else "np"
        module = oracles.transformers() if library == "transformers" else importlib.import_module(library)
        self.model = getattr(module, architecture).from_pretrained(folder)
        self.processor = module.MobileViTImageProcessor.from_pretrained(folder)

    def logits(self, photos: torch.Tensor, **overrides) -> torch.Tensor:
        """Raw logits for uint8 photos (N, H, W, 3), after the processor; float32."""
        found = []
        for some in photos.split(BATCH):
            inputs = self.processor(images=list(some.numpy()), return_tensors=self.tensors, **overrides)
            with torch.no_grad():
                found.append(np.asarray(self.model(**inputs).logits))
        return torch.from_numpy(np.concatenate(found)).float()


def classifier_figures(answers: Answers, album: data.Album, split: str) -> dict:
    chosen = album.where(split)
    logits = answers.logits(album.photos[chosen])
    found = labels.figures_of(logits, album, chosen)
    pets = album.breed[chosen] >= 0
    found["confusions"] = figures.confusions(logits[pets], album.breed[chosen][pets], labels.names(album))
    return found


def segmenter_figures(answers: Answers, album: data.Album, split: str, drawn: dict[str, np.ndarray]) -> dict:
    outlined, neither = segmenter.held_out(album, drawn, split)
    found = classes_of(answers, album.photos[outlined])
    values = figures.intersection_over_union(
        found, segmenter.truths_of(album, outlined, drawn, data.SIDE), len(segmenter.CLASSES)
    )
    return {
        "photos": len(outlined),
        "iou": {**dict(zip(segmenter.CLASSES, values, strict=True)), "mean": sum(values) / len(values)},
        "photos_of_neither": len(neither),
        "animal_area_on_photos_of_neither": figures.share(classes_of(answers, album.photos[neither]) > 0),
    }


def classes_of(answers: Answers, photos: torch.Tensor) -> torch.Tensor:
    """The class of every pixel, (N, SIDE, SIDE). The whole photo is looked at: no pixel is cropped away."""
    crop = answers.processor.crop_size["height"]
    logits = answers.logits(photos, size={"shortest_edge": crop})
    enlarged = (F.interpolate(some, (data.SIDE, data.SIDE), mode="bilinear") for some in logits.split(32))
    return torch.cat([some.argmax(1) for some in enlarged])


def identity_of(folder: Path) -> dict:
    """The weights' sha256 and the processor's sizes: what figures belong to."""
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    sides = {"short_side": processor["size"]["shortest_edge"], "crop": processor["crop_size"]["height"]}
    return {"sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(), "processor": sides}


def check_unopened(log: Path, identity: dict, options: argparse.Namespace) -> None:
    """Raise SystemExit where the test photos would be used to choose: for other weights, or a second time."""
    if options.weights:
        raise SystemExit("the test photos are for the shipped folders, when nothing is left to choose: no --weights")
    if options.library == "mobilevit_np" and log.exists():
        found = json.loads(log.read_text())
        if {name: found.get(name) for name in identity} == identity:
            raise SystemExit(f"{log} has the test figures of these weights already")


def main() -> None:
    options = parse()
    folder = options.weights or HERE.parent / KINDS[options.what]["folder"]
    identity, log = identity_of(folder), HERE / "logs" / f"{options.what}-test.json"
    if options.split == "test":
        check_unopened(log, identity, options)
    album = data.Album(options.data, options.state)
    answers = Answers(options.library, KINDS[options.what]["architecture"], folder)
    if options.what == "classifier":
        found = classifier_figures(answers, album, options.split)
    else:
        found = segmenter_figures(answers, album, options.split, segmenter.outlines(options.data))
    found = {"split": options.split, **identity, "measured_through": options.library, **found}
    found["photos_identical_to_one_trained_on"] = album.repeated(album.where(options.split))
    print(json.dumps(found, indent=2))
    if options.split == "test" and options.library == "mobilevit_np":
        log.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
