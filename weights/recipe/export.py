"""Write trained weights as Hugging Face folders, and prove that transformers answers from them as the twin does.

A folder holds model.safetensors (float16), config.json, preprocessor_config.json and README.md, the model card. The
classifier's logits are calibrated on the way: a temperature is fitted on the validation photos and folded into the last
layer. All figures are of the rounded weights. Those of the validation photos are measured here; those of the test
photos come onto the card when `evaluate.py --split test` has measured these very weights and the export is repeated.

    python export.py distilled       the distilled weights, beside this script
    python export.py classifier      to ../pets-xx-small
    python export.py segmenter       to ../pets-deeplabv3-xx-small
"""

import argparse
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import safetensors.torch
import torch

import classifier
import data
import figures
import labels
import names
import oracles
import segmenter
import state
import twin

HERE = Path(__file__).parent
TOLERANCE = 1e-4  # of logits, between transformers reading the folder and the twin with the same rounded weights
XX_SMALL = {
    "hidden_sizes": [64, 80, 96],
    "neck_hidden_sizes": [16, 16, 24, 48, 64, 80, 320],
    "expand_ratio": 2.0,
}
KINDS = {
    "classifier": {
        "architecture": "MobileViTForImageClassification",
        "output_stride": 32,
        "folder": "pets-xx-small",
        "knows": "37 breeds of cats and dogs, other cats, other dogs, and what is neither",
    },
    "segmenter": {
        "architecture": "MobileViTForSemanticSegmentation",
        "output_stride": 16,
        "folder": "pets-deeplabv3-xx-small",
        "knows": "cats and dogs, and calls all else background",
    },
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("distilled", "classifier", "segmenter"))
    data.add_folders(parser)
    classifier.add_deployed_size(parser)
    parser.add_argument("--name", help="of the state file (default: the same as WHAT)")
    parser.add_argument("--mix", nargs=2, metavar=("DIR", "SHARE"),
                        help="the mean of two runs: this share (0..1) of an exported folder's weights")  # fmt: skip
    parser.add_argument("--to", type=Path, metavar="DIR", help="folder to write (default: as listed above)")
    return parser.parse_args()


def rounded(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What is left of the weights after float16, as float32; BatchNorm's step counters are dropped."""
    return {name: value.half().float() for name, value in weights.items() if value.is_floating_point()}


def mixed(weights: dict[str, torch.Tensor], folder: Path, share: float) -> dict[str, torch.Tensor]:
    """The mean of two runs' weights, of which one began where the other ended (model soups, arXiv 2203.05482)."""
    others = names.of_folder(folder)
    return {
        name: value.lerp(others[name], share) if name in others and value.is_floating_point() else value
        for name, value in weights.items()
    }


def export_classifier(album: data.Album, weights: dict[str, torch.Tensor], folder: Path, options) -> dict:
    """Calibrate, round, write, check; returns the validation figures."""
    held_out, said = album.where("validation"), labels.names(album)
    photos = data.as_deployed(album.photos[held_out], options.short_side, options.crop)
    known = labels.possible(album)[held_out]
    certain = known.sum(1) == 1
    logits = classifier.logits_of(weights, photos, len(said))[certain]
    temperature = figures.fit_temperature(logits, known[certain].int().argmax(1))
    scaled = {name: weights[name] / temperature for name in ("head.fc.weight", "head.fc.bias")}
    weights = rounded(weights | scaled)
    logits = classifier.logits_of(weights, photos, len(said))
    found = {**labels.figures_of(logits, album, held_out), "temperature_folded_in": temperature}
    network = twin.load_whole(twin.backbone(len(said)), weights).eval()
    proof = partial(check, options.what, network, photos[:4])
    write_folder(folder, names.classifier_to_hugging_face(weights), said, found, proof, options)
    return found


def export_segmenter(album: data.Album, weights: dict[str, torch.Tensor], folder: Path, options) -> dict:
    """Round, write, check; returns the validation figures."""
    drawn = segmenter.outlines(options.data)
    outlined, neither = segmenter.held_out(album, drawn, "validation")
    photos, strangers = (
        data.as_deployed(album.photos[some], options.crop, options.crop) for some in (outlined, neither)
    )
    truths = segmenter.truths_of(album, outlined, drawn, data.SIDE)
    weights = rounded(weights)
    found = {
        "photos": len(outlined),
        "photos_of_neither": len(neither),
        **segmenter.validate(weights, photos=photos, truths=truths, strangers=strangers),
    }
    network = twin.load_whole(twin.Segmenter(len(segmenter.CLASSES)), weights).eval()
    proof = partial(check, options.what, network, photos[:4])
    write_folder(folder, names.segmenter_to_hugging_face(weights), segmenter.CLASSES, found, proof, options)
    return found


def write_folder(
    folder: Path, tensors: dict, labels: Sequence[str], found: dict, proof: Callable[[Path], None], options
) -> None:
    """The four files, all written beside their place, proved right there and then renamed into it."""
    kind = KINDS[options.what]
    config = oracles.transformers().MobileViTConfig(
        **XX_SMALL,
        image_size=options.crop,
        output_stride=kind["output_stride"],
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        architectures=[kind["architecture"]],
        dtype="float32",  # compute in float32; the file's float16 saves space only
        knows=kind["knows"],  # mobilevit_np says it with every answer
    )
    sides = {"short_side": options.short_side, "crop": options.crop}
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        beside = Path(beside)
        safetensors.torch.save_file(as_stored(tensors), beside / "model.safetensors", metadata={"format": "pt"})
        (beside / "config.json").write_text(config.to_json_string(use_diff=False))
        (beside / "preprocessor_config.json").write_text(json.dumps(processor(**sides), indent=2) + "\n")
        proof(beside)
        sha256 = hashlib.sha256((beside / "model.safetensors").read_bytes()).hexdigest()
        card = (HERE / f"card-{options.what}.md").read_text()
        filled = {"figures": card_figures(found), "test_figures": final_figures(options.what, sha256, sides), **sides}
        (beside / "README.md").write_text(card.format(sha256=sha256, **filled))
        folder.mkdir(exist_ok=True)
        for file in beside.iterdir():
            file.chmod(0o644)
            os.replace(file, folder / file.name)


def as_stored(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """In float16, with BatchNorm's step counters: nobody reads them, but transformers misses them loudly."""
    means = [name for name in tensors if name.endswith("running_mean")]
    counters = {name.replace("running_mean", "num_batches_tracked"): torch.tensor(0) for name in means}
    return {name: value.half().contiguous() for name, value in tensors.items()} | counters


def processor(short_side: int, crop: int) -> dict:
    """What goes into preprocessor_config.json."""
    return {
        "image_processor_type": "MobileViTImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": short_side},
        "resample": 2,  # bilinear
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_center_crop": True,
        "crop_size": {"height": crop, "width": crop},
        "do_flip_channel_order": True,  # the weights expect BGR
    }


def card_figures(found: dict, indent: str = "") -> str:
    """Figures as a Markdown list; shares in percent-like three digits, confusions in words."""
    lines = []
    for name, value in found.items():
        name = name.removeprefix("validation_").replace("_", " ")
        if isinstance(value, dict):
            lines += [f"{indent}- {name}:", card_figures(value, indent + "  ")]
        elif isinstance(value, list):
            lines.append(f"{indent}- {name}: " + "; ".join(f"{a} taken for {b} ({n})" for a, b, n in value))
        else:
            lines.append(f"{indent}- {name}: {value:.3f}" if isinstance(value, float) else f"{indent}- {name}: {value}")
    return "\n".join(lines)


def final_figures(what: str, sha256: str, processor: dict[str, int]) -> str:
    """What `evaluate.py --split test` found, for the card, if it was of these weights behind this processor."""
    log = HERE / "logs" / f"{what}-test.json"
    found = json.loads(log.read_text()) if log.exists() else {}
    if (found.get("sha256"), found.get("processor")) != (sha256, processor):
        return "Not measured for these weights yet: `weights/recipe/evaluate.py --split test` does, once."
    measured = card_figures({name: found[name] for name in found if name not in ("split", "sha256", "processor")})
    return f"""Measured once, after everything was chosen.

{measured}"""


@torch.no_grad()
def check(what: str, network: torch.nn.Module, photos: torch.Tensor, folder: Path) -> None:
    """Raise SystemExit unless transformers, reading the folder, agrees with the twin on photos and on noise."""
    model_class = getattr(oracles.transformers(), KINDS[what]["architecture"])
    model, report = model_class.from_pretrained(folder, output_loading_info=True)
    if strangers := [*report["unexpected_keys"], *report["missing_keys"]]:
        raise SystemExit(f"{folder}: transformers misses or does not know {strangers[:5]}")
    noise = torch.rand(2, 3, 97, 161, generator=torch.Generator().manual_seed(0))
    for images in (data.to_float(photos), noise):
        ours, theirs = network(images), model.eval()(images.flip(1)).logits
        apart = (ours - theirs).abs().max().item()
        print(f"{what} {tuple(images.shape)}: logits up to {ours.abs().max():.3g}, apart by {apart:.2g}")
        if apart > TOLERANCE:
            raise SystemExit(f"{folder}: transformers and the twin differ by more than {TOLERANCE}")


def main() -> None:
    options = parse()
    if options.what == "distilled":
        twin.save_halves(twin.load_halves(twin.DISTILLED, options.state), (options.to or HERE) / twin.DISTILLED)
        logs = ("distill", "distill-cooldown")
    else:
        name = options.name or options.what
        weights = state.load(options.state / f"{name}.pt")["average"]["values"]
        if options.mix:
            weights = mixed(weights, Path(options.mix[0]), float(options.mix[1]))
        export = {"classifier": export_classifier, "segmenter": export_segmenter}[options.what]
        folder = options.to or HERE.parent / KINDS[options.what]["folder"]
        found = export(data.Album(options.data, options.state), weights, folder, options)
        print(json.dumps(found, indent=2))
        if options.to:
            return  # the logs are of what is shipped
        (HERE / "logs").mkdir(exist_ok=True)
        (HERE / "logs" / f"{options.what}-validation.json").write_text(json.dumps(found, indent=2) + "\n")
        logs = (name,)
    for log in logs:
        if (file := options.state / "logs" / f"{log}.csv").exists():
            shutil.copyfile(file, HERE / "logs" / file.name)


if __name__ == "__main__":
    main()
