"""config.json and preprocessor_config.json of Hugging Face and timm.

A checkpoint's ``config_fields`` are in the form of transformers' config.json whatever the file was: timm's is
translated. Its preprocessing stays as found; ``preprocess`` can tell whose form it is, and interprets it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import NoneType
from typing import Any

from ..config import VARIANTS, NetworkConfig, plain_fields
from ..errors import CheckpointError, ConfigError
from ..labels import labels_for
from ..preprocess.settings import flip_said, is_timm_config, timm_settings
from .inference import IMAGE_SIZE, OUTPUT_STRIDE
from .parameter_names import CHANNEL_ORDER

NETWORK_FIELDS = tuple(field.name for field in dataclasses.fields(NetworkConfig))
ARCHITECTURES = {  # transformers' class -> task
    "MobileViTForImageClassification": "classifier",
    "MobileViTForSemanticSegmentation": "segmenter",
    "MobileViTModel": "backbone",
}
ARCHITECTURE_OF = {task: name for name, task in ARCHITECTURES.items()}
TIMM_VARIANTS = {"mobilevit_xxs": "xx_small", "mobilevit_xs": "x_small", "mobilevit_s": "small"}
TIMM_NAMES = {variant: name for name, variant in TIMM_VARIANTS.items()}
TIMM_PREPROCESSING = {  # timm's settings for the published weights
    "input_size": [3, 256, 256],
    "fixed_input_size": False,
    "interpolation": "bicubic",
    "crop_pct": 0.9,
    "crop_mode": "center",
    "mean": [0.0, 0.0, 0.0],
    "std": [1.0, 1.0, 1.0],
}
MAX_LABELS = 1 << 20
REGRESSION, SINGLE_LABEL, MULTI_LABEL = PROBLEM_TYPES = (
    "regression", "single_label_classification", "multi_label_classification",
)  # fmt: skip
_PREPROCESSING_FIELDS = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")  # timm's
_USUAL_STRIDE = ("output_stride", 32)
_IGNORED_ARGUMENTS = (  # of timm's create_model: what the shapes say too, or what changes nothing after training
    "num_classes", "in_chans", "img_size", "drop_rate", "drop_path_rate", "zero_init_last",
)  # fmt: skip


def network_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config.json says about the network, as fields of NetworkConfig; what it doesn't say is left out.

    Raises CheckpointError if it's another network's, ConfigError if a value has an impossible type.
    """
    if is_timm_config(config):
        return _timm_fields(config)
    model_type = config.get("model_type", "mobilevit")
    if model_type != "mobilevit":
        raise CheckpointError(f"its config.json describes a {model_type!s:.60}, which is not this network")
    fields = {name: config[name] for name in NETWORK_FIELDS if config.get(name) is not None}
    if (labels := labels_of(config)) is not None:
        fields["num_labels"] = len(labels)
    return fields


def _timm_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    settings = timm_settings(config)
    fields: dict[str, Any] = {}
    if (architecture := config.get("architecture", settings.get("architecture"))) is not None:
        architecture = str(architecture)[:60]
        if architecture not in TIMM_VARIANTS:
            raise CheckpointError(
                f"its config.json names timm's {architecture}, which is not this network; it would be one of "
                f"{', '.join(TIMM_VARIANTS)}"
            )
        fields.update(VARIANTS[TIMM_VARIANTS[architecture]])
    if (classes := config.get("num_classes", settings.get("num_classes"))) is not None:
        fields["num_labels"] = classes
    pool = _timm_pool(config, settings)
    if pool is not None and (pool or classes != 0):  # without classes and pooling it's the map that timm hands over
        fields["global_pool"] = pool
    return fields


def _timm_pool(config: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """timm's ``global_pool``; None if nothing says it.

    timm builds from ``model_args`` and writes the top level for information; older files have just that. Raises
    ConfigError if ``model_args`` ask for what isn't supported.
    """
    arguments = config.get("model_args") or {}
    if not isinstance(arguments, dict):
        raise ConfigError("model_args must be an object of timm's arguments")
    for name, value in arguments.items():
        if value is not None and name not in ("global_pool", *_IGNORED_ARGUMENTS) and (name, value) != _USUAL_STRIDE:
            raise ConfigError(f"timm built this network with {name[:40]}={value!r:.40}, which isn't supported")
    found = (each.get("global_pool") for each in (arguments, config, settings))
    pool = next((each for each in found if each is not None), None)
    if not isinstance(pool, str) or not pool:
        return pool
    return pool.lower().removeprefix("fast") or "avg"  # "fastmax" is "max", computed differently


def timm_preprocessing(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The preprocessing in a timm config.json, in timm's form; None if it says nothing about that."""
    settings = timm_settings(config)
    found = {name: settings[name] for name in _PREPROCESSING_FIELDS if settings.get(name) is not None}
    return {"pretrained_cfg": found} if found else None


def timm_training(saved: Mapping[str, Any]) -> dict[str, Any] | None:
    """What timm's training script saves beside the weights, in the form of its config.json; None if it's another's.

    That script builds the network from its command-line arguments, and preprocesses by those that aren't empty.
    """
    arguments = saved.get("args")
    if not isinstance(arguments, dict) or not {"model", "gp"} <= arguments.keys():
        return None
    arguments = {name: value for name, value in arguments.items() if _is_plain(value)}
    given = {name: arguments[name] for name in _PREPROCESSING_FIELDS if arguments.get(name)}
    if side := arguments.get("img_size"):
        given.setdefault("input_size", [arguments.get("in_chans") or 3, side, side])
    return {
        "global_pool": arguments.get("gp"),
        "model_args": arguments.get("model_kwargs"),
        "pretrained_cfg": {**TIMM_PREPROCESSING, **given} if given else {},
    }


def _is_plain(value: Any) -> bool:
    """Whether a command line could have given it: a pickle's lists may hold each other, and print without end."""
    parts = [*value.values()] if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
    return all(isinstance(part, (str, int, float, NoneType)) for part in parts)


def timm_alone(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a timm config.json without weights says, in the form of transformers'.

    Raises CheckpointError if it doesn't name the architecture.
    """
    fields = network_fields(config)
    if "hidden_sizes" not in fields:
        raise CheckpointError(f"it names no architecture ({', '.join(TIMM_VARIANTS)}), and there are no weights to ask")
    network = build_network(fields, "classifier")
    labels = choose_labels(config, network.num_labels, "classifier")
    return full_config(network, "classifier", labels, timm_extra(config))


def timm_extra(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of transformers' that a config.json in timm's form may have as well."""
    return {"problem_type": config["problem_type"]} if "problem_type" in config else {}


def task_of(config: Mapping[str, Any]) -> str | None:
    """The task that ``architectures`` names; None if it names none."""
    names = config.get("architectures")
    first = names[0] if isinstance(names, list) and names else None
    return ARCHITECTURES.get(first) if isinstance(first, str) else None


def problem_type_of(config: Mapping[str, Any], classes: int) -> str:
    """What a classifier's logits stand for: a config.json's ``problem_type``, or what the number of classes suggests.

    A single class that isn't a regression is a yes or no, whatever the file says: softmax would always give it 1.
    Raises ConfigError for a problem_type that doesn't exist. Source: transformers' ImageClassificationPipeline.
    """
    given = config.get("problem_type")
    if given is not None and given not in PROBLEM_TYPES:
        raise ConfigError(f"problem_type must be one of {', '.join(PROBLEM_TYPES)}, not {given!r:.80}")
    if classes == 1 and given != REGRESSION:
        return MULTI_LABEL
    return given or SINGLE_LABEL


def labels_of(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The class names in a config.json (Hugging Face's ``id2label``, timm's ``label_names``); None if it has none.

    Raises ConfigError unless they name the classes 0, 1, 2...
    """
    if is_timm_config(config):
        return _timm_labels(config)
    names = config.get("id2label")
    if names is None:
        return None
    if not isinstance(names, dict) or len(names) > MAX_LABELS:
        raise ConfigError(f"id2label must map the class numbers to names, not be a {type(names).__name__}")
    try:
        by_number = {int(key): str(name) for key, name in names.items()}
    except (TypeError, ValueError):
        raise ConfigError("id2label must map the class numbers to names; one of its keys isn't a number") from None
    if sorted(by_number) != list(range(len(names))):
        raise ConfigError(f"id2label must name each class from 0 to {len(names) - 1} once; it skips or repeats some")
    return tuple(by_number[index] for index in range(len(names)))


def _timm_labels(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    settings = timm_settings(config)
    names = config.get("label_names", settings.get("label_names"))
    texts = config.get("label_descriptions", settings.get("label_descriptions"))
    if not isinstance(names, list) or len(names) > MAX_LABELS:
        return None
    return tuple(
        str(texts.get(name, name) if isinstance(texts, dict) and isinstance(name, str) else name) for name in names
    )


def choose_labels(config: Mapping[str, Any], count: int, task: str) -> tuple[str, ...]:
    """Names for ``count`` classes: the config's, else ImageNet's or VOC's if the count fits, else numbers.

    A backbone has none, though its config.json may hold those of the network it was taken from.
    """
    labels = labels_of(config)
    if task == "backbone":
        return ()
    if labels is not None and len(labels) == count:
        return labels
    return labels_for(count, segmenter=task == "segmenter")


def full_config(
    network: NetworkConfig, task: str, labels: tuple[str, ...], extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A dictionary in the form of transformers' config.json; ``extra`` are fields of it that aren't used here."""
    config = {name: value for name, value in (extra or {}).items() if name not in ("dtype", "torch_dtype")}
    config.update(plain_fields(network))
    del config["num_labels"]  # transformers counts the labels
    config.update(architectures=[ARCHITECTURE_OF[task]], model_type="mobilevit")
    if labels:
        config["id2label"] = {str(index): label for index, label in enumerate(labels)}
        config["label2id"] = {label: index for index, label in enumerate(labels)}
    return config


def build_network(fields: Mapping[str, Any], task: str) -> NetworkConfig:
    """A NetworkConfig of the fields, completed by the task's conventions. Raises ConfigError."""
    return NetworkConfig(**{"output_stride": OUTPUT_STRIDE[task], "image_size": IMAGE_SIZE[task], **fields})


def channel_order_of(preprocessing: Mapping[str, Any] | None, scheme: str) -> str:
    """``BGR`` or ``RGB``: the order in which weights under a scheme's names take a photo's channels.

    What a preprocessor_config.json says counts, whatever the names, for weights may be trained for either order. If
    none says it, the names decide. timm's form has no field for it. Raises ConfigError.
    """
    if preprocessing is None or is_timm_config(preprocessing) or (flip := flip_said(preprocessing)) is None:
        return CHANNEL_ORDER[scheme]
    return "BGR" if flip else "RGB"


def timm_config(network: NetworkConfig, variant: str | None, labels: tuple[str, ...]) -> dict[str, Any]:
    """A config.json in timm's form; without labels it's that of a bare network.

    Raises CheckpointError if timm has no such network.
    """
    if variant is None:
        raise CheckpointError(f"timm only knows the widths of {', '.join(TIMM_VARIANTS)}; this network has others")
    return {
        "architecture": TIMM_NAMES[variant],
        "num_classes": len(labels),
        "num_features": network.neck_hidden_sizes[6],
        "global_pool": network.global_pool,
        "model_args": {"global_pool": network.global_pool},  # what timm builds from
        "pretrained_cfg": {
            "architecture": TIMM_NAMES[variant],
            **TIMM_PREPROCESSING,
            "num_classes": len(labels),
            "first_conv": "stem.conv",
            "classifier": "head.fc",
            **({"label_names": list(labels)} if labels else {}),
        },
    }
