"""What the three models of transformers' API share: parameters, files, and what scripts ask a PyTorch module for.

A model is its configuration and its tensors; no call changes either, so threads may share one. Only ``to`` and
``load_state_dict`` replace the tensors.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from ..checkpoints import check_tensors, count_parameters, init_parameters, parameter_shapes, save_checkpoint
from ..checkpoints.parameter_names import PREFIX
from ..checkpoints.parameters import COUNTER, STATISTICS
from ..checkpoints.saving import pooling_note, settings_beside
from ..config import GLOBAL_POOLS, check_pixel_values
from ..engines import Network, compile_network
from ..errors import CheckpointError, InputError, MobileViTWarning
from ..formats.dtypes import cast_floats
from ..formats.files import read_json
from ..formats.hub import PREPROCESSOR_FILE
from ..preprocess.settings import flip_said
from ..scope import Scope
from .configuration import MobileViTConfig
from .keywords import check_saving
from .loading import Request, load
from .outputs import ModelOutput
from .tensors import CPU, Device, as_numbers, as_tensors, dtype_asked, numpy_dtype

Answer = ModelOutput | tuple[Any, ...]
Model = TypeVar("Model", bound="MobileViTPreTrainedModel")


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict`` didn't find, and what it had no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Parameter(np.ndarray):
    """A parameter with what scripts ask of PyTorch's to count them."""

    requires_grad = True  # as of a parameter that training would change

    def numel(self) -> int:
        """How many numbers it holds."""
        return self.size


class MobileViTPreTrainedModel(ABC):
    """What the three models share: parameters, files, and a forward pass that can be listened to.

    ``tensors`` are the parameters by their names in a checkpoint; without them, they're random, from ``seed``, in
    ``dtype``. The network computes in the parameters' dtype, and ``pixel_values`` are cast to it. ``engine`` is
    "reference" or "fast". Raises ConfigError if the configuration describes no network, CheckpointError if the tensors
    don't fit it, InputError for another engine, or for a dtype that isn't float16, float32 or float64.
    """

    config_class = MobileViTConfig
    base_model_prefix = "mobilevit"
    main_input_name = "pixel_values"
    training = False  # always
    task: ClassVar[str]
    expand_output = True  # whether the backbone ends in its 1x1 convolution

    def __init__(
        self,
        config: MobileViTConfig,
        *,
        tensors: Mapping[str, np.ndarray] | None = None,
        seed: int = 0,
        dtype: Any = np.float32,
        engine: str = "reference",
    ) -> None:
        if not isinstance(config, MobileViTConfig):
            raise InputError(
                f"a model takes a MobileViTConfig of this library, not a {type(config).__name__}; from_pretrained "
                "opens files, and MobileViTConfig.from_dict takes what another's to_dict() gives"
            )
        config.validate()
        self.config = config
        self.name_or_path = config.name_or_path
        self._engine = engine
        self._preprocessing: dict[str, Any] | None = None  # must be saved with weights that take RGB
        if tensors is None:
            tensors = init_parameters(config, self.task, seed, numpy_dtype(dtype), expand_output=self.expand_output)
        else:
            shapes = parameter_shapes(config, self.task, expand_output=self.expand_output)
            tensors = check_tensors(tensors, shapes, where=f"what {type(self).__name__} was given")
        self._use(tensors)

    def _use(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Compute with these tensors from now on."""
        self._tensors = MappingProxyType({name: _frozen(tensor) for name, tensor in tensors.items()})
        self._scope = Scope(self._tensors)
        self._network = self._compile(self._scope)
        self._base_model: Any = None

    def __getstate__(self) -> dict[str, Any]:
        derived = ("_scope", "_network", "_base_model")  # from the tensors, by ``_use``
        state = {name: value for name, value in vars(self).items() if name not in derived}
        return {**state, "_tensors": dict(self._tensors)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._use(state["_tensors"])

    # -- files ---------------------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls: type[Model],
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *,
        config: MobileViTConfig | str | os.PathLike[str] | None = None,
        state_dict: Mapping[str, Any] | None = None,
        dtype: Any = None,
        torch_dtype: Any = None,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        prefix: str | None = None,
        seed: int = 0,
        engine: str = "reference",
        **keywords: Any,
    ) -> Any:
        """The model in a folder or file, or of a shipped name or hub id, in ``dtype``, computed by ``engine``.

        The default dtype, or "auto", is the file's, with float16 and bfloat16 widened to float32: transformers keeps
        them, but NumPy has no bfloat16. A float16 model computes in float32 and answers in float16. ``torch_dtype`` is
        the older name of ``dtype``. ``config`` is the whole configuration, or where it is; ``state_dict`` replaces the
        file's tensors; ``prefix`` chooses among several networks in a file.

        A bare model leaves a head's tensors out. A missing head is initialized from ``seed``, and with
        ``ignore_mismatched_sizes`` so is whatever has another shape, such as a head for other classes. Either gives a
        warning. With ``output_loading_info`` the result is a pair: the model, and what was missing, unexpected and
        mismatched.

        ``keywords`` replace fields of the configuration, or say where the files are: ``subfolder``, ``variant``,
        ``revision``, ``cache_dir``, ``token``, ``local_files_only``, ``force_download``. Those of transformers that
        make no difference here are accepted. Raises CheckpointError, ConfigError, InputError, MissingExtraError.
        """
        options = cls._options(keywords)
        request = Request(pretrained_model_name_or_path, cls.task, config, state_dict, prefix, seed, keywords)
        found = load(request, _one_dtype(dtype, torch_dtype), ignore_mismatched_sizes, **options)
        if options:
            options = {"expand_output": found.expand_output}
        model = cls(found.config, tensors=found.tensors, engine=engine, **options)
        model.name_or_path = os.fspath(pretrained_model_name_or_path or "")
        model._preprocessing = None if found.checkpoint is None else settings_beside(found.checkpoint)
        return (model, dataclasses.asdict(found.info)) if output_loading_info else model

    @classmethod
    def _options(cls, keywords: dict[str, Any]) -> dict[str, Any]:
        """Take the model's own options out of ``keywords``, which leaves the configuration's."""
        return {}

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        state_dict: Mapping[str, Any] | None = None,
        *,
        safe_serialization: bool = True,
        variant: str | None = None,
        **keywords: Any,
    ) -> None:
        """Write model.safetensors and config.json to a folder, both or neither.

        ``state_dict`` replaces the model's tensors, ``variant`` is part of the file's name (model.fp16.safetensors).
        Nothing is written unless ``is_main_process``. Weights that take RGB, such as timm's, get a
        preprocessor_config.json that says so, unless one that does is there. A MobileViTWarning says so if
        ``global_pool`` isn't "avg", which is all that transformers does. Raises OutputError, InputError for what isn't
        done here, such as ``push_to_hub``, ConfigError if ``hidden_act`` is a function.
        """
        check_saving(save_directory, keywords)
        if not safe_serialization:
            raise InputError("weights are written as safetensors, which transformers reads too; leave it out")
        self.config.to_json_string()  # raises if it can't be saved
        if not is_main_process:
            return
        values = {**self.config.to_dict(), "architectures": [self._architecture()], "dtype": self.dtype.name}
        for name in ("torch_dtype", "_name_or_path"):  # those of the file it was opened from
            values.pop(name, None)
        if self.config.global_pool != GLOBAL_POOLS[0] and self.task != "segmenter":
            warnings.warn(pooling_note(self.config.global_pool), MobileViTWarning, stacklevel=2)
        path, settings = Path(save_directory, PREPROCESSOR_FILE), self._preprocessing
        if settings is not None and path.is_file() and flip_said(read_json(path)) == flip_said(settings):
            settings = None
        tensors = self._tensors if state_dict is None else self._checked(state_dict, strict=True)[0]
        save_checkpoint(save_directory, tensors, values, settings, variant=variant)

    @classmethod
    def _architecture(cls) -> str:
        return cls.__name__.removeprefix("TF")

    # -- what scripts ask of a PyTorch module --------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """The tensors by name, read-only: ``load_state_dict`` replaces them."""
        return dict(self._tensors)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Compute with these tensors from now on, in the model's dtype; they may be PyTorch's.

        Unless ``strict``, missing ones keep their values, and those of other names are left out. ``assign`` makes no
        difference. Raises CheckpointError if they don't fit.
        """
        tensors, keys = self._checked(state_dict, strict)
        self._use(tensors)
        return keys

    def _checked(self, state_dict: Mapping[str, Any], strict: bool) -> tuple[dict[str, np.ndarray], IncompatibleKeys]:
        found = as_tensors(state_dict)
        missing = [name for name in self._tensors if name not in found and not name.endswith(COUNTER)]
        unexpected = [name for name in found if name not in self._tensors and not name.endswith(COUNTER)]
        if strict and (missing or unexpected):
            wrong = {"it lacks": missing, "the model has no place for": unexpected}
            said = "; ".join(f"{what} {', '.join(names[:4])}" for what, names in wrong.items() if names)
            raise CheckpointError(f"the state_dict doesn't fit: {said}; strict=False takes what does")
        kept = {name: tensor for name, tensor in found.items() if name not in unexpected}
        shapes = parameter_shapes(self.config, self.task, expand_output=self.expand_output)
        tensors = check_tensors({**self._tensors, **kept}, shapes, where="the state_dict")
        return cast_floats(tensors, self.dtype), IncompatibleKeys(missing, unexpected)

    @property
    def scope(self) -> Scope:
        """The root of the parameters, for listening to the network or wrapping parts of it (see ``scope.Scope``)."""
        return self._scope

    @property
    def dtype(self) -> np.dtype:
        """The parameters' dtype, in which it answers."""
        return next(tensor.dtype for tensor in self._tensors.values() if tensor.dtype.kind == "f")

    @property
    def device(self) -> Device:
        """The CPU, always."""
        return CPU

    @property
    def num_labels(self) -> int:
        """How many classes the head has."""
        return self.config.num_labels

    @property
    def base_model(self) -> Any:
        """The backbone as a model of its own, with the same tensors; a bare model is its own."""
        if self.task == "backbone":
            return self
        if self._base_model is None:
            from .modeling import MobileViTModel

            body = {n.removeprefix(PREFIX): each for n, each in self._tensors.items() if n.startswith(PREFIX)}
            expand = self.task == "classifier"
            self._base_model = MobileViTModel(self.config, expand, tensors=body, engine=self._engine)
        return self._base_model

    def parameters(self) -> Iterator[Parameter]:
        """The tensors that training would change."""
        return (tensor for _, tensor in self.named_parameters())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The tensors that training would change, with their names."""
        return (
            (name, tensor.view(Parameter)) for name, tensor in self._tensors.items() if not name.endswith(STATISTICS)
        )

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """How many values training would change: not BatchNorm's statistics. The arguments make no difference."""
        return count_parameters(self._tensors)

    def to(self: Model, *places: Any, device: Any = None, dtype: Any = None, **_: Any) -> Model:
        """The model itself, from now on in the dtype asked for. Raises InputError for another device or dtype.

        Raises CheckpointError if a number doesn't fit the dtype.
        """
        wanted = dtype_asked(*places, device, dtype)
        if wanted is not None and wanted != self.dtype:
            self._use(cast_floats(self._tensors, wanted))
        return self

    def half(self: Model) -> Model:
        """``to`` float16."""
        return self.to(np.float16)

    def float(self: Model) -> Model:
        """``to`` float32."""
        return self.to(np.float32)

    def double(self: Model) -> Model:
        """``to`` float64."""
        return self.to(np.float64)

    def cpu(self: Model) -> Model:
        """The model itself: it's on the CPU already."""
        return self

    def eval(self: Model) -> Model:
        """The model itself: it's always in evaluation mode."""
        return self

    def train(self: Model, mode: bool = True) -> Model:
        """The model itself, for ``train(False)``. Raises InputError for ``train()``: nothing learns here."""
        if mode:
            raise InputError("nothing learns here: these models only predict; train with PyTorch, and load the weights")
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.num_parameters():,} parameters, {self.dtype})"

    # -- computing -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def forward(self, *inputs: Any, **named: Any) -> Answer:
        """The answer to a batch."""

    def __call__(self, *inputs: Any, **named: Any) -> Answer:
        """The same as ``forward``. Raises InputError for a keyword that it doesn't take."""
        taken = [name for name in inspect.signature(self.forward).parameters if name != "self"]
        if unknown := sorted(named.keys() - set(taken)):
            raise InputError(f"{type(self).__name__} takes no {', '.join(unknown)}; it takes {', '.join(taken)}")
        return self.forward(*inputs, **named)

    def trace(self, pixel_values: Any) -> dict[str, np.ndarray]:
        """Every activation of one forward pass by its path, in order of execution; ``""`` is the model's own output.

        (B, C, H, W) -> {path: array}

        The paths are those of the modules that PyTorch's forward hooks see, with ``unfolding``, ``folding`` and
        ``probabilities`` added. Raises InputError as a call does, and for an engine that can't be listened to.
        """
        seen: dict[str, np.ndarray] = {}

        def keep(path: str, output: np.ndarray) -> None:
            seen[path] = output.copy()

        self._compile(self._scope.listen(keep))(self._pixels(pixel_values))
        return seen

    def _forward(
        self, pixel_values: Any, output_hidden_states: bool | None, output_attentions: bool | None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """The network's output, and the further fields of the answer, None unless asked for."""
        attentions: list[np.ndarray] = []

        def keep(_: str, probabilities: np.ndarray) -> None:
            attentions.append(probabilities.astype(self.dtype, copy=False))

        want_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        want_attentions = self.config.output_attentions if output_attentions is None else output_attentions
        network, states = self._network, None
        if want_attentions:
            network = self._compile(self._scope.listen(keep, "*.probabilities"))
        if want_states:
            output, states = network(self._pixels(pixel_values), hidden_states=True)
        else:
            output = network(self._pixels(pixel_values))
        return output, {
            "hidden_states": None if states is None else tuple(states),
            "attentions": tuple(attentions) if want_attentions else None,
        }

    def _compile(self, scope: Scope) -> Network:
        """This model's network in its engine. Raises InputError if that can't be listened to, or isn't there."""
        return compile_network(self._engine, self.task, scope, self.config)

    def _pixels(self, pixel_values: Any) -> np.ndarray:
        if pixel_values is None:
            raise InputError("You have to specify pixel_values: a float batch (B, C, H, W), as the processor makes it")
        if isinstance(pixel_values, Mapping):
            raise InputError("pixel_values must be an array; pass a processor's output as model(**inputs)")
        pixels = as_numbers(pixel_values, "pixel_values")
        check_pixel_values(pixels, self.config)
        with np.errstate(over="ignore"):  # a pixel that is too large shows in the answer
            return pixels.astype(self.dtype, copy=False)

    def _answer(self, output: ModelOutput, return_dict: bool | None) -> Answer:
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()


def _one_dtype(dtype: Any, torch_dtype: Any) -> Any:
    """What either name asks for as NumPy's; None for the file's own."""
    if dtype is not None and torch_dtype is not None:
        raise InputError("torch_dtype is the older name of dtype; give one of them")
    wanted = torch_dtype if dtype is None else dtype
    return None if wanted is None or (isinstance(wanted, str) and wanted == "auto") else numpy_dtype(wanted)


def _frozen(tensor: np.ndarray) -> np.ndarray:
    view = tensor.view()
    view.flags.writeable = False
    return view
