"""What the recipe promises, checked in seconds and without the photos: `python -m pytest weights/recipe`."""

import argparse
import json
import os
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import augment
import data
import evaluate
import export
import figures
import loop
import names
import optimiser
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
    """A linear model with dropout on ten points, saved after every step and resumed from `file` if that exists."""
    torch.manual_seed(0)
    points, run = torch.randn(10, 3), loop.Run(nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 1)), options())
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


def learn_together(worker: int, workers: int, folder: Path) -> None:
    """One of `workers` that train a linear model on ten points; the first saves its averaged weights."""
    os.environ.update(
        RANK=str(worker),
        WORLD_SIZE=str(workers),
        MASTER_ADDR="localhost",
        MASTER_PORT=str(29_500 + os.getppid() % 1_000),
    )
    torch.manual_seed(0)
    points, run = torch.randn(10, 3), loop.Run(nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 1)), options())
    loop.fit(run, lambda indices, source: (run.network(points[indices]) ** 2).mean(), lambda weights: {},
             lambda run: 0.01, photos=10, until=40, options=options(), save_to=folder / f"{workers}.pt",
             log=state.Log(folder / f"{workers}.csv"))  # fmt: skip


def test_two_workers_learn_what_one_would(tmp_path):
    for workers in (1, 2):
        torch.multiprocessing.spawn(learn_together, (workers, tmp_path), nprocs=workers)
    alone, together = (state.load(tmp_path / f"{workers}.pt") for workers in (1, 2))
    assert alone["step"] == together["step"] == 10
    for name, weight in alone["network"].items():
        torch.testing.assert_close(weight, together["network"][name])


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (12, 12)])
def test_muon_steps_as_far_in_every_direction(shape):
    loud = torch.randn(shape, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.logspace(0, -1, shape[1]))
    singular = torch.linalg.svdvals(optimiser.orthogonalise(loud))
    assert singular.min() > 0.3
    assert singular.max() < 1.3
    assert (optimiser.orthogonalise(loud) * loud).sum() > 0  # downhill where the gradient is


def test_muon_takes_the_matrices_and_leaves_the_last_layer():
    network = twin.backbone(5)
    kinds = optimiser.optimisers(network, "muon", 1e-3, 0.1)
    taken = {id(p) for group in kinds[1].param_groups for p in group["params"]}
    named = {name: id(p) in taken for name, p in network.named_parameters()}
    assert named["stages.2.1.transformer.0.attn.qkv.weight"]
    assert named["stem.conv.weight"]
    assert not named["head.fc.weight"]  # a row a class
    assert not named["stages.0.0.conv2_kxk.conv.weight"]  # depthwise
    assert not any(mine for name, mine in named.items() if name.endswith("bias"))
    assert sum(len(group["params"]) for each in kinds for group in each.param_groups) == len(named)


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


def test_jaccard_loss_is_one_minus_the_iou_of_what_counts():
    wanted = torch.randint(0, 2, (2, 8, 8), generator=torch.Generator().manual_seed(0))  # the third class is absent
    wanted[0, :4] = segmenter.IGNORED
    right = F.one_hot(wanted % segmenter.IGNORED, 3).permute(0, 3, 1, 2).float() * 50
    assert segmenter.jaccard_loss(right, wanted) == 0
    assert segmenter.jaccard_loss(-right, wanted) == 1
    answers = torch.zeros_like(wanted)
    sure = F.one_hot(answers, 3).permute(0, 3, 1, 2).float() * 50
    expected = 1 - sum(figures.intersection_over_union(answers, wanted, 2)) / 2
    assert segmenter.jaccard_loss(sure, wanted) == pytest.approx(expected, abs=1e-6)
    sure[0, :, :4] = torch.randn(3, 4, 8)  # ignored
    assert segmenter.jaccard_loss(sure, wanted) == pytest.approx(expected, abs=1e-6)


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


def test_a_card_shows_test_figures_of_its_own_weights_only(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "HERE", tmp_path)
    assert "Not measured" in export.final_figures("classifier", "abc", {})
    (tmp_path / "logs").mkdir()
    sides = {"short_side": 288, "crop": 256}
    found = {"split": "test", "sha256": "abc", "processor": sides, "breed_top1": 0.75}
    (tmp_path / "logs" / "classifier-test.json").write_text(json.dumps(found))
    assert "breed top1: 0.750" in export.final_figures("classifier", "abc", sides)
    assert "Not measured" in export.final_figures("classifier", "abd", sides)
    assert "Not measured" in export.final_figures("classifier", "abc", {**sides, "crop": 224})


def test_the_test_photos_are_opened_once(tmp_path):
    log, identity = tmp_path / "log.json", {"sha256": "abc", "processor": {"short_side": 288, "crop": 256}}
    shipped = argparse.Namespace(weights=None, library="mobilevit_np")
    evaluate.check_unopened(log, identity, shipped)
    log.write_text(json.dumps({**identity, "breed_top1": 0.75}))
    evaluate.check_unopened(log, {**identity, "sha256": "abd"}, shipped)
    with pytest.raises(SystemExit, match="already"):
        evaluate.check_unopened(log, identity, shipped)
    with pytest.raises(SystemExit, match="to choose"):
        evaluate.check_unopened(log, identity, argparse.Namespace(weights=tmp_path, library="transformers"))
