"""The pickle inside a torch file, walked opcode by opcode.

A pickle is a program for a stack machine, and Python's own machine imports and calls whatever the program names. This
one knows the opcodes that build plain containers, and a table of names to which it gives meanings of its own: nothing
is ever imported or called by name, and the first name outside the table ends the reading. A tensor comes out as a
``TensorRef``, which only says where its numbers are; ``torch_tensors`` reads these. Whatever else a training checkpoint
holds (NumPy scalars, paths, dates) becomes ``OPAQUE``.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from ..errors import CheckpointError, visible
from .files import first_line

MAX_PICKLE_BYTES = 64 << 20  # a MobileViT's is 60 KB; optimizer states and argument lists stay below a megabyte
MAX_OPCODES = 1_000_000
MAX_INT = 1 << 512  # seeds and magic numbers have at most 128 bits; printing a long one takes forever
MAX_KEY = 1 << 63  # larger numbers can be chosen to share one hash, and a dictionary of them takes forever too
KEY_TYPES = (str, int, float, bool, bytes, type(None))  # hashing a nested tuple could take forever
STORAGES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}  # fmt: skip


class Opaque:
    """Stands for a value that isn't needed for weights."""

    def __repr__(self) -> str:
        return "OPAQUE"


OPAQUE = Opaque()


@dataclass(frozen=True)
class StorageRef:
    """A run of numbers in the archive: the entry's key, their format, and how many the pickle says there are."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class TensorRef:
    """A view of a storage, as the pickle describes it: nothing in it is checked yet."""

    storage: StorageRef
    offset: Any
    shape: Any
    strides: Any


@dataclass(frozen=True)
class Global:
    """A name from the table, standing on the stack until it's used."""

    name: str


def read_pickle(data: bytes | BinaryIO, storages: dict[str, StorageRef] | None = None) -> Any:
    """What the pickle builds: dict, list, tuple, str, bytes, numbers, None, ``TensorRef`` and ``OPAQUE``.

    A file object is left just behind the pickle. ``storages`` gets every storage that it refers to, by key.
    Raises CheckpointError at the first name or opcode that weights don't need, and if the program is broken.
    """
    if isinstance(data, bytes) and len(data) > MAX_PICKLE_BYTES:
        raise CheckpointError(f"its pickle holds {len(data):,} bytes; weights need far less")
    machine = _Machine({} if storages is None else storages)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count > MAX_OPCODES:
                raise CheckpointError(f"its pickle takes over {MAX_OPCODES:,} steps; weights need far fewer")
            if opcode.name == "STOP":
                return machine.result()
            step = _STEPS.get(opcode.name)
            if step is None:
                raise CheckpointError(f"its pickle uses the opcode {opcode.name}, which no weights need; it's refused")
            step(machine, argument)
    except CheckpointError:
        raise
    # pickletools warns of a backslash in a name, which is an exception where warnings are errors.
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, Warning) as error:
        raise CheckpointError(f"its pickle is damaged: {first_line(error)}") from None
    raise CheckpointError("its pickle has no end; the file is cut off or damaged")


class _Machine:
    """The stack, the marks in it and the memo of a pickle being walked."""

    def __init__(self, storages: dict[str, StorageRef]) -> None:
        self.storages = storages
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.copied = 0

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if self.marks and len(self.stack) <= self.marks[-1]:
            raise ValueError("it takes a value from beyond a mark")
        return self.stack.pop()

    def top(self) -> Any:
        return self.stack[-1]

    def pop_to_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def charge(self, *values: Any) -> None:
        """Count what a step copies: a list that every step copies again would fill any memory."""
        self.copied += sum(len(value) for value in values if isinstance(value, (list, tuple, dict)))
        if self.copied > MAX_OPCODES:
            raise CheckpointError(f"its pickle copies over {MAX_OPCODES:,} values; weights need far fewer")

    def result(self) -> Any:
        if len(self.stack) != 1 or self.marks:
            raise CheckpointError("its pickle ends with values left over; the file is damaged")
        return self.stack[0]


# What the names in the table mean. Each gets its arguments straight from the pickle, and checks those it uses.


def _make_dict(*pairs: Any) -> dict[Any, Any]:
    """OrderedDict(), OrderedDict(pairs), Namespace(), defaultdict(factory)."""
    made: dict[Any, Any] = {}
    if pairs and isinstance(pairs[-1], (list, tuple)):
        for key, value in pairs[-1]:
            _put(made, key, value)
    return made


def _make_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> TensorRef:
    if not isinstance(storage, StorageRef):
        raise ValueError("a tensor without a storage")
    return TensorRef(storage, offset, shape, strides)


def _make_parameter(tensor: Any, *_: Any) -> TensorRef:
    if not isinstance(tensor, TensorRef):
        raise ValueError("a parameter without a tensor")
    return tensor


def _make_sequence(values: Any = ()) -> tuple[Any, ...]:
    """torch.Size, set: a tuple, in the pickle's order."""
    if not isinstance(values, (list, tuple)):
        raise ValueError("a sequence made from something else")
    return tuple(values)


_OPAQUE = (
    "_codecs.encode", "collections.Counter", "torch.device", "torch.serialization._get_layout",
    "builtins.complex", "__builtin__.complex", "datetime.date", "datetime.datetime", "datetime.timedelta",
    "numpy.dtype", "numpy.ndarray", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
    "pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath",
    "pathlib._local.PosixPath", "pathlib._local.WindowsPath", "pathlib._local.PurePosixPath",
)  # fmt: skip
_CALLABLES: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _make_dict,
    "collections.defaultdict": _make_dict,
    "argparse.Namespace": _make_dict,
    "torch._utils._rebuild_tensor": _make_tensor,
    "torch._utils._rebuild_tensor_v2": _make_tensor,
    "torch._utils._rebuild_parameter": _make_parameter,
    "torch._utils._rebuild_parameter_with_state": _make_parameter,
    "torch.Size": _make_sequence,
    **dict.fromkeys(["builtins.set", "__builtin__.set", "builtins.frozenset", "__builtin__.frozenset"], _make_sequence),
    **dict.fromkeys(_OPAQUE, lambda *_: OPAQUE),
}
_TYPES = frozenset(  # names that only stand for a type: a storage's, a tensor's dtype, a defaultdict's factory
    [f"torch.{name}" for name in STORAGES]
    + [f"torch.{name}" for name in ("float64", "float32", "float16", "bfloat16", "int64", "int32", "uint8", "bool")]
    + [f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("dict", "list", "int", "float", "str")]
)


# The opcodes.


def _find(machine: _Machine, name: str) -> Global:
    if name not in _CALLABLES and name not in _TYPES:
        if not machine.stack:
            raise CheckpointError(
                f"it's a whole model or another Python object ({visible(name)}), and making one could run code: it's "
                'refused; if you trust it, in PyTorch: torch.save(torch.load("whole.pt", weights_only=False)'
                '.state_dict(), "weights.pt")'
            )
        raise CheckpointError(
            f"its pickle asks for {visible(name)}, which no weights need and which could run code: it's refused; "
            "if you trust the file, save the model's state_dict() alone in PyTorch"
        )
    return Global(name)


def _global(machine: _Machine, argument: str) -> None:
    machine.push(_find(machine, ".".join(argument.split(" ", 1))))


def _stack_global(machine: _Machine, _: Any) -> None:
    name, module = machine.pop(), machine.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise ValueError("a global without a name")
    machine.push(_find(machine, f"{module}.{name}"))


def _reduce(machine: _Machine, _: Any) -> None:
    arguments, function = machine.pop(), machine.pop()
    if not isinstance(function, Global) or function.name not in _CALLABLES or not isinstance(arguments, tuple):
        raise CheckpointError("its pickle calls something that no weights need; it's refused")
    machine.charge(arguments)
    machine.charge(*arguments)
    machine.push(_CALLABLES[function.name](*arguments))


def _newobj_ex(machine: _Machine, _: Any) -> None:
    machine.pop()  # the keyword arguments, which no name in the table takes
    _reduce(machine, _)


def _build(machine: _Machine, _: Any) -> None:
    """Give an object its attributes: those of a Namespace are its content, those of anything else don't matter."""
    state, target = machine.pop(), machine.top()
    machine.charge(state)
    if isinstance(target, dict) and isinstance(state, dict) and not target and "_metadata" not in state:
        for key, value in state.items():
            _put(target, key, value)
    elif not isinstance(target, (dict, Opaque)):
        raise CheckpointError("its pickle sets the state of something that has none; it's refused")


def _persistent(machine: _Machine, _: Any) -> None:
    match machine.pop():
        case ("storage", Global(name), str(key), str(), int(count), *rest) if (
            name.removeprefix("torch.") in STORAGES and rest in ([], [None])  # None: of the format before 1.6, no view
        ):
            machine.push(StorageRef(key, STORAGES[name.removeprefix("torch.")], count))
            machine.storages.setdefault(key, machine.top())
        case _:
            raise CheckpointError("its pickle refers to something that isn't a known storage; it's refused")


def _put(target: Any, key: Any, value: Any) -> None:
    if isinstance(target, Opaque):
        return
    if not isinstance(target, dict) or not isinstance(key, KEY_TYPES):
        raise ValueError("an entry that doesn't fit a dictionary")
    if isinstance(key, int) and abs(key) > MAX_KEY:
        raise ValueError("a dictionary's key is a number that no file needs")
    target[key] = value


def _set_items(machine: _Machine, _: Any) -> None:
    values = machine.pop_to_mark()
    if len(values) % 2:
        raise ValueError("a key without a value")
    for key, value in zip(values[::2], values[1::2], strict=True):
        _put(machine.top(), key, value)


def _set_item(machine: _Machine, _: Any) -> None:
    value, key = machine.pop(), machine.pop()
    _put(machine.top(), key, value)


def _extend(machine: _Machine, values: list[Any]) -> None:
    target = machine.top()
    if isinstance(target, list):
        target.extend(values)
    elif not isinstance(target, Opaque):
        raise ValueError("items for something that isn't a list")


def _make_tuple(count: int) -> Callable[[_Machine, Any], None]:
    def step(machine: _Machine, _: Any) -> None:
        machine.push(tuple([machine.pop() for _ in range(count)][::-1]))

    return step


def _dict_of(machine: _Machine, _: Any) -> None:
    values = machine.pop_to_mark()
    machine.push({})
    machine.marks.append(len(machine.stack))
    machine.stack.extend(values)
    _set_items(machine, None)


def _memoize(machine: _Machine, index: int | None) -> None:
    machine.memo[len(machine.memo) if index is None else index] = machine.top()


def _push_int(machine: _Machine, argument: int) -> None:
    machine.push(argument if abs(argument) <= MAX_INT else OPAQUE)


def _push_text(machine: _Machine, argument: str) -> None:
    """A pickle's text may be more than UTF-8 can hold, and could then be neither printed nor written."""
    machine.push(argument if argument.isascii() or _is_unicode(argument) else OPAQUE)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


_STEPS: dict[str, Callable[[_Machine, Any], object]] = {
    **dict.fromkeys(["PROTO", "FRAME"], lambda machine, _: None),  # of use to readers of streams only
    **dict.fromkeys(["BININT", "BININT1", "BININT2", "LONG1", "LONG4"], _push_int),
    **dict.fromkeys(["BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"], _push_text),
    **dict.fromkeys(
        ["BINFLOAT", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING"], _Machine.push
    ),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_SET": lambda machine, _: machine.push([]),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "POP_MARK": lambda machine, _: machine.pop_to_mark(),
    "POP": lambda machine, _: machine.pop(),
    "DUP": lambda machine, _: machine.push(machine.top()),
    "TUPLE1": _make_tuple(1),
    "TUPLE2": _make_tuple(2),
    "TUPLE3": _make_tuple(3),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "LIST": lambda machine, _: machine.push(machine.pop_to_mark()),
    "FROZENSET": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "DICT": _dict_of,
    "APPEND": lambda machine, _: _extend(machine, [machine.pop()]),
    "APPENDS": lambda machine, _: _extend(machine, machine.pop_to_mark()),
    "ADDITEMS": lambda machine, _: _extend(machine, machine.pop_to_mark()),
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    **dict.fromkeys(["BINPUT", "LONG_BINPUT", "MEMOIZE"], _memoize),
    **dict.fromkeys(["BINGET", "LONG_BINGET"], lambda machine, index: machine.push(machine.memo[index])),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "NEWOBJ": _reduce,
    "NEWOBJ_EX": _newobj_ex,
    "BUILD": _build,
    "BINPERSID": _persistent,
}
