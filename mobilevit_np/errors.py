"""The one family of errors that a user can cause.

Every error a person can bring about (a bad file, a wrong shape, an impossible setting) is a ``MobileViTError`` raised
where its cause is known, with one line that names what is wrong and what to do. The command line prints that line.
What the machine refuses (memory, recursion, the system) it says in one line too, which ``refusal`` words. Any other
exception is a defect of ours and shows its traceback.

The classes that replace a ``ValueError`` or ``OSError`` of transformers are such errors too, so that code written for
transformers keeps catching them.

A message is one printable line of bounded length, whatever it repeats: ``one_line`` makes it so, here and in warnings.
``visible`` does that for a part of one: what a file calls itself.
"""

MAX_LENGTH = 1200  # characters of a message
SYSTEM_ERRORS = (MemoryError, RecursionError, OSError)  # what the machine refuses


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
    """A photo that isn't where it's said to be."""


class CheckpointError(MobileViTError, ValueError):
    """A weights file that can't be read, isn't trusted, or doesn't fit the network."""


class NotFoundError(CheckpointError, OSError):
    """A checkpoint, or a file of it, that isn't there or can't be had: on the disk, in the cache, from the hub."""


class MissingTensorError(CheckpointError):
    """The network asked its checkpoint for a tensor that isn't there."""


class MissingExtraError(MobileViTError):
    """Something that only an optional extra can do; the message says what to install."""


class NotDownloadedError(NotFoundError, MissingExtraError):
    """A checkpoint of the hub that isn't in the cache; downloading it takes an optional extra."""


class OutputError(MobileViTError):
    """A result that can't be written where it was asked to go."""


class MobileViTWarning(_OneLine, UserWarning):
    """Something worth a line that stops nothing: tensors left out, a checksum that differs from the published one."""


def visible(text: object, most: int | None = None) -> str:
    """A name out of a file, or another text that may be hostile, as messages and pages may show it.

    It's cut to ``most`` characters; line ends, control characters, writing directions and the like become escapes.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text)[:most])


def one_line(message: str) -> str:
    """The message as one printable line of at most ``MAX_LENGTH`` characters."""
    return _cut(visible(" ".join(_cut(message).split())))


def _cut(text: str) -> str:
    """Without its middle where it's too long: what to do is at the end."""
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 305]} ... {text[-300:]}"


def refusal(error: BaseException) -> str:
    """What the machine refused, for people: one of ``SYSTEM_ERRORS``."""
    said = str(error)
    if isinstance(error, MemoryError):
        return f"there isn't enough memory for this{said and f' ({said})'}; free some, or ask for something smaller"
    if isinstance(error, RecursionError):
        return "this is nested too deep"
    if isinstance(error, FileNotFoundError) and error.filename is None:  # of the working folder there's no name
        return "the working folder is gone; go to another one (cd)"
    return said
