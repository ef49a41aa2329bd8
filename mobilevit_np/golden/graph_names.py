"""What exported graphs call our activations: ONNX values and TFLite tensors as a table.

Both name a value by the module it comes from and the operation: ``/mobilevit/conv_stem/convolution/Conv_output_0``,
``tf_mobile_vi_t_model/mobilevit/conv_stem/mul_1``. The table says which of a module's values is its output, whatever
converters fuse and split:

- If batch norm is folded into the convolution before it, the convolution's value is our ``normalization``, and our
  ``convolution`` isn't there.
- TFLite joins the names of fused operations by ``;``, the last operation's first: that one counts.
- SiLU is split into a sigmoid and a product, a linear layer into a product and a bias: only the last of them is ours.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from .file import LOGITS, PIXELS

_ONNX = re.compile(r"_output_\d+$")
_INNER = ("mobilevit", "segmentation_head", "classifier")  # our paths begin so; the model's name comes before
_WHOLE = {  # the graph's own input and output, by their usual names -> ours
    PIXELS: (PIXELS,),
    LOGITS: (LOGITS,),
    "StatefulPartitionedCall:0": (LOGITS, "mobilevit"),
    "last_hidden_state": ("mobilevit",),
}
_FOLDED = ("../convolution/Conv", "../convolution/Conv2D", "../convolution/BiasAdd")
_SPLIT = "/convolution/Conv2D/BatchToSpaceND"  # TensorFlow's dilated convolutions: batch norm stays apart, in two steps
_ACTIVATIONS = (
    *("Mul_1", "Mul", "Relu", "Gelu", "HardSwish", "Clip", "LeakyRelu", "Elu", "Tanh", "Sigmoid"),
    *("../mul_1", "../Relu", "../Gelu", "../Tanh"),  # Keras' activations aren't layers of their own
)
_OUTPUTS = tuple(  # the end of our path -> which value under it is its output: the first of these that the port has
    (re.compile(rf"(?:.*\.)?(?:{end})"), values)
    for end, values in (
        ("normalization", ("BatchNormalization", "FusedBatchNormV3", "Conv", *_FOLDED)),
        ("convolution", ("Conv", "Conv2D/BatchToSpaceND", "Conv2D", "BiasAdd")),
        ("activation|intermediate_act_fn", _ACTIVATIONS),
        (r"encoder\.layer\.[01]\.layer\.\d+|downsampling_layer", ("Add", "add")),
        ("unfolding", ("../Reshape_2",)),
        (r"layernorm(?:_before|_after)?", ("LayerNormalization", "batchnorm/add_1", "Add_1")),
        ("query|key|value|dense", ("Add", "BiasAdd", "Gemm", "MatMul", "Tensordot")),
        ("probabilities", ("../Softmax",)),
        (r"attention\.attention", ("Reshape_3",)),
        (r"transformer\.layer\.\d+\.output", ("Add", "add")),
        ("folding", ("../Resize_1", "../cond_2/resize/ResizeBilinear", "../transpose_5", "../Reshape_5")),
        (r"convs\.\d+", ("Resize", "resize/ResizeBilinear")),
        ("global_pool", ("GlobalAveragePool", "ReduceMean", "Mean")),
        ("classifier", ("Gemm", "BiasAdd", "Add")),
    )
)


def graph_choices(port_names: Iterable[str], paths: Collection[str]) -> dict[str, tuple[str, ...]]:
    """A graph's values -> the path of the activation, for those that are one."""
    names = list(port_names)
    values = {place: name for name in reversed(names) if (place := _place(name))}
    found = {name: choice for name in names if (choice := tuple(p for p in _WHOLE.get(name, ()) if p in paths)[:1])}
    for path in sorted(paths, key=_normalizations_first):
        if path.endswith(".normalization") and path.replace(".", "/").removesuffix("/normalization") + _SPLIT in values:
            continue
        for value in _values_of(path):
            name = values.get(_resolve(path, value))
            if name is not None and name not in found:
                found[name] = (path,)
                break
    return found


def _place(name: str) -> str | None:
    """``/mobilevit/conv_stem/convolution/Conv_output_0`` -> ``mobilevit/conv_stem/convolution/Conv``."""
    parts = _ONNX.sub("", name.split(";")[0]).replace(".", "/").split("/")
    start = next((i for i, part in enumerate(parts) if part in _INNER), None)
    return None if start is None else "/".join(parts[start:])


def _values_of(path: str) -> tuple[str, ...]:
    return next((values for end, values in _OUTPUTS if end.fullmatch(path)), ())


def _resolve(path: str, value: str) -> str:
    module = path.replace(".", "/")
    if value.startswith("../"):
        module, value = module.rpartition("/")[0], value[3:]
    return f"{module}/{value}"


def _normalizations_first(path: str) -> bool:
    """A normalization folded into a convolution must be looked for before the convolution is."""
    return not path.endswith(".normalization")
