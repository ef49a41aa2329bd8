"""The Auto classes of transformers: for a MobileViT each has one class to choose from."""

from __future__ import annotations

from typing import Any, ClassVar

from ..errors import InputError
from .configuration import MobileViTConfig
from .image_processing import MobileViTImageProcessor
from .modeling import MobileViTForImageClassification, MobileViTForSemanticSegmentation, MobileViTModel


class _Auto:
    """Opens one class, and has no instances."""

    opens: ClassVar[Any]

    def __init__(self) -> None:
        raise InputError(f"{type(self).__name__} isn't made; {type(self).__name__}.from_pretrained opens what there is")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **keywords: Any) -> Any:
        """``from_pretrained`` of the class that this one ``opens``."""
        return cls.opens.from_pretrained(pretrained_model_name_or_path, **keywords)


class _AutoModel(_Auto):
    @classmethod
    def from_config(cls, config: MobileViTConfig, **options: Any) -> Any:
        """A model with random parameters, from its configuration alone."""
        return cls.opens(config, **options)


class AutoConfig(_Auto):
    """``AutoConfig.from_pretrained(...)``: for a MobileViT always a ``MobileViTConfig``."""

    opens = MobileViTConfig

    @classmethod
    def for_model(cls, model_type: str, **values: Any) -> MobileViTConfig:
        """A configuration for that type of model. Raises ConfigError for any but "mobilevit"."""
        config: MobileViTConfig = MobileViTConfig.from_dict({"model_type": model_type, **values})
        return config


class AutoImageProcessor(_Auto):
    """``AutoImageProcessor.from_pretrained(...)``: for a MobileViT always a ``MobileViTImageProcessor``."""

    opens = MobileViTImageProcessor


class AutoModel(_AutoModel):
    """``AutoModel.from_pretrained(...)``: for a MobileViT always a ``MobileViTModel``."""

    opens = MobileViTModel


class AutoModelForImageClassification(_AutoModel):
    """For a MobileViT always a ``MobileViTForImageClassification``."""

    opens = MobileViTForImageClassification


class AutoModelForSemanticSegmentation(_AutoModel):
    """For a MobileViT always a ``MobileViTForSemanticSegmentation``."""

    opens = MobileViTForSemanticSegmentation
