"""Makes tutorials/mobilevit_in_one_file.py from the library's source: ``python tutorials/make_one_file.py``.

The functions of ops/, layers/ and reference/ are taken as they stand, comments included, and simplified: no checks of
the input, no annotations, no trace; of a docstring its first line, and the shape line beside the ``def``. A scope
becomes a tree of plain dictionaries: ``linear(x, scope / "dense")`` is ``linear(x, **p["dense"])``. Small functions
go into those that call them. What can't be said so generally stands in ``CHANGES``, and every entry there must find
what it replaces: a change of the library that this file doesn't know of is an error here, not a wrong tutorial.

tests/test_one_file.py makes the file again and holds its answers against the reference engine's, bit for bit.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent / "mobilevit_np"
TARGET = HERE / "mobilevit_in_one_file.py"
WIDTH = 120

KEPT = {  # in the order in which they stand in the file
    "ops/activation.py": ("silu", "softmax"),
    "ops/linear.py": ("linear",),
    "ops/normalization.py": ("batch_norm", "layer_norm"),
    "ops/convolution.py": ("conv2d",),
    "ops/resize.py": ("resize_bilinear", "_neighbours"),
    "ops/patches.py": ("unfold_to_patches", "fold_from_patches"),
    "ops/attention.py": ("multi_head_attention",),
    "layers/conv_layer.py": ("conv_layer",),
    "layers/inverted_residual.py": ("inverted_residual",),
    "layers/transformer_layer.py": ("attention", "transformer_layer"),
    "layers/mobilevit_block.py": ("mobilevit_block",),
    "layers/aspp.py": ("aspp",),
    "layers/deeplabv3.py": ("deeplabv3",),
    "reference/backbone.py": ("mobilenet_stage", "backbone"),
    "reference/classifier.py": ("classifier",),
    "reference/segmenter.py": ("segmenter",),
}
INLINED = {  # none of them calls one before it
    "ops/activation.py": ("sigmoid",),
    "ops/convolution.py": ("_windows", "_pointwise", "_depthwise", "_im2col"),
    "ops/resize.py": ("_between",),
    "layers/transformer_layer.py": ("self_attention", "attention_out", "feed_forward_in", "feed_forward_out"),
    "layers/mobilevit_block.py": ("transformer", "unfolding", "folding", "whole_patches"),
    "layers/aspp.py": ("aspp_pooling", "global_pool"),
    "reference/backbone.py": ("stem_to_last", "encoder", "mobilevit_stage"),
    "ops/pooling.py": ("global_average_pool",),
}
LEFT_OUT = ("padding", "rows", "align_corners", "scale", "hidden_states", "out_channels")  # parameters

_KEY = r'\w+|"\w+"|\((?:[^()]|\([^()]*\))*\)'
_CHAIN = re.compile(rf"\b(scope|convs|stages|down)((?: / (?:{_KEY}))+)")
GENERAL = (  # replaced wherever they stand, after scopes have become dictionaries
    (r"\bscope\b", "p"),
    (r"\bops\.", ""),
    (r'\bactivation\((.*), p\["\w+"\], (act|config\.hidden_act)\)', r"ACTIVATIONS[\2](\1)"),
    (r"\bconvolution\(x,", "conv2d(x,"),
    (r"\b(linear|layer_norm|batch_norm|conv2d)\((.+?), (p\[)", r"\1(\2, **\3"),
    (r", bias=(?:bias|True|config\.qkv_bias)", ""),
    (r"\b_(?=neighbours|depthwise|im2col)", ""),
)
_MAPS = (", five of (B, Ci, Hi, Wi)", "")
CHANGES: dict[str, tuple[tuple[str, str], ...]] = {  # function: what stands in it, and what is written instead
    "softmax": ((", initial=-np.inf)  # no columns give none", ")"),),
    "batch_norm": (("float(eps)", "eps"),),
    "conv2d": (
        ("if padding:\n    x =", "padding = (kernel_height - 1) // 2 * dilation  # stride 1 keeps the size\nx ="),
        ("== groups:", "== groups:  # depthwise"),
        ("== kernel_width == 1:", "== kernel_width == 1:  # pointwise"),
        ("else:", "else:  # im2col"),
    ),
    "_depthwise": (("kernel_height, kernel_width = weight.shape[2:]\n", ""),),
    "resize_bilinear": (
        ("tuple(size)", "size"),
        ("x[:, :, rows].copy()", "x"),
        ("(each[rows] for each in _neighbours(x.shape[2], size[0], align_corners, x.dtype))",
         "_neighbours(x.shape[2], size[0], x.dtype)"),
        ("size[1], align_corners, ", "size[1], "),
    ),
    "_neighbours": (
        ("if align_corners:\n    source = position * ((size_in - 1) / (size_out - 1) if size_out > 1 else 0.0)\n"
         "else:\n    source", "source"),
    ),
    "fold_from_patches": (("BP, N, D = patches.shape", "D = patches.shape[2]"),),
    "multi_head_attention": (
        ("query, key, value = (split_heads(x, num_heads) for x",
         "B, N, D = query.shape\nquery, key, value = (x.reshape(B, N, num_heads, -1).swapaxes(1, 2) for x"),
        (", and the probabilities it gathered with", ""),
        (", (B, h, N, N)\n", "\n"),
        ("# each (B, h, N, d)", "# (B, h, N, d)"),
        ("if scale is None:\n    scale = ", "scale = "),
        ("return merge_heads(probabilities @ value), probabilities", "x = probabilities @ value"),
        (" -> (B, h, N, d) -> (B, N, D)", " -> (B, h, N, d)\nreturn x.swapaxes(1, 2).reshape(B, N, D)"),
    ),
    "self_attention": (
        ("context, probabilities = ops", "return ops"),
        (", scale=scale", ""),
        ("\nreturn context", ""),
    ),
    "transformer_layer": (
        ("feed_forward_in(layer_norm(x, scope / \"layernorm_after\", eps=eps), ",
         "layer_norm(x, scope / \"layernorm_after\", eps=eps)\ny = feed_forward_in(y, "),
    ),
    "inverted_residual": (
        ("width = config.expanded_channels(x.shape[1])\n", ""),
        ("groups=width", "groups=x.shape[1]"),
        ("residual.shape[1] == out_channels", "residual.shape == x.shape"),
    ),
    "mobilevit_block": (
        ("size = (x.shape[2], x.shape[3])\n",
         "H, W = size = (x.shape[2], x.shape[3])\npatch_size = config.patch_size\n"
         "whole = whole_patches(size, patch_size)\n"),
        ("unfolding\", config.patch_size)", "unfolding\", patch_size)"),
        ("folding\", config.patch_size, ", "folding\", patch_size, "),
    ),
    "whole_patches": (("H, W = size\n", ""),),
    "unfolding": (("whole_patches((x.shape[2], x.shape[3]), patch_size)", "whole"),),
    "folding": (("whole_patches(size, patch_size)", "whole"),),
    "mobilenet_stage": (("config, out_channels, ", "config, "),),
    "mobilevit_stage": (("config, out_channels, ", "config, "),),
    "encoder": (
        ("widths = config.neck_hidden_sizes\n", ""),
        ("hidden_states.append(mobilenet_stage(x, stages / 0, config, widths[1], stride=1, depth=1))",
         "x = mobilenet_stage(x, stages / 0, config, stride=1, depth=1)"),
        ("hidden_states.append(mobilenet_stage(hidden_states[-1], stages / 1, config, widths[2], stride=2, "
         "depth=STAGE_2_DEPTH))", "x = mobilenet_stage(x, stages / 1, config, stride=2, depth=STAGE_2_DEPTH)"),
        ("hidden_states.append(mobilevit_stage(hidden_states[-1], stages / (2 + i), config, widths[3 + i], "
         "stride=stride, dilation=dilation, depth=depth))",
         "x = mobilevit_stage(x, stages / (2 + i), config, stride=stride, dilation=dilation, depth=depth)"),
        ("return hidden_states[-1]", "return x"),
        ("for i, ", "downsampling = DOWNSAMPLING[config.output_stride]\nfor i, "),
        ("config.downsampling", "downsampling"),
    ),
    "backbone": (
        _MAPS,
        (", and the five maps after L1 to L5", ""),
        ("hidden_states: list[np.ndarray] = []\n", ""),
        ("config, hidden_states, expand_output=expand_output), hidden_states", "config, expand_output=expand_output)"),
    ),
    "stem_to_last": (("config, hidden_states)", "config)"),),
    "classifier": (
        _MAPS,
        (", and the five maps on the way", ""),
        ("features, hidden_states = ", "features = "),
        ("global_pool(features, config.global_pool)", "global_average_pool(features)"),
        (" if config.num_labels > 0 else pooled", ""),
        ("logits = ", "return "),
        ("\nreturn scope.emit(logits), hidden_states", ""),
    ),
    "segmenter": (
        _MAPS,
        (", and the five maps on the way", ""),
        ("features, hidden_states = ", "features = "),
        ("logits = ", "return "),
        ("\nreturn scope.emit(logits), hidden_states", ""),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Function:
    """A function's parts: parameters as they're written, the first line and the shape line, and the body's lines."""

    name: str
    parameters: tuple[str, ...]
    doc: str
    shape: str
    body: str


def make() -> str:
    """The whole file."""
    inlined = [read(file, name) for file, names in INLINED.items() for name in names]
    parts = [HEAD.replace("{constants}", constants())]
    for file, names in KEPT.items():
        for name in names:
            function = read(file, name)
            for small in inlined:
                function = inline(function, small)
            parts.append(written(function))
            parts += [activations()] if name == "silu" else []
    return "\n\n\n".join([*parts, TAIL])


def read(file: str, name: str) -> Function:
    """A function out of the library, simplified."""
    source = (SOURCE / file).read_text(encoding="utf-8")
    node = next(each for each in ast.parse(source).body if isinstance(each, ast.FunctionDef) and each.name == name)
    lines = (ast.get_docstring(node) or "\n").splitlines()
    shape = next((line.strip() for line in lines if "->" in line), "")
    first = node.body[1] if ast.get_docstring(node) else node.body[0]
    body = textwrap.dedent("\n".join(source.splitlines()[first.lineno - 1 : node.end_lineno]))
    text = "\n".join(["" if lines[0] == shape else lines[0], shape, joined(without_checks(body), WIDTH * 9)])
    for old, new in CHANGES.get(name, ()):
        if old not in text:
            raise SystemExit(f"{file}: {name} no longer has {old!r}; look at CHANGES in {Path(__file__).name}")
        text = text.replace(old, new)
    text = _CHAIN.sub(_keys, text)
    for pattern, replacement in GENERAL:
        text = re.sub(pattern, replacement, text)
    doc, shape, body = text.split("\n", 2)
    return Function(name.lstrip("_"), parameters(node, source), doc, shape, joined(body))


def written(function: Function) -> str:
    """A function as it stands in the file."""
    line = f"def {function.name}({', '.join(function.parameters)}):"
    lines = [f'    """{function.doc}"""'] if function.doc else []
    if function.shape and len(line) + len(function.shape) + 4 <= WIDTH:
        line = f"{line}  # {function.shape}"
    elif function.shape:
        lines.append(f"    # {function.shape}")
    return "\n".join([line, *lines, textwrap.indent(function.body, "    ")])


def parameters(node: ast.FunctionDef, source: str) -> tuple[str, ...]:
    """A function's parameters without annotations, and without those that only one value is ever given to."""
    every = node.args
    positional = [None] * (len(every.args) - len(every.defaults)) + [*every.defaults]
    out = []
    for arguments, defaults in ((every.args, positional), (every.kwonlyargs, every.kw_defaults)):
        if arguments and arguments is every.kwonlyargs:
            out.append("*")
        for argument, default in zip(arguments, defaults, strict=True):
            if argument.arg in LEFT_OUT or (argument.arg == "bias" and node.name == "conv_layer"):
                continue
            name = "p" if argument.arg == "scope" else argument.arg
            out.append(name if default is None else f"{name}={ast.get_source_segment(source, default)}")
    return tuple(out[:-1] if out[-1] == "*" else out)


# -- bodies: lines without indentation of their own --------------------------------------------------------------------


def parse(body: str) -> ast.Module:
    """The statements of a body, which may return."""
    return ast.Module(ast.parse("def _():\n" + textwrap.indent(body, " ")).body[0].body, [])  # type: ignore[attr-defined]


def place(node: ast.AST) -> tuple[int, int, int, int]:
    """Where a node of ``parse`` stands in the body: lines and columns of its start and end."""
    return node.lineno - 2, node.col_offset - 1, node.end_lineno - 2, node.end_col_offset - 1  # type: ignore[attr-defined]


def without_checks(body: str) -> str:
    """The body without what only raises errors, and without what is only shown to who listens."""
    lines = body.splitlines()
    for node in reversed(list(ast.walk(parse(body)))):
        called = ast.unparse(node.value.func) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else ""
        raises = isinstance(node, ast.If) and isinstance(node.body[0], ast.Raise)
        if raises or called.startswith(("_check", "check_", "scope.emit")):
            first, _, last, _ = place(node)
            del lines[first : last + 1]
    return "\n".join(lines)


def joined(body: str, width: int = WIDTH) -> str:
    """Statements that were broken into several lines in one, where it fits now."""
    lines = body.splitlines()
    for node in sorted((n for n in ast.walk(parse(body)) if isinstance(n, ast.stmt)), key=lambda n: -n.lineno):
        first, column, last, _ = place(node)
        if hasattr(node, "body") or first == last or any("#" in line for line in lines[first:last]):
            continue
        line = " ".join(line.strip() for line in lines[first : last + 1])
        line = re.sub(r",? ([)\]}])", r"\1", re.sub(r"([(\[{]) ", r"\1", line))
        if column + len(line) + 4 <= width:
            lines[first : last + 1] = [" " * column + line]
    return "\n".join(lines)


def inline(function: Function, small: Function) -> Function:
    """The function with ``small``'s body in the place of its calls."""
    body = function.body
    while found := next(_calls(body, small.name), None):
        statement, call = found
        before, _, answer = _filled(small, _arguments(small, call, body)).rpartition("return ")
        top, column, *_ = place(statement)
        answer, _, comment = answer.partition("  # ")
        lines = _spliced(body, call, answer).splitlines()
        if comment and "#" not in lines[top] and len(f"{lines[top]}  # {comment}") + 4 <= WIDTH:
            lines[top] += f"  # {comment}"
        lines[top:top] = textwrap.indent(before.rstrip("\n"), " " * column).splitlines()
        body = joined(re.sub(r"^ *(\w+) = \1\n", "", "\n".join(lines), flags=re.MULTILINE))
    return replace(function, body=body)


def _filled(small: Function, given: dict[str, str]) -> str:
    """``small``'s body with what it's given in the place of its parameters."""
    body = _collapsed(small.body)
    names = [node for node in ast.walk(parse(body)) if isinstance(node, ast.Name)]
    bound = []
    for name, value in list(given.items()):
        uses = [node.ctx for node in names if node.id == name]
        if name != value and not _atom(value, ast.Call) and (len(uses) > 1 or isinstance(uses[0], ast.Store)):
            bound.append(f"{name} = {given.pop(name)}")
    return "\n".join([*bound, replaced(body, given)])


def _collapsed(body: str) -> str:
    """``y = a; return b(y)`` as ``return b(a)``."""
    first, _, last = body.partition("\n")
    name, _, value = first.partition(" = ")
    if value and "\n" not in last and name.isidentifier() and len(re.findall(rf"\b{name}\b", last)) == 1:
        return replaced(last, {name: value})
    return body


def replaced(body: str, values: dict[str, str]) -> str:
    """The body with expressions in the place of names."""
    names = [node for node in ast.walk(parse(body)) if isinstance(node, ast.Name) and node.id in values]
    for node in sorted(names, key=lambda node: (-node.lineno, -node.col_offset)):
        body = _spliced(body, node, values[node.id])
    return body


def _spliced(body: str, node: ast.expr, text: str) -> str:
    """The body with ``text`` in the place of an expression, in parentheses where it needs them."""
    lines = body.splitlines()
    top, left, bottom, right = place(node)
    assert top == bottom, f"{ast.unparse(node)} is too long to be replaced"
    inside = [each for each in ast.walk(parse(body)) if place(node) in map(place, _operands(each))]
    lines[top] = lines[top][:left] + (f"({text})" if inside and not _atom(text) else text) + lines[top][right:]
    return "\n".join(lines)


def _operands(node: ast.AST) -> list[ast.expr]:
    """What binds more tightly to a node than an operator would."""
    if isinstance(node, ast.BinOp):
        return [node.left, node.right]
    return [node.value] if isinstance(node, (ast.Attribute, ast.Subscript)) else []


def _atom(text: str, *but: type[ast.expr]) -> bool:
    kinds = {ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.Call} - {*but}
    return isinstance(ast.parse(text, mode="eval").body, tuple(kinds))


def _calls(body: str, name: str) -> Iterator[tuple[ast.stmt, ast.Call]]:
    for statement in (n for n in ast.walk(parse(body)) if isinstance(n, ast.stmt) and not hasattr(n, "body")):
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and ast.unparse(node.func).lstrip("_") == name:
                yield statement, node


def _arguments(small: Function, call: ast.Call, body: str) -> dict[str, str]:
    """What each parameter stands for in a call."""
    names = [each.partition("=") for each in small.parameters if each != "*"]
    given = {name: default for name, _, default in names if default}
    lines = body.splitlines()

    def text(node: ast.expr) -> str:
        top, left, bottom, right = place(node)
        assert top == bottom, f"an argument of {small.name} goes over several lines"
        return lines[top][left:right]

    given |= {name: text(node) for (name, *_), node in zip(names, call.args, strict=False)}
    given |= {word.arg: text(word.value) for word in call.keywords if word.arg}
    return given


def _keys(match: re.Match[str]) -> str:
    """``scope / "layer" / 0`` as ``p["layer"][0]``."""
    keys = re.findall(rf" / ({_KEY})", match[2])
    return match[1] + "".join(f"[{key[1:-1] if key.startswith('(') else key}]" for key in keys)


# -- what stands around them -------------------------------------------------------------------------------------------


def constants() -> str:
    """The numbers that every MobileViT shares."""
    source = (SOURCE / "config.py").read_text(encoding="utf-8")
    depths = re.findall(r"^(?:TRANSFORMER_DEPTHS|STAGE_2_DEPTH) = .*", source, re.MULTILINE)
    found = re.search(r'def downsampling.*?"""(.*?)\."""\n *return (\{)(.*?\})\[', source, re.DOTALL)
    assert found, "config.py: downsampling no longer returns a table; look at constants() in make_one_file.py"
    table = f"DOWNSAMPLING = {{  # by output stride: {found[1]}" + textwrap.dedent(found[3])
    return "\n".join([*depths, table])


def activations() -> str:
    """The table of activations, smaller than the library's."""
    relu = read("ops/activation.py", "relu").body.removeprefix("return ")
    return f'ACTIVATIONS = {{"silu": silu, "relu": lambda x: {relu}}}'


HEAD = '''"""MobileViT's forward pass in one file: the classifier and the segmenter, with NumPy and safetensors alone.

Generated by tutorials/make_one_file.py from mobilevit_np's ops/, layers/ and reference/: don't edit, make it again.
The logits are the reference engine's, bit for bit. Axes: B batch, C O channels, H W height and width, P pixels of a
patch, N patches (tokens), D width, h heads, d width of a head, K classes. ``p`` is a subtree of the parameters.

    python tutorials/mobilevit_in_one_file.py weights/pets-xx-small/model.safetensors [INPUT.npy [LOGITS.npy]]

The weights have Hugging Face's names, and their config.json lies beside them. INPUT is a photo (H, W, 3) of uint8 in
RGB, or pixel values (B, 3, H, W) in 0..1, channels in the model's order; without it, the network is shown a gradient.
Prints the likeliest classes, or those that cover most of the map; the logits are written where LOGITS says.
"""

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from safetensors.numpy import load_file

{constants}'''

TAIL = '''def tree(tensors):
    """Tensors by name as nested dictionaries: ``p["mobilevit"]["encoder"]["layer"][0]``."""
    root = {}
    for name, tensor in tensors.items():
        *path, last = (int(key) if key.isdigit() else key for key in name.split("."))
        node = root
        for key in path:
            node = node.setdefault(key, {})
        if last != "num_batches_tracked":
            node[last] = tensor.astype(np.float32)
    return root


def main(model, source=None, target=None):
    """Run the network, and print what it says."""
    config = SimpleNamespace(**json.loads(Path(model).with_name("config.json").read_text(encoding="utf-8")))
    p = tree(load_file(model))
    x = np.load(source) if source else np.broadcast_to(np.linspace(0, 1, 256), (1, 3, 256, 256))
    if x.ndim == 3:
        x = x[None, :, :, ::-1].transpose(0, 3, 1, 2) / 255  # (H, W, 3) in RGB -> (1, 3, H, W) in BGR
    if "classifier" in p:
        logits = classifier(x.astype(np.float32), p, config)
        scores = softmax(logits[0])
    else:
        logits = segmenter(x.astype(np.float32), p, config)
        scores = np.bincount(logits[0].argmax(axis=0).ravel(), minlength=logits.shape[1]) / logits[0, 0].size
    for i in np.argsort(-scores, kind="stable")[:5]:
        print(f"{scores[i]:6.1%}  {config.id2label[str(i)]}")
    if target:
        np.save(target, logits)


if __name__ == "__main__":
    main(*sys.argv[1:]) if 2 <= len(sys.argv) <= 4 and "--help" not in sys.argv else sys.exit(__doc__)
'''


def main() -> None:
    """Write the file."""
    TARGET.write_text(make(), encoding="utf-8", newline="\n")
    print(f"wrote {TARGET}: {make().count(chr(10))} lines")


if __name__ == "__main__":
    main()
