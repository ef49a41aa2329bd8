"""``MobileViTConfig``, as transformers users know it.

It is the ``NetworkConfig`` that the computation reads, plus what only this class has: labels, dropout rates (kept,
never used: there is no training here), what a call returns by default, and any field it doesn't know. Attributes may
be set later; a model checks them when it's built.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from ..checkpoints import config_fields
from ..checkpoints.configurations import PROBLEM_TYPES, timm_alone
from ..config import GLOBAL_POOLS, NetworkConfig, check_num_labels
from ..errors import ConfigError
from ..formats.files import json_text, read_json, write_file, write_files
from ..formats.hub import CONFIG_FILE
from ..preprocess.settings import is_timm_config
from .keywords import check_saving, sorted_out

_BY_POSITION = (
    "num_channels", "image_size", "patch_size", "hidden_sizes", "neck_hidden_sizes", "num_attention_heads",
    "mlp_ratio", "expand_ratio", "hidden_act", "conv_kernel_size", "output_stride", "hidden_dropout_prob",
    "attention_probs_dropout_prob", "classifier_dropout_prob", "initializer_range", "layer_norm_eps", "qkv_bias",
    "aspp_out_channels", "atrous_rates", "aspp_dropout_prob", "semantic_loss_ignore_index",
)  # fmt: skip
_OF_ALL_MODELS = {  # what every configuration has in transformers, and its usual value, which files leave out
    "output_hidden_states": False, "output_attentions": False, "return_dict": True, "problem_type": None,
    "architectures": None, "id2label": {0: "LABEL_0", 1: "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1},
}  # fmt: skip
_LABELS = ("num_labels", "id2label", "label2id")  # fields for which None asks for nothing
Config = TypeVar("Config", bound="MobileViTConfig")


@dataclass(init=False, repr=False, eq=False)
class MobileViTConfig(NetworkConfig):
    """The configuration of a model: every field and default of transformers' MobileViTConfig (the small variant).

    ``id2label``, ``label2id`` and ``num_labels`` go together as there: ``num_labels`` is the length of ``id2label``,
    and setting it to another number makes new names (``LABEL_0``, ...). Without any of them there are two labels.
    Unknown fields are kept, as attributes and in the file. The fields of transformers' page may be given by position,
    in its order. Raises ConfigError for values that no network has.
    """

    model_type: ClassVar[str] = "mobilevit"

    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.0
    classifier_dropout_prob: float = 0.1
    initializer_range: float = 0.02
    aspp_dropout_prob: float = 0.1
    semantic_loss_ignore_index: int = 255
    output_hidden_states: bool | None = False
    output_attentions: bool | None = False
    return_dict: bool | None = True
    problem_type: str | None = None
    architectures: list[str] | None = None

    def __init__(self, *by_position: Any, **values: Any) -> None:
        values.update(_named(by_position, values))
        for field in fields(self):
            if field.name != "num_labels":
                default = field.default if field.default_factory is MISSING else field.default_factory()
                setattr(self, field.name, values.pop(field.name, default))
        self._set_labels(values.pop("id2label", None), values.pop("label2id", None), values.pop("num_labels", None))
        values.pop("model_type", None)
        self.update(values)
        self.validate()

    def _set_labels(self, id2label: Any, label2id: Any, num_labels: Any) -> None:
        self.id2label: dict[int, str] = {}
        self.label2id: dict[str, int] = {}
        if id2label is None:
            self.num_labels = 2 if num_labels is None else num_labels
        else:
            self.id2label = _numbered(id2label)
            self.label2id = {label: number for number, label in self.id2label.items()}
        if label2id is not None:
            if not isinstance(label2id, Mapping):
                raise ConfigError(f"label2id must map labels to numbers, not be {label2id!r}")
            self.label2id = dict(label2id)

    @property  # type: ignore[misc]
    def num_labels(self) -> int:
        """The number of classes. Setting another gives them new names."""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, number: int) -> None:
        check_num_labels(number)
        if number != len(self.id2label) or not self.label2id:
            self.id2label = {i: f"LABEL_{i}" for i in range(number)}
            self.label2id = {label: i for i, label in self.id2label.items()}

    @property
    def use_return_dict(self) -> bool | None:
        """The older name of ``return_dict``."""
        return self.return_dict

    @property
    def name_or_path(self) -> str:
        """Where it was opened from, as transformers' files say (``_name_or_path``); empty if they don't."""
        return str(getattr(self, "_name_or_path", ""))

    @name_or_path.setter
    def name_or_path(self, where: Any) -> None:
        self._name_or_path = str(where)

    def validate(self) -> None:
        """Raise ConfigError, naming the field, unless a model can be built from the values."""
        self.id2label = _numbered(self.id2label)
        super().validate()
        for name in ("output_hidden_states", "output_attentions", "return_dict"):
            if not isinstance(getattr(self, name), (bool, type(None))):
                raise ConfigError(f"{name} must be true or false, not {getattr(self, name)!r}")
        if self.problem_type is not None and self.problem_type not in PROBLEM_TYPES:
            raise ConfigError(f"problem_type must be one of {', '.join(PROBLEM_TYPES)}, not {self.problem_type!r}")
        if self.problem_type == "single_label_classification" and self.num_labels == 1:
            raise ConfigError("one label can't be single_label_classification; regression takes one, this two or more")
        ignored = self.semantic_loss_ignore_index
        if isinstance(ignored, bool) or not isinstance(ignored, int):
            raise ConfigError(f"semantic_loss_ignore_index must be a whole number, not {ignored!r}")

    def to_dict(self) -> dict[str, Any]:
        """A copy of every field, unknown ones included, as plain values."""
        values = {**copy.deepcopy(self.__dict__), "model_type": self.model_type}
        if self.global_pool == GLOBAL_POOLS[0]:
            del values["global_pool"]  # transformers has no such field, and averages
        return values

    def to_diff_dict(self) -> dict[str, Any]:
        """``to_dict`` without the usual values of fields that every configuration has, as transformers writes files."""
        usual = {name for name, value in _OF_ALL_MODELS.items() if getattr(self, name) == value}
        return {name: value for name, value in self.to_dict().items() if name not in {*usual, "_name_or_path"}}

    def to_json_string(self, use_diff: bool = True) -> str:
        """``to_diff_dict``, or ``to_dict``, as the text of a config.json.

        Raises ConfigError for a value that JSON can't hold, such as a function as ``hidden_act``.
        """
        if callable(self.hidden_act):
            name = getattr(self.hidden_act, "__name__", type(self.hidden_act).__name__)
            raise ConfigError(
                f"hidden_act is the function {name}, which no config.json can hold, so this configuration can't be "
                "saved; give an activation by its name"
            )
        return json_text(_with_text_keys(self.to_diff_dict() if use_diff else self.to_dict()), sort_keys=True)

    def to_json_file(self, json_file_path: str | os.PathLike[str], use_diff: bool = True) -> None:
        """Write ``to_json_string`` to a file of any name. Raises ConfigError, OutputError."""
        write_file(Path(json_file_path), self.to_json_string(use_diff).encode("utf-8"))

    def save_pretrained(self, save_directory: str | os.PathLike[str], **keywords: Any) -> None:
        """Write config.json to a folder, which is made if it's missing.

        Raises ConfigError, OutputError, and InputError for a keyword that isn't obeyed here (``push_to_hub``).
        """
        check_saving(save_directory, keywords)
        contents = {Path(save_directory, CONFIG_FILE): self.to_json_string().encode("utf-8")}
        write_files(contents, folders=[save_directory])

    def update(self, config_dict: Mapping[str, Any]) -> None:
        """Set fields to the values of a dictionary. Raises ConfigError for a method's name."""
        for name, value in config_dict.items():
            if name not in {*vars(self), "num_labels", "name_or_path"}:
                _check_name(type(self), name)
            setattr(self, name, value)

    @classmethod
    def from_dict(
        cls: type[Config], config_dict: Mapping[str, Any], *, return_unused_kwargs: bool = False, **overrides: Any
    ) -> Any:
        """A configuration from plain values, in which ``overrides`` replaces fields; other names are ignored.

        With ``return_unused_kwargs`` the result is a pair, with those others. Raises ConfigError for another model's.
        """
        known = {field.name for field in fields(cls)} | {"id2label", "label2id", "name_or_path", *config_dict}
        changes = {name: value for name, value in overrides.items() if name in known}
        values = _relabeled(config_dict, changes)
        model_type = values.get("model_type", cls.model_type)
        if model_type != cls.model_type:
            raise ConfigError(f"this configuration describes a {model_type!r}, not a {cls.model_type!r}")
        config = cls(**values)
        unused = {name: value for name, value in overrides.items() if name not in known}
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def from_json_file(cls: type[Config], json_file: str | os.PathLike[str]) -> Config:
        """A configuration from one file of any name.

        Raises CheckpointError if it can't be read, ConfigError if it describes no MobileViT.
        """
        config: Config = cls.from_dict(_json_fields(Path(json_file)))
        return config

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **keywords: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """(a config.json's fields, the keywords that don't say where it is). Raises as ``from_pretrained``."""
        place, rest = sorted_out(keywords)
        path = str(pretrained_model_name_or_path)
        if path.endswith(".json") and os.path.basename(path) != CONFIG_FILE and not os.path.isdir(path):
            return _json_fields(path), rest
        return config_fields(pretrained_model_name_or_path, **place), rest

    @classmethod
    def from_pretrained(
        cls: type[Config], pretrained_model_name_or_path: str | os.PathLike[str], **keywords: Any
    ) -> Any:
        """The configuration in a folder, a json file or a weights file, or of a name.

        ``keywords`` are fields to replace, and transformers' own: ``subfolder``, ``revision``, ``cache_dir``,
        ``token``, ``local_files_only`` and ``force_download`` say where the file is; with ``return_unused_kwargs`` the
        result is a pair, the configuration and the keywords that are none of these, which are ignored. Raises
        CheckpointError if it can't be read, ConfigError if it describes no MobileViT, InputError for what isn't done
        here.
        """
        values, rest = cls.get_config_dict(pretrained_model_name_or_path, **keywords)
        return cls.from_dict(values, **rest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MobileViTConfig) and self.__dict__ == other.__dict__

    def __repr__(self) -> str:
        values = _with_text_keys(self.to_diff_dict())
        return f"{type(self).__name__} {json.dumps(values, indent=2, sort_keys=True, default=repr)}"


def _named(by_position: tuple[Any, ...], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values given by position, by name."""
    if len(by_position) > len(_BY_POSITION):
        raise ConfigError(f"a configuration takes {len(_BY_POSITION)} values by position, not {len(by_position)}")
    named = dict(zip(_BY_POSITION, by_position, strict=False))
    if twice := sorted(named.keys() & values.keys()):
        raise ConfigError(f"{', '.join(twice)}: given by position and by name; give each once")
    return named


def _relabeled(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with ``changes``: new labels, or another number of them, replace the old ones."""
    changes = {name: value for name, value in changes.items() if value is not None or name not in _LABELS}
    number, labels, kept = changes.get("num_labels"), changes.get("id2label"), values.get("id2label")
    if number is not None and labels is not None and number != len(_numbered(labels)):
        raise ConfigError(f"num_labels={number!r:.40} and an id2label of {len(labels)} contradict each other; give one")
    found = {**values, **changes}
    others = labels is None and number is not None and isinstance(kept, Mapping) and len(kept) != number
    if others:
        del found["id2label"]
    if (others or labels is not None) and "label2id" not in changes:
        found.pop("label2id", None)  # the inverse of the old ones
    return found


def _with_text_keys(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """``id2label`` with text as keys, so that they're sorted as such."""
    labels = {str(number): label for number, label in values.get("id2label", {}).items()}
    return {**values, "id2label": labels} if labels else values


def _json_fields(path: str | Path) -> dict[str, Any]:
    """What a json file of any name says, timm's form translated."""
    values = read_json(path)
    return timm_alone(values) if is_timm_config(values) else values


def _numbered(id2label: Any) -> dict[int, str]:
    """``id2label`` with its keys as integers: JSON has only strings as keys."""
    try:
        return {int(number): str(label) for number, label in id2label.items()}
    except (AttributeError, TypeError, ValueError):
        raise ConfigError(f"id2label must map numbers to labels, not be {str(id2label)[:80]!r}") from None


def _check_name(cls: type, name: str) -> None:
    """Raise ConfigError for an unknown field with the name of a method, which it would hide."""
    if hasattr(cls, name) or name.startswith("__"):
        raise ConfigError(f"a configuration can't have a field called {name!r}: that name is taken")
