"""What both pipelines share.

Explained in tutorials/00-ten-lines.md.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, ClassVar, TypeVar

import numpy as np

from .. import ops
from ..checkpoints import Checkpoint, open_checkpoint
from ..checkpoints.configurations import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from ..checkpoints.shipped import DEFAULTS
from ..config import MAX_ATTENTION_BYTES, probability_bytes
from ..engines import compile_network
from ..errors import SYSTEM_ERRORS, CheckpointError, InputError, MobileViTError, refusal
from ..formats.dtypes import float_type
from ..labels import VOC_LABELS, imagenet_labels
from ..preprocess import PHOTO_CHANNELS, Profile, named_profile
from ..preprocess.decoding import is_many
from ..scope import Scope

P = TypeVar("P", bound="Pipeline")
T = TypeVar("T")
MAX_PIXELS = 1 << 20  # of one network input


class Pipeline:
    """A checkpoint ready for photos: what the classifier and the segmenter share."""

    task: ClassVar[str]

    def __init__(self, checkpoint: Checkpoint, *, profile: str | Profile | None = None, engine: str = "fast"):
        check_task(checkpoint, self.task)
        self.checkpoint = checkpoint
        self.profile = profile_of(checkpoint, profile)
        self._engine = engine
        self._compile()

    def _compile(self) -> None:
        self._network = compile_network(self._engine, self.task, Scope(self.checkpoint.tensors), self.checkpoint.config)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_network"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._compile()  # again: what an engine has prepared belongs to its process and its tensors

    @classmethod
    def from_pretrained(
        cls: type[P],
        where: Any = None,
        *,
        dtype: Any = np.float32,
        profile: str | Profile | None = None,
        engine: str = "fast",
        **options: Any,
    ) -> P:
        """Open a checkpoint: a file, a folder, a shipped model's name, a hub id, or None for the one we ship.

        ``dtype`` is float32 or float64. ``profile`` replaces the checkpoint's own preprocessing (a segmenter takes the
        filter, the scale, the channel order and the size from it, and never crops). ``options`` are
        ``open_checkpoint``'s (``prefix``, ``subfolder``, ``variant``, ``revision``...), and so are the errors.
        """
        wanted = float_type(dtype, ("float32", "float64"))
        checkpoint = open_checkpoint(DEFAULTS[cls.task] if where is None else where, dtype=wanted, **options)
        return cls(checkpoint, profile=profile, engine=engine)

    @property
    def labels(self) -> Sequence[str]:
        """The classes' names, in the order of the logits."""
        return self.checkpoint.labels

    @property
    def knows(self) -> str:
        """What the answers can be, in a few words."""
        return what_it_knows(self.checkpoint)

    @staticmethod
    def _answers(images: Any, stream: Callable[[Iterable[Any]], Generator[tuple[Any, Any], None, None]]) -> Any:
        """What ``stream`` makes of one image, or a list of that for several. Raises the first error."""
        many = is_many(images)
        results = []
        with closing(stream(images if many else [images])) as answers:
            for _, result in answers:
                if isinstance(result, MobileViTError):
                    raise result
                results.append(result)
        return results if many else results[0]


def several(images: Any) -> Iterator[Any]:
    """The images, one by one. Raises InputError for a single path or photo, which would give its letters or rows."""
    if not is_many(images) and getattr(images, "ndim", 0) != 4:  # a batch in one array is several, too
        raise InputError(
            "stream takes several photos, in a list or another iterable; put one into a list, and of a folder give "
            'what is in it: sorted(pathlib.Path("photos").glob("*.jpg"))'
        )
    return iter(images)


def attempt(function: Callable[..., T], *arguments: Any) -> T | MobileViTError:
    """What ``function`` returns, or an error that concerns this photo and not the others."""
    try:
        return function(*arguments)
    except MobileViTError as error:
        return error
    except SYSTEM_ERRORS as error:
        return MobileViTError(refusal(error))


def check_task(checkpoint: Checkpoint, task: str) -> None:
    """Raise InputError unless the checkpoint is for ``task``, and for photos."""
    if checkpoint.task != task:
        raise InputError(f"{checkpoint.name} is a {checkpoint.task}, not a {task}; give the weights of one")
    if not checkpoint.labels:
        raise InputError(f"{checkpoint.name} has no classes to choose from; give a {task} with some")
    if checkpoint.config.num_channels not in PHOTO_CHANNELS:
        raise InputError(f"{checkpoint.name} takes {checkpoint.config.num_channels} channels, and photos have 1 or 3")


def check_size(height: int, width: int) -> None:
    """Raise InputError if the network's input would be so big that it takes gigabytes."""
    if height * width > MAX_PIXELS:
        raise InputError(
            f"these settings would show the network a photo of {width}x{height} pixels, and {MAX_PIXELS:,} is the "
            "most here; choose a profile that makes it smaller, or scale it down"
        )


def check_memory(height: int, width: int, checkpoint: Checkpoint) -> None:
    """Raise InputError if attention over such an input would take gigabytes, in this network and dtype."""
    needed = probability_bytes(height, width, checkpoint.config, checkpoint.dtype)
    if needed > MAX_ATTENTION_BYTES:
        raise InputError(
            f"{checkpoint.name} would need {needed / 1e9:.1f} GB for one layer's attention over {width}x{height} "
            f"pixels in {checkpoint.dtype}, and {MAX_ATTENTION_BYTES / 1e9:.1f} GB is the most here; choose a profile "
            "that makes the photo smaller, or scale it down"
        )


def check_answer(logits: np.ndarray, checkpoint: Checkpoint) -> None:
    """Raise CheckpointError if logits aren't finite, which finite weights don't guarantee."""
    if not np.isfinite(logits).all():
        raise CheckpointError(
            f"{checkpoint.name} gives an answer that isn't a number: its weights are damaged, or too large for "
            f"{checkpoint.dtype}"
        )


def scores_of(logits: np.ndarray, problem_type: str) -> np.ndarray:
    """Each class's score: its probability, or a regression's number itself.

    (..., K) -> (..., K)
    """
    return _SCORES[problem_type](logits)


_SCORES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    SINGLE_LABEL: ops.softmax,
    MULTI_LABEL: ops.sigmoid,
    REGRESSION: lambda logits: logits,
}
READING = {  # how to read the scores
    SINGLE_LABEL: "",
    MULTI_LABEL: "each answer is a yes or no of its own",
    REGRESSION: "numbers, not probabilities",
}


def profile_of(checkpoint: Checkpoint, profile: str | Profile | None) -> Profile:
    """The named profile, or the one the checkpoint came with. Raises ConfigError for an unknown name."""
    if profile is None:
        return checkpoint.profile
    return profile if isinstance(profile, Profile) else named_profile(profile)


def what_it_knows(checkpoint: Checkpoint) -> str:
    """What the answers can be, in a few words: as the checkpoint's config.json says ("knows"), else from its labels."""
    said = checkpoint.config_fields.get("knows")
    if isinstance(said, str) and said:
        return f"knows {said}"
    labels = checkpoint.labels
    for known, name in ((VOC_LABELS, "Pascal VOC"), (imagenet_labels(), "ImageNet")):
        if labels == known:
            return f"knows the {len(labels)} classes of {name}"
    regression = checkpoint.problem_type == REGRESSION
    does, one, many = ("gives", "number", "numbers") if regression else ("knows", "class", "classes")
    count = f"one {one}" if len(labels) == 1 else f"{len(labels)} {many}"
    return f"{does} {count}: {', '.join(labels[:3])}{' ...' if len(labels) > 3 else ''}"
