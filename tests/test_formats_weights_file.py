"""Weights in shards: index and files held against each other. What transformers writes is in parity/."""

import hashlib
import json

import numpy as np
import pytest
from fuzz.samples import safetensors_file, tiny_tensors, torch_file

from mobilevit_np.checkpoints import convert, open_checkpoint
from mobilevit_np.errors import CheckpointError, NotFoundError, OutputError

TENSORS = tiny_tensors()
NAMES = sorted(TENSORS)


def save_shards(folder, stem="model", ending="safetensors", count=3, variant="", tensors=TENSORS):
    """As transformers does: the shards, and beside them the index, which this returns."""
    infix = f".{variant}" if variant else ""
    weight_map = {}
    for number in range(count):
        part = {name: tensors[name] for name in sorted(tensors)[number::count]}
        file = f"{stem}{infix}-{number + 1:05}-of-{count:05}.{ending}"
        (folder / file).write_bytes(safetensors_file(part) if ending == "safetensors" else torch_file(part))
        weight_map |= dict.fromkeys(part, file)
    index = folder / f"{stem}.{ending}.index{infix}.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return index


@pytest.mark.parametrize(
    ("stem", "ending", "variant"),
    [("model", "safetensors", ""), ("pytorch_model", "bin", ""), ("model", "safetensors", "fp16")],
)
def test_shards_are_one_checkpoint(stem, ending, variant, tmp_path):
    index = save_shards(tmp_path, stem, ending, variant=variant)
    for where, options in ((tmp_path, {"variant": variant or None}), (index, {})):
        checkpoint = open_checkpoint(where, **options)
        assert set(checkpoint.tensors) == set(TENSORS)
        assert all(np.array_equal(checkpoint.tensors[name], tensor) for name, tensor in TENSORS.items())
    data = b"".join(path.read_bytes() for path in sorted(tmp_path.glob(f"*.{ending}")))
    found = checkpoint.provenance
    assert (found.size, found.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert (found.path, len(found.source.files), found.keys) == (index, 4, len(TENSORS))


def test_a_conversion_does_not_take_a_shards_place(tmp_path):
    with pytest.raises(OutputError, match="write the result elsewhere"):
        convert(save_shards(tmp_path), tmp_path / FIRST)


def changed(index, **changes):
    """The index with some tensors said to be in other files; None takes one out."""
    whole = json.loads(index.read_text())
    whole["weight_map"] = {n: file for n, file in {**whole["weight_map"], **changes}.items() if file is not None}
    index.write_text(json.dumps(whole))


FIRST, SECOND = "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors"
BROKEN = {  # what is done to folder and index, the error, and what it says
    "a missing shard": (lambda i: (i.parent / SECOND).unlink(), NotFoundError, f"names {SECOND}, which isn't there"),
    "a shard of another": (
        lambda i: (i.parent / SECOND).write_bytes(safetensors_file({"x": TENSORS[NAMES[0]]})), CheckpointError,
        rf"says that {SECOND} holds .*, which it doesn't \({len(NAMES[1::3])} in all\)",
    ),
    "a tensor that isn't there": (
        lambda i: changed(i, nowhere=FIRST), CheckpointError, f"says that {FIRST} holds nowhere, which it doesn't"
    ),
    "one tensor twice": (
        lambda i: (i.parent / FIRST).write_bytes(safetensors_file(TENSORS)), CheckpointError, "two of its shards hold"
    ),
    "a way out": (lambda i: changed(i, x="../../other.safetensors"), CheckpointError, "can't lie beside it"),
    "a damaged shard": (lambda i: (i.parent / FIRST).write_bytes(b"<html>"), CheckpointError, f"{FIRST}: this is a w"),
    "no map": (lambda i: i.write_text('{"metadata": {}}'), CheckpointError, "has no weight_map"),
    "no JSON": (lambda i: i.write_text("x"), CheckpointError, "is not JSON"),
    "no index": (lambda i: i.unlink(), NotFoundError, r"holds shards \(.*\) without their \.index\.json"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "error", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_what_does_not_fit_together_is_named(spoil, error, says, tmp_path):
    spoil(save_shards(tmp_path))
    with pytest.raises(error, match=says) as caught:
        open_checkpoint(tmp_path)
    assert "\n" not in str(caught.value)


def test_one_shard_is_no_checkpoint(tmp_path):
    save_shards(tmp_path)
    with pytest.raises(CheckpointError, match="is one shard of several; give its folder"):
        open_checkpoint(tmp_path / FIRST)
