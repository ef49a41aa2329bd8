"""The one family of errors that a user can cause.

Every error a person can bring about (a bad file, a wrong shape, an impossible setting) is a ``MobileViTError`` raised
where its cause is known, with one line that names what is wrong and what to do. The command line prints that line.
What the machine refuses (memory, recursion, the system) becomes one line too, worded by ``refusal``. Any other
exception is a bug of ours and shows its traceback.

Where transformers raises a ``ValueError`` or an ``OSError``, the class here is one too, so that code written for
transformers still catches it.

A message is one printable line of bounded length, whatever it quotes: ``one_line`` sees to that, in warnings as well.
``visible`` does the same for text that is quoted, such as a name in a file.
"""

MAX_LENGTH = 1200  # characters of a message
SYSTEM_ERRORS = (MemoryError, RecursionError, OSError)  # how the machine refuses


class _OneLine(BaseException):
    def __str__(self) -> str:
        return one_line(super().__str__())


class MobileViTError(_OneLine, Exception):
    """Something the user gave can't be used; the message says what, and what to do about it."""


class ConfigError(MobileViTError, ValueError):
    """A configuration that describes no MobileViT: a wrong type, a missing or impossible value."""


class InputError(MobileViTError, ValueError):
    """Arrays or arguments that don't fit the call: shapes, dtypes, ranges, missing ones."""


class ImageError(MobileViTError, ValueError):
    """A photo that can't be read or used."""


class MissingImageError(ImageError, OSError):
    """A photo that isn't there."""


class CheckpointError(MobileViTError, ValueError):
    """A weights file that can't be read, isn't trusted, or doesn't fit the network."""


class NotFoundError(CheckpointError, OSError):
    """A checkpoint, or one of its files, that isn't there: on the disk, in the cache or on the hub."""


class MissingTensorError(CheckpointError):
    """The network asked its checkpoint for a tensor that isn't there."""


class MissingExtraError(MobileViTError):
    """Something that only an optional extra can do; the message says what to install."""


class NotDownloadedError(NotFoundError, MissingExtraError):
    """A checkpoint of the hub that isn't in the cache; downloading it takes an optional extra."""


class OutputError(MobileViTError):
    """A result that can't be written where it was asked to go."""


class MobileViTWarning(_OneLine, UserWarning):
    """Worth a line, but no reason to stop: tensors left out, a checksum that differs from the published one."""


def visible(text: object, limit: int | None = 150) -> str:
    """Text from a file, which may be hostile, made safe to show in messages and on pages.

    At most ``limit`` characters of it (None: all); line ends, control characters, bidirectional marks and the like
    become escapes.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text)[:limit])


def one_line(message: str) -> str:
    """The message as one printable line of at most ``MAX_LENGTH`` characters."""
    return _cut(visible(" ".join(_cut(message).split()), None))


def _cut(text: str) -> str:
    """The text, without its middle if it's too long: what to do is said at the end."""
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 305]} ... {text[-300:]}"


def refusal(error: BaseException) -> str:
    """One of ``SYSTEM_ERRORS`` in words for people."""
    said = str(error)
    if isinstance(error, MemoryError):
        return f"there isn't enough memory for this{said and f' ({said})'}; free some, or ask for something smaller"
    if isinstance(error, RecursionError):
        return "this is nested too deeply"
    if isinstance(error, FileNotFoundError) and error.filename is None:  # only the working folder has no name
        return "the working folder is gone; go to another one (cd)"
    return said
