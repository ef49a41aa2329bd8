"""What the recipe promises, checked in seconds and without the photos: `python -m pytest weights/recipe`."""

import argparse
import json
import os
import socket
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional as F

import augment
import classifier
import data
import distill
import evaluate
import export
import figures
import labels
import loop
import names
import optimizer
import oracles
import segmenter
import state
import teachers
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


def learn_together(worker: int, workers: int, port: int, folder: Path) -> None:
    """One of `workers` that train a linear model on ten points; the first saves its averaged weights."""
    meeting = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    os.environ.update(RANK=str(worker), WORLD_SIZE=str(workers), **meeting)
    torch.manual_seed(0)
    points, run = torch.randn(10, 3), loop.Run(nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 1)), options())
    loop.fit(run, lambda indices, source: (run.network(points[indices]) ** 2).mean(), lambda weights: {},
             lambda run: 0.01, photos=10, until=40, options=options(), save_to=folder / f"{workers}.pt",
             log=state.Log(folder / f"{workers}.csv"))  # fmt: skip


def test_two_workers_learn_what_one_would(tmp_path):
    for workers in (1, 2):
        with socket.create_server(("localhost", 0)) as server:  # a port that nobody uses
            port = server.getsockname()[1]
        torch.multiprocessing.spawn(learn_together, (workers, port, tmp_path), nprocs=workers)
    alone, together = (state.load(tmp_path / f"{workers}.pt") for workers in (1, 2))
    assert alone["step"] == together["step"] == 10
    for name, weight in alone["network"].items():
        torch.testing.assert_close(weight, together["network"][name])


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (12, 12)])
def test_muon_steps_as_far_in_every_direction(shape):
    loud = torch.randn(shape, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.logspace(0, -1, shape[1]))
    singular = torch.linalg.svdvals(optimizer.orthogonalize(loud))
    assert singular.min() > 0.3
    assert singular.max() < 1.3
    assert (optimizer.orthogonalize(loud) * loud).sum() > 0  # downhill where the gradient is


def test_muon_takes_the_matrices_and_leaves_the_last_layer():
    network = twin.backbone(5)
    kinds = optimizer.optimizers(network, "muon", 1e-3, 0.1)
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


def test_reserved_photos_are_in_no_split():
    assert len(data.RESERVED) == 100
    assert {data.split_of(name) for name in data.RESERVED} == {"reserved"}
    assert data.split_of("Abyssinian_124") == "reserved"
    album = album_of([*sorted(data.RESERVED)[:6], "Abyssinian_1", "Bengal_2", "pug_1", "pug_2", "boxer_3", "boxer_4"])
    seen = torch.cat([album.where(split) for split, _ in data.SPLITS])
    assert not {album.names[i] for i in seen} & data.RESERVED
    assert not {album.names[i] for i in teachers.animals(album)} & data.RESERVED
    assert not {album.names[i] for i in torch.cat(segmenter.held_out(album, dict.fromkeys(album.names), "test"))} & (
        data.RESERVED
    )


def album_of(pets: list[str], others: tuple[tuple[str, str, str], ...] = ()) -> data.Album:
    """An album without pixels: pets by name, others as (name, kind, source)."""
    album = object.__new__(data.Album)
    rows = [(name, "cat" if name[0].isupper() else "dog", data.PETS) for name in pets]
    album.describe([*rows, *others])
    album.photos = torch.zeros(len(album.names), 4, 4, 3, dtype=torch.uint8)
    return album


OTHERS = (("1", "cat", "asirra"), ("2", "dog", "asirra"), ("3", "dog", "n02088364"), ("4", "dog", "n02115641"),
          ("5", "neither", "cow"), ("6", "neither", "n03000684"))  # fmt: skip


def test_a_photo_may_have_the_labels_that_are_possible_for_it():
    album = album_of(["Bengal_1", "beagle_1", "german_shorthaired_2", "samoyed_9"], OTHERS)
    said = labels.names(album)
    assert said == ["Beagle", "Bengal", "German Shorthaired Pointer", "Samoyed", "other cat", "other dog",
                    "neither cat nor dog"]  # fmt: skip
    known = labels.possible(album, torch.tensor([False] * 5 + [True] + [False] * 4))
    found = [{said[j] for j in row.nonzero()[:, 0]} for row in known]
    assert found[:4] == [{"Bengal"}, {"Beagle"}, {"German Shorthaired Pointer"}, {"Samoyed"}]
    assert found[4] == {"Bengal", "other cat"}  # of unknown breed
    assert found[5] == {"other dog"}  # decided
    assert found[6:] == [{"Beagle"}, {"other dog"}, {"neither cat nor dog"}, {"neither cat nor dog"}]


def test_what_is_known_in_part_asks_for_the_sum():
    logits = torch.tensor([[0.0, 1.0, 2.0]]).double()
    odds = logits.softmax(1)[0]
    for known in ([True, True, False], [False, False, True], [True, True, True]):
        expected = -odds[torch.tensor(known)].sum().log()
        assert labels.partial_loss(logits, torch.tensor([known])).item() == pytest.approx(expected.item(), abs=1e-12)


def test_figures_of_a_classifier_count_each_kind_by_itself():
    album = album_of(["Bengal_1", "beagle_1", "beagle_2", "samoyed_9"], OTHERS)
    right = labels.possible(album).float().argmax(1)  # of unknown breed: the first of the species
    wrong = right.clone()
    wrong[0], wrong[8] = 0, 1  # a cat for a dog, a thing for a cat
    for said, expected in ((right, (1, 1, 0, 1, 1)), (wrong, (0.75, 0.75, 0, 0.5, 1))):
        found = labels.figures_of(F.one_hot(said, 6).float() * 20, album, torch.arange(10))
        assert (found["imagewoof_dogs"], found["imagewoof_dogs_called_dog"]) == (2, 1)
        assert (found["imagenette_things"], found["imagenette_things_called_neither"]) == (1, 1)
        names_of = ("breed_top1", "cat_or_dog", "pets_called_neither", "neither_called_so", "others_species")
        assert [found[name] for name in names_of] == pytest.approx(expected)
    assert labels.figures_of(F.one_hot(right, 6).float() * 20, album, torch.arange(10))["calibration_error"] < 1e-3


def test_worn_photos_differ_and_the_others_are_as_they_were():
    photos = torch.randint(0, 256, (6, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(augment.wear(photos, 0.0, torch.Generator()), photos)
    worn = augment.wear(photos, 1.0, torch.Generator().manual_seed(0))
    assert all((a != b).any() for a, b in zip(worn, photos, strict=True))
    assert torch.equal(worn, augment.wear(photos, 1.0, torch.Generator().manual_seed(0)))


def test_the_classifier_learns_all_kinds_at_once():
    """A batch of every kind of photo: a finite loss, whose gradient asks sharp pets for their breed alone."""
    album = album_of(["Bengal_1", "beagle_1", "samoyed_9", "pug_3"], OTHERS)
    classes, breeds = len(labels.names(album)), len(album.breeds)
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, classes))
    lessons = object.__new__(distill.Lessons)
    lessons.photos = torch.randint(0, 256, (9, 32, 32, 3), dtype=torch.uint8)
    lessons.indices, lessons.maps = torch.arange(9), augment.whole_maps(9)[None]
    lessons.features, lessons.last_layer = [torch.randn(9, 5)], nn.Linear(5, classes).requires_grad_(False)
    chosen = options(phases=[(32, 1.0)], sharp=1.0, mix=0.0)
    run = loop.Run(network, chosen)
    for numbers, silent in ((torch.arange(4), True), (torch.arange(9), False)):
        network.zero_grad()
        loss = classifier.draw_loss(numbers, torch.Generator().manual_seed(0), run=run, lessons=lessons,
                                    known=labels.possible(album), breeds=breeds, options=chosen)  # fmt: skip
        loss.backward()
        assert torch.isfinite(loss)
        assert bool((network[2].bias.grad[breeds:] == 0).all()) is silent


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
def test_renamed_weights_answer_bgr_as_the_twin_answers_rgb(network, rename, architecture, stride, tmp_path):
    torch.manual_seed(1)
    fresh, network, library = network(), drawn(network()), oracles.transformers()
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

    stored = {name: value.contiguous() for name, value in rename(floats).items()}  # and back again
    safetensors.torch.save_file(stored, tmp_path / "model.safetensors")
    again = twin.load_whole(fresh, names.of_folder(tmp_path)).eval()
    assert torch.equal(network(rgb), again(rgb))
    half = export.mixed({name: torch.zeros_like(value) for name, value in floats.items()}, tmp_path, 0.5)
    assert all(torch.equal(value, floats[name] / 2) or name.startswith(names.UNUSED) for name, value in half.items())


@pytest.mark.parametrize("border", ["border", "reflection"])
def test_crops_of_photo_and_mask_stay_together(border):
    photos = torch.zeros(8, 3, 32, 32)
    photos[:, :, 8:20, 4:16] = 1
    source = torch.Generator().manual_seed(0)
    for maps in (
        augment.random_crop_maps(8, (0.3, 1.0), source, aspect=1.5, turn=10),
        augment.random_placement_maps(8, (0.6, 1.6), 1 / 3, source, aspect=1.5, turn=10),
    ):
        photo, mask = augment.crop(photos, maps, 48, border), augment.crop(photos[:, :1], maps, 48, border)
        assert torch.equal(photo[:, :1], mask)
    shares = (photo[:, 0] > 0.5).float().mean((1, 2))
    assert shares.max() > 2 * shares.min()  # small ones and large ones


def test_a_hand_outline_shrinks_to_shares_and_ignores_what_is_unclear():
    outline = np.full((224, 224), 2, np.uint8)
    outline[:, 112:] = segmenter.ANIMAL
    outline[:, 100:112] = segmenter.UNCLEAR
    share, counts = segmenter.shrunk(outline)
    assert (share[:, 56:] == 255).all()
    assert (share[:, :50] == 0).all()
    assert (counts[:, 50:56] == 0).all()
    assert (counts[:, :50] == 255).all()
    assert (counts[:, 56:] == 255).all()


def test_jaccard_loss_is_one_minus_the_iou_of_what_counts():
    truth = torch.randint(0, 2, (2, 8, 8), generator=torch.Generator().manual_seed(0))  # the third class is absent
    wanted, counts = F.one_hot(truth, 3).permute(0, 3, 1, 2).float(), torch.ones(2, 1, 8, 8)
    counts[0, :, :4] = 0
    assert segmenter.jaccard_loss(wanted * 50, wanted, counts).item() == pytest.approx(0, abs=1e-6)
    soft = wanted * 0.5 + 0.25
    assert segmenter.jaccard_loss(soft.log(), soft / soft.sum(1, keepdim=True), counts).item() == pytest.approx(
        0, abs=1e-6
    )
    answers = torch.zeros_like(truth)
    sure = F.one_hot(answers, 3).permute(0, 3, 1, 2).float() * 50
    ignored = torch.where(counts[:, 0] == 0, figures.IGNORED, truth)
    expected = 1 - sum(figures.intersection_over_union(answers, ignored, 2)) / 2
    assert segmenter.jaccard_loss(sure, wanted, counts).item() == pytest.approx(expected, abs=1e-6)
    sure[0, :, :4] = torch.randn(3, 4, 8)  # counts for nothing
    assert segmenter.jaccard_loss(sure, wanted, counts).item() == pytest.approx(expected, abs=1e-6)


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


def test_masks_are_of_the_animals_that_they_were_made_of(tmp_path):
    """Some tenths of them may be missing; each is every tenth animal."""
    chosen = torch.arange(100, 125)
    for tenth in (0, 2, 7):
        np.save(teachers.masks_file(tmp_path, tenth), chosen[tenth :: teachers.TENTHS].numpy()[:, None].repeat(3, 1))
    animals, views = teachers.load_masks(tmp_path, chosen)
    assert animals.tolist() == [100, 110, 120, 102, 112, 122, 107, 117]
    assert torch.equal(views, animals[:, None].expand(8, 3))
    with pytest.raises(SystemExit, match=r"run teachers\.py masks first"):
        teachers.load_masks(tmp_path / "nowhere", chosen)
