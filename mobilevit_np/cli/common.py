"""What commands share: options, the loop over photos and its exit codes, checks of where results go."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ..errors import InputError, MobileViTError, OutputError, refusal
from ..fence import complain
from .inputs import Photo
from .terminal import Progress, c_libraries_held_back

PROFILE_HELP = (
    "preprocess photos in a named way instead of the checkpoint's own: huggingface-classifier, huggingface-segmenter, "
    "timm, ml-cvnets-classifier or ml-cvnets-segmenter"
)

_ERRORS_OF_A_NAME = (errno.ENAMETOOLONG, errno.EISDIR, errno.EILSEQ)  # another name may do where this one doesn't


def help_of(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int]:
    """A ``run`` for a command that was given nothing to do: it prints the help on stderr, and fails."""

    def run(_: argparse.Namespace) -> int:
        parser.print_help(sys.stderr)
        return 2

    return run


def add_common_options(parser: argparse.ArgumentParser, default: str, published: str) -> None:
    """The arguments that classify and segment share."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="a photo, a folder, a pattern, or - for stdin")
    add_weights_options(parser, default, published)
    parser.add_argument("--profile", metavar="NAME", help=PROFILE_HELP)
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        default="float32",
        help="precision of the arithmetic (default: %(default)s)",
    )
    add_engine_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object a line, for programs")


def add_weights_options(parser: Any, default: str = "pets-xx-small", published: str = "apple/mobilevit-small") -> None:
    """Which checkpoint to open, and which network in it."""
    parser.add_argument(
        "--weights",
        metavar="W",
        help=f"a checkpoint: file, folder, shipped model or hub id such as {published} (default: {default})",
    )
    add_prefix_option(parser)


def weights_of(options: argparse.Namespace) -> str:
    """The checkpoint that was asked for, or else the shipped classifier."""
    from ..checkpoints.shipped import DEFAULTS

    return DEFAULTS["classifier"] if options.weights is None else options.weights


def add_prefix_option(parser: Any) -> None:
    """Which network in a checkpoint's file is meant."""
    parser.add_argument(
        "--prefix",
        metavar="P",
        help="which of several networks in the weights file: what its tensors' names begin with, such as student",
    )


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Which engine computes, and with how many threads."""
    parser.add_argument(
        "--engine",
        choices=("fast", "reference"),
        default="fast",
        help="the fast engine, or the reference, which reads like the paper (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=whole_number,
        metavar="N",
        help="threads of the fast engine (default: one for each core that this process may use)",
    )


def engine_of(options: argparse.Namespace) -> str:
    """The engine that was asked for, with its threads set. Raises InputError for threads of the reference."""
    engine: str = options.engine
    if engine == "fast":
        from ..fast import use_threads

        use_threads(options.threads)
    elif options.threads is not None:
        raise InputError("--threads is for the fast engine; for the reference, set OPENBLAS_NUM_THREADS instead")
    return engine


def opened(pipeline: Any, options: argparse.Namespace) -> Any:
    """The classifier or segmenter that the common options ask for."""
    return pipeline.from_pretrained(
        options.weights,
        dtype=options.dtype,
        profile=options.profile,
        engine=engine_of(options),
        prefix=options.prefix,
    )


def whole_number(text: str) -> int:
    """An argument's value: a whole number from 1 up."""
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text)):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} isn't a whole number from 1 up")
    return int(text)


def output(text: str) -> str:
    """An argument's value: where a result goes."""
    if not text:
        raise argparse.ArgumentTypeError("it's empty; say where the result goes")
    return text


def check_page(target: str, sources: Mapping[str, str | None], weights: str | None) -> None:
    """Raise OutputError, before any work, if a page can't go to ``target``; see ``check_target``."""
    from ..formats.files import is_standard_output

    if not is_standard_output(target):
        check_target(target, "page", (".html", ".htm"), sources, weights)


def check_target(
    target: str, what: str, suffixes: Sequence[str], sources: Mapping[str, str | None], weights: str | None
) -> None:
    """Raise OutputError, before any work, if a file can't be written to ``target``, or would replace an input.

    ``what``: what to call the file; ``suffixes``: the ones it may have; ``sources``, ``weights``: see ``check_kept``.
    """
    check_kept([target], sources.items(), weights)
    folder, suffix = os.path.dirname(target), os.path.splitext(target)[1]
    if not os.path.isdir(folder or "."):
        raise OutputError(f"can't write {target}: there is no folder {folder}")
    if os.path.isdir(target):
        example = what.split()[0] + suffixes[0]
        raise OutputError(f"can't write {target}: it is a folder; give the {what} a name in it, such as {example}")
    if suffix.lower() not in suffixes:
        raise OutputError(f"can't write {target}: a {what} ends in {' or '.join(suffixes)}, not {suffix or 'nothing'}")


def check_kept(
    targets: Iterable[str | Path], sources: Iterable[tuple[str, str | None]], weights: str | None = None
) -> None:
    """Raise OutputError if a result would replace an input, under whatever name.

    ``sources``: pairs of what to call an input, and its file. ``weights``: the checkpoint, named in any way.
    """
    there = {_identity(target): target for target in targets}
    there.pop(None, None)
    if not there:  # nothing is replaced, so the checkpoint needn't be looked for, maybe on the hub
        return
    for what, source in (*sources, *(("the checkpoint's file", path) for path in _files_of(weights))):
        if source and (target := there.get(_identity(source))):
            raise OutputError(f"{target} is {what}; write the result somewhere else")


def _identity(path: str | Path) -> tuple[int, int] | None:
    """What all names of a file, links included, have in common; None if there is no such file."""
    if not os.path.isfile(path):
        return None
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _files_of(weights: str | None) -> list[str]:
    """The files of a checkpoint; none if it can't be found: opening it will say so."""
    if not weights:
        return []
    from ..checkpoints.sources import locate

    try:
        return [str(path) for path in locate(weights).files]
    except MobileViTError:
        return []


def walk(
    photos: Sequence[Photo],
    stream: Callable[[Iterator[Any]], Generator[tuple[Any, Any], None, None]],
    show: Callable[[Photo, Any], None],
) -> int:
    """Run every photo through a pipeline's ``stream`` and show its answer; report what failed, and go on.

    Ctrl-C ends it, and so does an answer that can't be written, since the next couldn't either, unless the file's name
    is at fault. Returns the exit code: 0 if all were done, 1 if some, 2 if none.
    """
    sources = (photo.source for photo in photos if photo.problem is None)
    done = 0
    try:
        with c_libraries_held_back(), closing(stream(sources)) as answers, Progress(len(photos), "photos") as progress:
            for photo in photos:
                result = photo.problem or next(answers)[1]
                with progress.aside():
                    done += _tell(photo, result, show)
                progress.step()
                del result  # a large photo's answer isn't kept while the next is computed
    except OutputError as error:
        complain(error)
    except KeyboardInterrupt:
        complain(f"interrupted after {done} of {len(photos)} photos; what was written is whole")
    return 0 if done == len(photos) else 1 if done else 2


def _tell(photo: Photo, result: Any, show: Callable[[Photo, Any], None]) -> bool:
    """Show the answer, or report why there is none; whether there was one."""
    if not isinstance(result, MobileViTError):
        try:
            show(photo, result)
            return True
        except MemoryError as error:
            result = MobileViTError(refusal(error))
        except OutputError as error:
            if getattr(error.__context__, "errno", None) not in _ERRORS_OF_A_NAME:
                raise
            complain(error)
            return False
    complain(complaint(photo, result))
    return False


def complaint(photo: Photo, problem: MobileViTError) -> str:
    """Why there is no answer for the photo, with its name."""
    named = photo.name in str(problem) or photo.name == "-"
    return str(problem) if named else f"{photo.name}: {problem}"
