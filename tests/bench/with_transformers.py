"""Classify a photo with transformers and PyTorch, as short as such scripts are.

    python tests/bench/with_transformers.py PHOTO FOLDER TOP

It prints the ``TOP`` best answers of the checkpoint in ``FOLDER``, as one line of JSON. ``--whole-command`` races the
command ``classify`` against it, so it imports nothing of this project.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any


def skip_torchvisions_fakes() -> None:
    """Let timm and transformers be imported beside any torchvision, from now on.

    PyTorch's CPU builds often find a torchvision without its C++ operators beside them. It registers fakes for these as
    it's imported, which then fails, and with it whoever imports it, though they need none of them: so they're skipped.
    """
    library = import_module("torch").library
    register = library.register_fake

    def register_fake(op: Any, *arguments: Any, **options: Any) -> Any:
        return (lambda fake: fake) if str(op).startswith("torchvision::") else register(op, *arguments, **options)

    library.register_fake = register_fake


def import_transformers() -> Any:
    """transformers, ready to use."""
    skip_torchvisions_fakes()
    return import_module("transformers")


def main(photo: str, folder: str, top: int) -> None:
    """Load the checkpoint, classify the photo, print the best answers."""
    transformers, torch, image = import_transformers(), import_module("torch"), import_module("PIL.Image")
    processor = transformers.MobileViTImageProcessorPil.from_pretrained(folder)
    model = transformers.MobileViTForImageClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        logits = model(**processor(images=image.open(photo).convert("RGB"), return_tensors="pt")).logits[0]
    if model.config.problem_type == "multi_label_classification":
        logits = logits.sigmoid()
    elif model.config.problem_type != "regression":
        logits = logits.softmax(-1)
    best = logits.topk(min(top, len(logits)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    print(json.dumps({"predictions": [{"index": index, "probability": value} for index, value in pairs]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
