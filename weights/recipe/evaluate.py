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
import oracles
import segmenter
from export import KINDS

HERE = Path(__file__).parent
BATCH = 16
STRANGERS = 500  # photos without an animal
FIRST_THING = "n026"  # WordNet ids of ImageNet's animals sort before this, those of things and plants after


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


def classifier_figures(answers: Answers, pets: data.Pets, chosen: torch.Tensor, strangers: torch.Tensor) -> dict:
    logits, labels = answers.logits(pets.photos[chosen]), pets.labels[chosen]
    confidence = answers.logits(strangers).softmax(1).max(1).values
    return {
        "photos": len(labels),
        "breed_top1": figures.top1(logits, labels),
        "breed_top5": figures.top5(logits, labels),
        "species": figures.species(logits, labels, pets.breed_is_cat),
        "calibration_error": figures.calibration_error(logits, labels),
        "confusions": figures.confusions(logits, labels, pets.breeds),
        "confidence_on_photos_without_animals": confidence.mean().item(),
        "confidence_on_pets": logits.softmax(1).max(1).values.mean().item(),
    }


def segmenter_figures(answers: Answers, pets: data.Pets, chosen: torch.Tensor, strangers: torch.Tensor) -> dict:
    masks = pets.masks[chosen]
    truths = segmenter.truth_of(masks, pets.is_cat[chosen])
    found = classes_of(answers, pets.photos[chosen], truths.shape[-1])
    trusted = segmenter.believable(masks)
    elsewhere = classes_of(answers, strangers, strangers.shape[-2])
    return {
        "photos": len(masks),
        "iou": iou_by_class(found, truths),
        "iou_believable_masks": iou_by_class(found[trusted], truths[trusted]),
        "animal_area_on_photos_without_animals": (elsewhere > 0).float().mean().item(),
    }


def classes_of(answers: Answers, photos: torch.Tensor, side: int) -> torch.Tensor:
    """The class of every pixel, (N, side, side). The whole photo is looked at: no pixel is cropped away."""
    crop = answers.processor.crop_size["height"]
    logits = answers.logits(photos, size={"shortest_edge": crop})
    enlarged = (F.interpolate(some, (side, side), mode="bilinear", align_corners=False) for some in logits.split(32))
    return torch.cat([some.argmax(1) for some in enlarged])


def iou_by_class(found: torch.Tensor, truths: torch.Tensor) -> dict[str, float]:
    values = figures.intersection_over_union(found, truths, len(segmenter.CLASSES))
    return {**dict(zip(segmenter.CLASSES, values, strict=True)), "mean": sum(values) / len(values)}


def photos_without_animals(options: argparse.Namespace) -> torch.Tensor:
    """Small photos of things and plants: (STRANGERS, 64, 64, 3). Blurred once enlarged, but the only ones at hand."""
    photos, labels = data.small_photos(options.data, options.state, "val")
    wnids = np.load(options.data / "small-photos-val.npz")["wnids"]
    things = torch.from_numpy(wnids >= FIRST_THING)[labels]
    spread = torch.linspace(0, int(things.sum()) - 1, STRANGERS).long()
    return photos[things][spread]


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
    pets = data.Pets(options.data, options.state)
    chosen, strangers = pets.indices(options.split), photos_without_animals(options)
    answers = Answers(options.library, KINDS[options.what]["architecture"], folder)
    if options.what == "classifier":
        found = classifier_figures(answers, pets, chosen, strangers)
    else:
        found = segmenter_figures(answers, pets, chosen, strangers)
    found = {"split": options.split, **identity, "measured_through": options.library, **found}
    found["photos_without_animals"] = len(strangers)
    found["photos_identical_to_one_trained_on"] = pets.repeated(options.split)
    print(json.dumps(found, indent=2))
    if options.split == "test" and options.library == "mobilevit_np":
        log.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
