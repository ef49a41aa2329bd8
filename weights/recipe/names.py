"""From the twins' names to Hugging Face's: a table of patterns, and the two changes that are more than a name.

Those are the channel order (the twins see RGB, Hugging Face weights expect BGR) and the attention's queries, keys and
values, which timm keeps in one matrix, in this order of rows.
"""

import re

import torch

LEAF = {"conv": "convolution", "bn": "normalization", "0": "convolution", "1": "normalization"}
RESIDUAL = {"conv1_1x1": "expand_1x1", "conv2_kxk": "conv_3x3", "conv3_1x1": "reduce_1x1"}
BLOCK = {"conv_kxk": "conv_kxk", "conv_proj": "conv_projection", "conv_fusion": "fusion"}
LAYER = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
BACKBONE = [  # pattern of timm's name, and how to say it in Hugging Face's
    (r"stem\.(conv|bn)", lambda leaf: f"conv_stem.{LEAF[leaf]}"),
    (r"stages\.([01])\.(\d)\.(conv\d_\w+)\.(conv|bn)",
     lambda k, i, conv, leaf: f"encoder.layer.{k}.layer.{i}.{RESIDUAL[conv]}.{LEAF[leaf]}"),
    (r"stages\.([2-4])\.0\.(conv\d_\w+)\.(conv|bn)",
     lambda k, conv, leaf: f"encoder.layer.{k}.downsampling_layer.{RESIDUAL[conv]}.{LEAF[leaf]}"),
    (r"stages\.([2-4])\.1\.conv_1x1", lambda k: f"encoder.layer.{k}.conv_1x1.convolution"),
    (r"stages\.([2-4])\.1\.(conv_\w+)\.(conv|bn)",
     lambda k, conv, leaf: f"encoder.layer.{k}.{BLOCK[conv]}.{LEAF[leaf]}"),
    (r"stages\.([2-4])\.1\.transformer\.(\d)\.(norm1|norm2|attn\.proj|mlp\.fc1|mlp\.fc2)",
     lambda k, j, part: f"encoder.layer.{k}.transformer.layer.{j}.{LAYER[part]}"),
    (r"stages\.([2-4])\.1\.norm", lambda k: f"encoder.layer.{k}.layernorm"),
    (r"final_conv\.(conv|bn)", lambda leaf: f"conv_1x1_exp.{LEAF[leaf]}"),
]  # fmt: skip
HEAD = [
    (r"branches\.(\d)\.([01])", lambda i, leaf: f"aspp.convs.{i}.{LEAF[leaf]}"),
    (r"pooled\.([01])", lambda leaf: f"aspp.convs.4.conv_1x1.{LEAF[leaf]}"),
    (r"project\.([01])", lambda leaf: f"aspp.project.{LEAF[leaf]}"),
    (r"classifier", lambda: "classifier.convolution"),
]
QKV = re.compile(r"stages\.([2-4])\.1\.transformer\.(\d)\.attn\.qkv\.(weight|bias)")


def classifier_to_hugging_face(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The classifier twin's weights under Hugging Face's names, expecting BGR."""
    own = {name: value for name, value in weights.items() if name.startswith("head.fc.")}
    body = {name: value for name, value in weights.items() if name not in own}
    return backbone_to_hugging_face(body) | {name.replace("head.fc", "classifier"): own[name] for name in own}


def segmenter_to_hugging_face(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The segmenter twin's weights under Hugging Face's names, expecting BGR; the unused expansion is left out."""
    body = {name: value for name, value in _under("backbone.", weights).items() if not name.startswith("final_conv.")}
    head = {f"segmentation_head.{_say(name, HEAD)}": value for name, value in _under("head.", weights).items()}
    return backbone_to_hugging_face(body) | head


def backbone_to_hugging_face(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    renamed = {}
    for name, value in weights.items():
        if match := QKV.fullmatch(name):
            k, j, kind = match.groups()
            attention = f"encoder.layer.{k}.transformer.layer.{j}.attention.attention"
            for part, rows in zip(("query", "key", "value"), value.chunk(3), strict=True):
                renamed[f"mobilevit.{attention}.{part}.{kind}"] = rows
        else:
            renamed[f"mobilevit.{_say(name, BACKBONE)}"] = value.flip(1) if name == "stem.conv.weight" else value
    return renamed


def _say(name: str, table: list) -> str:
    """The Hugging Face name of a parameter, its last part (weight, bias, running_mean, ...) unchanged."""
    stem, last = name.rsplit(".", 1)
    for pattern, say in table:
        if match := re.fullmatch(pattern, stem):
            return f"{say(*match.groups())}.{last}"
    raise KeyError(f"no Hugging Face name is known for {name}")


def _under(prefix: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
