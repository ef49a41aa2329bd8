"""``mobilevit-np classify``: what is in a photo."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .common import add_common_options, opened, walk, whole_number
from .inputs import Photo, expand
from .terminal import chart, heading, numbers, printable, say

DESCRIPTION = """\
Name what is in a photo, with a probability for each answer. Weights whose config.json says so (problem_type) answer
yes or no for each class on its own (multi_label_classification), or give numbers instead (regression). With --json,
predictions have label, index and probability (a regression's have score instead), and problem_type stands beside them
unless it's single_label_classification.

Without --weights the shipped model answers. It knows 37 breeds of cats and dogs, other cats and other dogs, and
calls a teapot "neither cat nor dog". For ImageNet's 1000 classes: --weights apple/mobilevit-small (downloaded once,
which needs `pip install huggingface_hub`), or --weights FOLDER with its config.json, preprocessor_config.json and
pytorch_model.bin or model.safetensors.
"""

EXAMPLES = """\
examples:
  mobilevit-np classify cat.jpg
  mobilevit-np classify --top 3 photos/ "more/*.png"
  mobilevit-np classify --json photos/ > answers.jsonl
  curl -s https://example.org/cat.jpg | mobilevit-np classify -
  mobilevit-np classify cat.jpg --weights apple/mobilevit-small
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("classify", description=DESCRIPTION, epilog=EXAMPLES)
    add_common_options(parser, "pets-xx-small", "apple/mobilevit-small")
    parser.add_argument(
        "--top", type=whole_number, default=5, metavar="N", help="how many answers (default: %(default)s)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Classify the photos; print a table for each, or JSON lines."""
    photos = expand(options.images)

    from ..pipelines import Classifier
    from ..pipelines.common import READING

    classifier = opened(Classifier, options)
    model = classifier.checkpoint.name
    if not options.json:
        reading = READING[classifier.checkpoint.problem_type]
        say(heading(model, f"{classifier.knows}; {reading}" if reading else classifier.knows))

    def show(photo: Photo, result: Any) -> None:
        say(_json_line(photo, model, result) if options.json else _table(photo, result))

    return walk(photos, lambda sources: classifier.stream(sources, options.top), show)


def _table(photo: Photo, result: Any) -> str:
    shown = result.predictions
    if all(p.is_probability for p in shown):
        return "\n".join([printable(photo.name), *chart((p.label, p.probability) for p in shown)])
    return "\n".join([printable(photo.name), *numbers((p.label, p.shown) for p in shown)])


def _json_line(photo: Photo, model: str, result: Any) -> str:
    predictions = [
        {"label": p.label, "index": p.index}
        | ({"probability": round(p.probability, 6)} if p.is_probability else {"score": p.score})
        for p in result.predictions
    ]
    kind = {} if result.problem_type == "single_label_classification" else {"problem_type": result.problem_type}
    return json.dumps({"image": photo.name, "model": model, **kind, "predictions": predictions})
