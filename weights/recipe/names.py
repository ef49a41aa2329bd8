"""The twins' names and Hugging Face's, by the package's own table; the segmenter's head has names of its own here.

More than a name changes: the twins see RGB and Hugging Face weights expect BGR, so the stem's input axis is reversed,
and timm's one matrix of queries, keys and values becomes three.
"""

from pathlib import Path

import safetensors.numpy
import torch
from mobilevit_np.checkpoints.parameter_names import SEGMENTATION, TIMM, flip_stem, from_hugging_face, to_hugging_face

HEAD = {  # the head's modules, and what they are in Hugging Face's; 0 is the convolution, 1 its normalization
    **{f"branches.{i}": f"aspp.convs.{i}" for i in range(4)},
    "pooled": "aspp.convs.4.conv_1x1",
    "project": "aspp.project",
}
LAYER = {"0": "convolution", "1": "normalization"}
UNUSED = "backbone.final_conv."  # the expansion that only the classifier reads


def classifier_to_hugging_face(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The classifier twin's weights under Hugging Face's names, expecting BGR."""
    renamed = flip_stem(to_hugging_face({name: value.numpy() for name, value in weights.items()}, TIMM))
    return {name: torch.from_numpy(value) for name, value in renamed.items()}


def segmenter_to_hugging_face(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The segmenter twin's weights under Hugging Face's names, expecting BGR; the unused expansion is left out."""
    head = {_in_head(name): value for name, value in _under("head.", weights).items()}
    body = {name: value for name, value in weights.items() if not name.startswith(UNUSED)}
    return classifier_to_hugging_face(_under("backbone.", body)) | head


def of_folder(folder: Path) -> dict[str, torch.Tensor]:
    """An exported folder's weights as its twin has them, float32: the other two functions' inverse."""
    tensors = flip_stem(safetensors.numpy.load_file(folder / "model.safetensors"))
    head = {name for name in tensors if name.startswith(SEGMENTATION)}
    weights = from_hugging_face({name: tensors[name] for name in tensors.keys() - head}, TIMM)
    if head:
        weights = {f"backbone.{name}": value for name, value in weights.items()}
        weights |= {f"head.{_of_head(name)}": tensors[name] for name in head}
    return {name: torch.from_numpy(value).float() for name, value in weights.items()}


def _in_head(name: str) -> str:
    module, leaf = name.rsplit(".", 1)
    if module != "classifier":
        module, part = module.rsplit(".", 1)
        return f"{SEGMENTATION}{HEAD[module]}.{LAYER[part]}.{leaf}"
    return f"{SEGMENTATION}classifier.convolution.{leaf}"


def _of_head(name: str) -> str:
    module, part, leaf = name.removeprefix(SEGMENTATION).rsplit(".", 2)
    if module == "classifier":
        return f"{module}.{leaf}"
    place = {there: here for here, there in HEAD.items()}[module]
    return f"{place}.{dict(map(reversed, LAYER.items()))[part]}.{leaf}"


def _under(prefix: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
