"""What the recipe promises, checked in seconds and without the photos: `python -m pytest weights/recipe`."""

import argparse
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import augment
import data
import figures
import loop
import names
import oracles
import segmenter
import state
import twin

pytestmark = pytest.mark.filterwarnings("ignore")  # other people's deprecations


def options(**changes) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    loop.add_options(parser, batch=4, rate=0.01, warmup=2, weight_decay=0.1)
    return argparse.Namespace(**{**vars(parser.parse_args(["--device", "cpu", "--save-every", "0"])), **changes})


def train_a_little(file: Path, until: int) -> dict[str, torch.Tensor]:
    """A linear model on ten points, saved after every step and resumed from `file` where that exists."""
    torch.manual_seed(0)
    points, run = torch.randn(10, 3), loop.Run(nn.Linear(3, 1), options())
    if file.exists():
        run.load_state_dict(state.load(file))

    def draw(indices, source):
        return (run.network(points[indices] + torch.randn(len(indices), 3, generator=source)) ** 2).mean()

    loop.fit(run, draw, lambda weights: {}, lambda run: 0.01, photos=10, until=until, options=options(), save_to=file,
             log=state.Log(file.with_suffix(".csv")))  # fmt: skip
    return run.average.values


def test_an_interrupted_run_repeats_the_uninterrupted_one(tmp_path):
    whole = train_a_little(tmp_path / "whole.pt", until=40)
    train_a_little(tmp_path / "halves.pt", until=16)
    halves = train_a_little(tmp_path / "halves.pt", until=40)
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_every_epoch_shows_every_photo_once():
    seen = torch.cat([state.next_indices(seed=3, photos_seen=i, photos=10, batch=4) for i in range(0, 20, 4)])
    assert sorted(seen[:10].tolist()) == sorted(seen[10:].tolist()) == list(range(10))


def test_the_split_depends_on_the_name_alone():
    assert data.split_of("Abyssinian_1") == "validation"
    shares = Counter(data.split_of(f"cat_{i}") for i in range(10_000))
    assert [round(shares[split] / 100) for split, _ in data.SPLITS] == pytest.approx([75, 10, 15], abs=1)


def drawn(network: nn.Module) -> nn.Module:
    """Statistics of a network that has seen something: fresh ones would hide a wrong name."""
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.3)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return network.eval()


@pytest.mark.parametrize(
    ("network", "rename", "architecture", "stride"),
    [
        (lambda: twin.backbone(5), names.classifier_to_hugging_face, "MobileViTForImageClassification", 32),
        (lambda: twin.Segmenter(5), names.segmenter_to_hugging_face, "MobileViTForSemanticSegmentation", 16),
    ],
)
@torch.no_grad()
def test_renamed_weights_answer_bgr_as_the_twin_answers_rgb(network, rename, architecture, stride):
    torch.manual_seed(1)
    network, library = drawn(network()), oracles.transformers()
    floats = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
    config = library.MobileViTConfig(hidden_sizes=[64, 80, 96], neck_hidden_sizes=[16, 16, 24, 48, 64, 80, 320],
                                     expand_ratio=2.0, output_stride=stride, num_labels=5)  # fmt: skip
    model = getattr(library, architecture)(config).eval()
    report = model.load_state_dict(rename(floats), strict=False)
    assert not report.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in report.missing_keys)
    rgb = torch.rand(2, 3, 97, 160)
    assert (network(rgb) - model(rgb.flip(1)).logits).abs().max() < 1e-5
    assert (network(rgb) - model(rgb).logits).abs().max() > 1e-4  # RGB to BGR weights shows


def test_crops_of_photo_and_mask_stay_together():
    photos = torch.zeros(8, 3, 32, 32)
    photos[:, :, 8:20, 4:16] = 1
    maps = augment.random_crop_maps(8, (0.3, 1.0), torch.Generator().manual_seed(0), aspect=1.5, turn=10)
    smooth, sharp = augment.crop(photos, maps, 48), augment.crop(photos[:, :1], maps, 48, mode="nearest")
    assert ((smooth[:, :1] > 0.5) == (sharp > 0.5)).float().mean() > 0.97


def test_edges_of_masks_are_ignored_on_both_sides():
    masks = torch.zeros(1, 40, 40, dtype=torch.bool)
    masks[0, :, 20:] = True
    row = segmenter.ignore_edges(segmenter.truth_of(masks, torch.tensor([False])), masks)[0, 20]
    assert row.tolist() == [0] * (20 - segmenter.EDGE) + [segmenter.IGNORED] * 2 * segmenter.EDGE + [2] * (
        20 - segmenter.EDGE
    )


def test_figures_of_known_answers():
    assert figures.intersection_over_union(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 255]), 2) == [0.5, 0.5]
    labels = torch.randint(0, 3, (4000,), generator=torch.Generator().manual_seed(0))
    odds = torch.tensor([0.8, 0.1, 0.1]).log()
    shifts = torch.multinomial(odds.exp(), 4000, replacement=True, generator=torch.Generator().manual_seed(1))
    honest = torch.stack([odds.roll(int(label - shift)) for label, shift in zip(labels, shifts, strict=True)])
    assert figures.calibration_error(honest, labels) < 0.02
    assert figures.calibration_error(honest * 3, labels) > 0.1
    assert figures.fit_temperature(honest * 3, labels) == pytest.approx(3, rel=0.1)
    assert F.cross_entropy(honest, labels) < F.cross_entropy(honest * 3, labels)
