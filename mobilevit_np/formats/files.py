"""Files read whole, and written beside their target and renamed into place.

A failed or interrupted run leaves what was there: all bytes are on the disk under temporary names before the first
file is renamed, and the temporary files are removed whatever happens (an error, a full disk, Ctrl-C or another signal
that Python handles). A signal waits until the renaming, or the clearing away, is done.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, ConfigError, MobileViTError, NotFoundError, OutputError
from ..fence import ENDING

MAX_BYTES = 1 << 30  # a MobileViT is 25 MB, a training checkpoint of it 100 MB: more is another file
MAX_JSON_BYTES = 16 << 20
MAX_NESTED = 32  # a config.json is three levels deep
_STANDARD_OUTPUT = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


def read_bytes(path: str | Path, *, limit: int = MAX_BYTES) -> bytes:
    """The whole file.

    Raises NotFoundError if it can't be read, CheckpointError if it isn't a regular file or holds over ``limit``.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise CheckpointError(f"{path} is not a regular file; copy it to one")
            if status.st_size > limit:
                raise CheckpointError(f"{path} holds {status.st_size:,} bytes, more than the {limit:,} allowed")
            return file.read(status.st_size)  # no more: read allocates all it may return
    except CheckpointError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise NotFoundError(f"can't read {path}: {reason(error)}") from None


def parse_json(data: bytes | str, name: str) -> dict[str, Any]:
    """The JSON object in ``data``, fit to be written again: at most ``MAX_NESTED`` levels deep, all text Unicode.

    Raises CheckpointError, calling the text ``name``, if it's anything else.
    """
    if len(data) > MAX_JSON_BYTES:
        raise CheckpointError(f"{name} holds {len(data):,} bytes of JSON, more than the {MAX_JSON_BYTES:,} allowed")
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        value = json.loads(text)
        if "\\u" in text:  # the only way to write half of a surrogate pair, which can't be printed
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:  # both JSON's and UTF-8's errors are ValueErrors
        raise CheckpointError(f"{name} is not JSON: {first_line(error)}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{name} holds a JSON {type(value).__name__}, not an object")
    level: list[Any] = [value]
    for _ in range(MAX_NESTED + 1):
        level = [part for whole in level for part in (whole.values() if isinstance(whole, dict) else whole)
                 if isinstance(part, (dict, list))]  # fmt: skip
    if level:
        raise CheckpointError(f"{name} is nested more than {MAX_NESTED} deep, which no such file needs")
    return value


def read_json(path: str | Path) -> dict[str, Any]:
    """The JSON object in a file. Raises CheckpointError if it can't be read or isn't one."""
    return parse_json(read_bytes(path, limit=MAX_JSON_BYTES), str(path))


def json_text(values: Mapping[str, Any], *, sort_keys: bool = False) -> str:
    """A settings file's text. Raises ConfigError for values that JSON can't hold."""
    try:
        return json.dumps(dict(values), indent=2, sort_keys=sort_keys) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"the settings can't be written as JSON: {first_line(error)}") from None


def write_file(path: str | Path, data: bytes) -> Path:
    """Write one file, whole or not at all. Raises OutputError; see ``write_files``."""
    return write_files({path: data})[0]


def write_files(
    contents: Mapping[Any, bytes], *, folders: Iterable[str | os.PathLike[str]] = (), remove: Iterable[Path] = ()
) -> list[Path]:
    """Write ``{path: bytes}``: each whole or not at all, and none until all of them are on the disk.

    Missing ``folders`` are made first. The files in ``remove``, which the new ones make invalid, go once all are in
    place. A symbolic link stays and the file it points to is replaced; a device or a pipe is written to, and so is
    ``/dev/stdout`` whatever it points to.
    Raises OutputError if a folder is missing or can't be written to, or the disk is full; nothing is left then.
    Raises BrokenPipeError if the reader of standard output has gone.
    """
    import secrets  # slow to import, and only needed for writing

    staged: list[tuple[Path, Path]] = []
    targets = []
    with _made(folders):
        try:
            for path, data in contents.items():
                target = Path(path)
                if is_standard_output(path) or (os.path.exists(path) and not os.path.isfile(path)):
                    _write_into(path, data)
                else:
                    target = Path(os.path.realpath(target))
                    temporary = target.parent / f".mobilevit-np-{secrets.token_hex(8)}.tmp"
                    staged.append((temporary, target))
                    _write_temporary(temporary, target, data)
                targets.append(target)
            with _signals_wait():
                for temporary, target in staged:
                    os.replace(temporary, target)
                for target in remove:
                    target.unlink(missing_ok=True)
        except BrokenPipeError:
            raise
        except (OSError, ValueError) as error:
            raise OutputError(f"can't write {target}: {reason(error)}") from None
        finally:
            _clear_away([temporary.unlink for temporary, _ in staged])
    return targets


def is_standard_output(path: str | Path) -> bool:
    """Whether a path stands for standard output, which may be a pipe, a terminal, or a file that the shell opened."""
    return str(path) in _STANDARD_OUTPUT


@contextlib.contextmanager
def _made(folders: Iterable[str | os.PathLike[str]]) -> Iterator[None]:
    """The folders, made with their parents; those that were missing are removed again if what's done inside fails."""
    made: list[Path] = []
    try:
        for folder in map(Path, folders):
            made += [path for path in (*reversed(folder.parents), folder) if not os.path.lexists(path)]
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except (OSError, ValueError) as error:
                raise OutputError(f"can't make the folder {folder}: {reason(error)}") from None
        yield
    except BaseException:
        _clear_away([path.rmdir for path in reversed(made)])
        raise


@contextlib.contextmanager
def naming(name: object, kind: type[MobileViTError] = CheckpointError) -> Iterator[None]:
    """Errors of this kind say which file they are about."""
    try:
        yield
    except kind as error:
        raise type(error)(f"{name}: {error}") from None


def reason(error: Exception) -> str:
    """What went wrong, in the system's words, without the path, which the message already has."""
    text = error.strerror if isinstance(error, OSError) else None
    return (text or first_line(error)).lower()


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or its class if there is none."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Signals (Ctrl-C) take effect at the end. Only the main thread gets them, and only Python's handlers wait."""
    handlers: dict[int, Any] = {}
    waiting: list[tuple[Any, ...]] = []
    try:
        if threading.current_thread() is threading.main_thread():
            for number in ENDING:
                if callable(handler := signal.getsignal(number)):
                    handlers[number] = handler
                    signal.signal(number, lambda *arguments: waiting.append(arguments))
        yield
    finally:
        for handled, handler in handlers.items():
            signal.signal(handled, handler)
        if waiting:
            handlers[waiting[0][0]](*waiting[0])


def _clear_away(steps: Iterable[Callable[[], None]]) -> None:
    """Take each step, even if Ctrl-C is pressed again. It's no error if a file isn't there, or a folder isn't empty."""
    interrupted = None
    for _ in range(2):  # a signal may come just before they wait
        try:
            with _signals_wait():
                for step in steps:
                    with contextlib.suppress(OSError, ValueError):
                        step()
        except KeyboardInterrupt as error:
            interrupted = error
    if interrupted is not None:
        raise interrupted


def _open_at_once(path: str, flags: int) -> int:
    """The file's descriptor. Without the flag, which Windows lacks, opening a pipe would wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _write_temporary(temporary: Path, target: Path, data: bytes) -> None:
    with open(temporary, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if target.is_file():
        shutil.copymode(target, temporary)


def _write_into(target: str | Path, data: bytes) -> None:
    standard = is_standard_output(target)  # reopened, a file that the shell has opened would be truncated
    with open(1 if standard else target, "wb", closefd=not standard) as file:  # a folder: IsADirectoryError
        file.write(data)
