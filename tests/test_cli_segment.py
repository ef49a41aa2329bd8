"""``segment``: what is written where, what is said of it, and what is refused before any work is done."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from commands import run
from PIL import Image
from tiny import PLACES, color_network, photo, plant, save_photo, save_tiny

from mobilevit_np import Segmenter
from mobilevit_np.cli.segment import _encoded
from mobilevit_np.errors import OutputError


@pytest.fixture
def segment(tiny_segmenter, capsys, tmp_path, monkeypatch):
    """Run the command in an empty folder, its network seeing colors: (exit code, stdout's lines, stderr's lines)."""
    monkeypatch.chdir(tmp_path)
    plant(monkeypatch, "segmenter", color_network)

    def call(*arguments, weights=tiny_segmenter):
        code = run(["segment", *map(str, arguments), "--weights", str(weights)])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return call


@pytest.fixture
def cat(segment):
    """A photo in that folder: the left half gray, the right half red below and blue above."""
    pixels = np.full((80, 128, 3), 128, np.uint8)
    pixels[:40, 64:] = (20, 20, 230)
    pixels[40:, 64:] = (230, 20, 20)
    Image.fromarray(pixels).save("cat.png")
    return Path("cat.png")


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image)


def files():
    return sorted(str(path) for path in Path().rglob("*") if path.is_file())


def test_a_photo_and_nothing_else(segment, cat, tiny_segmenter):
    code, out, err = segment(cat)
    assert (code, err) == (0, [])
    assert files() == ["cat-overlay.png", "cat.png"]
    assert out[0] == "tiny-segmenter (knows 3 classes: background, red, blue)"
    assert out[1] == "cat.png"
    assert out[-1] == "  overlay: cat-overlay.png"
    areas = Segmenter.from_pretrained(tiny_segmenter)(cat).areas
    found = [re.fullmatch(r"  (\w+) +([\d.]+)%  [█▏▎▍▌▋▊▉]+", line).groups() for line in out[2:-1]]
    assert found == [(label, f"{area * 100:.1f}") for label, area in areas.items()]
    truth = {"background": 50, "red": 25, "blue": 25}  # the network's cells are an eighth of the photo wide
    assert {label: float(area) for label, area in found} == pytest.approx(truth, abs=6)


def test_overlay_and_mask_where_they_are_asked_for(segment, cat, tiny_segmenter):
    code, out, _ = segment(cat, "-o", "over.jpg", "--mask", "mask.png")
    assert code == 0
    assert files() == ["cat.png", "mask.png", "over.jpg"]
    assert out[-2:] == ["  overlay: over.jpg", "  mask: mask.png"]
    with Image.open("over.jpg") as overlay:
        assert (overlay.format, overlay.size) == ("JPEG", (128, 80))
    with Image.open("mask.png") as mask:
        assert (mask.format, mask.mode, mask.size) == ("PNG", "P", (128, 80))
        pixels = np.asarray(mask)
    np.testing.assert_array_equal(pixels, Segmenter.from_pretrained(tiny_segmenter)(cat).mask)
    assert [pixels[10, 10], pixels[70, 120], pixels[10, 120]] == [0, 1, 2]  # background, red, blue, each in its place


def test_json(segment, cat):
    code, out, err = segment("--json", cat, "-o", "o.png", "--mask", "m.png")
    assert (code, err, len(out)) == (0, [], 1)
    record = json.loads(out[0])
    areas = record.pop("areas")
    assert record == {
        "image": "cat.png", "model": "tiny-segmenter", "size": [80, 128], "overlay": "o.png", "mask": "m.png",
    }  # fmt: skip
    mask = pixels_of("m.png")
    assert {entry["label"]: entry["area"] for entry in areas} == {
        label: pytest.approx((mask == kind).mean(), abs=1e-6) for kind, label in enumerate(PLACES)
    }


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".bmp"])
def test_masks_keep_class_numbers_in_every_format(segment, cat, suffix):
    assert segment(cat, "-o", "o.png", "--mask", f"m{suffix}")[0] == 0
    assert segment(cat, "-o", "o.png", "--mask", "reference.png")[0] == 0
    np.testing.assert_array_equal(pixels_of(f"m{suffix}"), pixels_of("reference.png"))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp", ".tif", ".tiff"])
def test_overlays_in_every_format(segment, cat, suffix):
    assert segment(cat, "-o", f"o{suffix}")[0] == 0
    with Image.open(f"o{suffix}") as overlay:
        assert overlay.size == (128, 80)


def test_many_photos_go_into_folders_that_are_made(segment, cat):
    save_photo(Path("dog.jpg"))
    code, out, _ = segment(cat, "dog.jpg", "-o", "new/overlays", "--mask", "masks/")
    assert code == 0
    assert files() == [
        "cat.png", "dog.jpg", "masks/cat-mask.png", "masks/dog-mask.png",
        "new/overlays/cat-overlay.png", "new/overlays/dog-overlay.png",
    ]  # fmt: skip
    assert "  overlay: new/overlays/dog-overlay.png" in out


@pytest.mark.parametrize("target", ["folder", "folder/", "made/"])
def test_one_photo_into_a_folder(segment, cat, target):
    Path("folder").mkdir()
    assert segment(cat, "-o", target)[0] == 0
    assert files() == ["cat.png", f"{target.rstrip('/')}/cat-overlay.png"]


def test_a_folder_with_one_photo_goes_into_a_folder_as_with_several(segment, cat):
    Path("photos").mkdir()
    cat.rename("photos/cat.png")
    assert segment("photos/", "-o", "overlays/")[0] == 0
    assert files() == ["overlays/cat-overlay.png", "photos/cat.png"]


def test_photos_of_one_name_do_not_overwrite_each_other(segment, cat):
    """The same photo twice, two suffixes, two folders, another case, and a name like the numbered ones."""
    for name in ("a/cat.png", "b/CAT.png", "c/cat-2.png", "cat.jpg"):
        save_photo(Path(name))
    code, out, _ = segment(cat, cat, "cat.jpg", "a", "b", "c", "-o", "out/", "--mask", "out/", "--json")
    assert code == 0
    records = [json.loads(line) for line in out]
    overlays = [record["overlay"] for record in records]
    assert len({path.casefold() for path in overlays}) == len(overlays) == 6
    assert overlays[:2] == ["out/cat-overlay.png", "out/cat-2-overlay.png"]
    for record in records:
        assert Path(record["overlay"]).is_file()
        assert pixels_of(record["mask"]).shape == pixels_of(record["image"]).shape[:2]
    assert len(list(Path("out").iterdir())) == 12


def test_standard_input_and_bad_ones_among_many(segment, cat, monkeypatch):
    monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": io.BytesIO(cat.read_bytes())}))
    code, out, err = segment("-", "missing.png", "nothing*", "-o", "out/")
    assert (code, len(err)) == (1, 2)
    assert files() == ["cat.png", "out/stdin-overlay.png"]
    assert "-" in out
    assert segment("missing.png", "-o", "new.png") == (2, out[:1], ["mobilevit-np: missing.png: there is no such file"])
    assert "new.png" not in files()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cat.png", "-o", "o.txt"], "can't write o.txt: give the overlay a name ending in .png, .jpg"),
        (["cat.png", "-o", "over"], "or a folder ending in /"),
        (["cat.png", "-o", "o.gif"], "give the overlay a name ending in"),
        (["cat.png", "--mask", "m.gif"], "can't write m.gif: give the mask a name ending in"),
        (["cat.png", "--mask", "m.jpg"], "can't write m.jpg: give the mask a name ending in .png, .tif"),
        (["cat.png", "-o", "cat.png"], "cat.png is one of the photos; write the result somewhere else"),
        (["cat.png", "--mask", "./folder/../cat.png"], "is one of the photos"),
        (["cat.png", "-o", "link.png"], "link.png is one of the photos"),
        (["cat.png", "-o", "x.png", "--mask", "x.png"], "x.png can't be overlay and mask at once"),
        (["cat.png", "-o", "missing/o.png"], "there is no folder missing"),
        (["cat.png", "-o", "notes/o.png"], "can't write notes/o.png: there is no folder notes"),
        (["cat.png", "cat-overlay.png"], "cat-overlay.png is one of the photos"),
        (["cat.png", "cat.png", "-o", "o.png"], "o.png is one file; several photos need a folder for their overlays"),
        (["cat.png", "cat.png", "--mask", "notes"], "can't make the folder notes: notes isn't a folder"),
        (["cat.png", "-o", "notes/deep/er/"], "isn't a folder"),
    ],
)
def test_impossible_targets_are_refused_before_any_work(segment, cat, monkeypatch, arguments, words):
    Path("folder").mkdir()
    Path("notes").write_text("a file")
    Path("link.png").symlink_to("cat.png")
    Path("cat-overlay.png").write_bytes(cat.read_bytes())
    before = {name: Path(name).read_bytes() for name in files()}
    monkeypatch.setattr(Segmenter, "from_pretrained", lambda *_, **__: pytest.fail("weights were read"))
    code, out, err = segment(*arguments)
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith("mobilevit-np: ")
    assert words in err[0]
    assert {name: Path(name).read_bytes() for name in files()} == before


def test_missing_weights_leave_no_folder_behind(segment, cat):
    code, _, err = segment(cat, "-o", "new/", weights="nowhere")
    assert (code, len(err)) == (2, 1)
    assert not Path("new").exists()


def test_earlier_results_are_replaced(segment, cat):
    Path("o.png").write_bytes(b"old")
    assert segment(cat, "-o", "o.png")[0] == 0
    assert pixels_of("o.png").shape[:2] == (80, 128)


@pytest.mark.parametrize(("size", "name"), [((20, 1000), "o.webp"), ((1100, 20), "o.jpg")])
def test_a_side_too_long_for_the_format_is_one_line(segment, monkeypatch, size, name):
    """WebP ends at 16,383 pixels and JPEG at 65,500; Pillow's own refusal is played at smaller ones."""
    save_photo(Path("long.png"), *size)
    original = Image.Image.save

    def save(image, target, format=None, **options):
        if format in ("WEBP", "JPEG"):
            raise ValueError("encoding error 5: Image size exceeds the limit")
        original(image, target, format=format, **options)

    monkeypatch.setattr(Image.Image, "save", save)
    code, _, err = segment("long.png", "-o", name)
    assert code == 2
    assert err == [
        f"mobilevit-np: can't write {name} in that format (encoding error 5: Image size exceeds the limit); "
        "give a name in .png"
    ]
    assert files() == ["long.png"]


@pytest.mark.parametrize(("width", "name"), [(17_000, "o.webp"), (66_000, "o.jpg")])
def test_those_limits_are_where_they_are_said_to_be(width, name):
    with pytest.raises(OutputError, match=f"can't write {name} in that format"):
        _encoded(Image.new("RGB", (width, 2)), Path(name))
    assert _encoded(Image.new("RGB", (width, 2)), Path("o.png"))


def test_panoramas_and_pixels(segment):
    save_photo(Path("long.png"), 20, 60_000)
    save_photo(Path("dot.png"), 1, 1)
    code, out, err = segment("long.png", "dot.png", "-o", "out/")
    assert code == 1
    assert err == [
        "mobilevit-np: long.png: a photo of 60000x20 is too long and thin to segment; "
        "cut it into pieces of at most 64:1"
    ]
    assert pixels_of("out/dot-overlay.png").shape[:2] == (1, 1)
    assert "dot.png" in out


def test_many_classes(segment, tmp_path, monkeypatch):
    """Beyond 256 a mask is 16-bit gray, which BMP can't hold."""
    labels = [f"class {i}" for i in range(300)]
    weights = save_tiny(tmp_path / "weights", "segmenter", labels=labels)

    def last_class(x, scope, config):
        return np.eye(300, dtype=x.dtype)[None, :, 299, None, None] * np.ones((1, 1, 4, 4), x.dtype)

    plant(monkeypatch, "segmenter", last_class)
    settings = {"size": {"height": 64, "width": 64}, "do_center_crop": False}
    (weights / "preprocessor_config.json").write_text(json.dumps(settings))
    Image.fromarray(photo(30, 40)).save("cat.png")
    code, out, _ = segment("cat.png", "-o", "o.png", "--mask", "m.png", weights=weights)
    assert code == 0
    assert out[2].startswith("  class 299  100.0%")
    assert (pixels_of("m.png") == 299).all()
    code, _, err = segment("cat.png", "-o", "o.png", "--mask", "m.bmp", weights=weights)
    assert (code, len(err)) == (2, 1)
    assert "can't write m.bmp in that format" in err[0]


def test_warnings_are_one_line_and_stop_nothing(segment, cat, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = save_tiny(tmp_path / "weights", "segmenter")
    tensors = load_file(folder / "model.safetensors")
    tensors["classifier.bias"] = np.zeros(3, np.float32)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    code, _, err = segment(cat, weights=folder)
    assert code == 0
    assert err == [
        f"mobilevit-np: warning: {folder / 'model.safetensors'}: 1 tensors belong to another head (classifier) and are "
        "left out"
    ]
