"""transformers' TensorFlow models with a golden's weights, and the TFLite files converted from them."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Mapping
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # transformers 4's models need the older Keras; before TensorFlow is imported
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np
import tensorflow as tf
import transformers
from port_table import SIZES, golden_and_network

transformers.logging.set_verbosity_error()

CLASSES = {
    "backbone": transformers.TFMobileViTModel,
    "classifier": transformers.TFMobileViTForImageClassification,
    "segmenter": transformers.TFMobileViTForSemanticSegmentation,
}
LEAVES = {  # Keras' names of parameters -> ours
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def new_model(task: str, variant: str = "xx_small") -> Any:
    """transformers' model for a task, with the golden's weights."""
    golden, network = golden_and_network(task, variant)
    config = transformers.MobileViTConfig(**{**golden.config, "image_size": SIZES[task]})
    model = CLASSES[task](config)
    model(tf.constant(golden.tensors["pixel_values"].astype(np.float32)))
    load(model, network.tensors)
    return model


@functools.cache
def model_of(task: str) -> Any:
    """The same, made once: not to be changed."""
    return new_model(task)


def load(model: Any, tensors: Mapping[str, np.ndarray]) -> None:
    """Give a Keras model all of the network's weights, each to the variable of its name."""
    left = set(tensors)
    for variable in model.weights:
        *modules, leaf = variable.name.removesuffix(":0").split("/")[1:]
        name = ".".join([*modules, LEAVES[leaf]])
        array = tensors[name].astype(np.float32)
        if leaf == "kernel":
            array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        variable.assign(array)
        left.remove(name)
    assert not left, left


@functools.cache
def saved(task: str) -> str:
    """The folder of a task's SavedModel."""
    return save(model_of(task), SIZES[task])


def save(model: Any, size: int) -> str:
    """Write a SavedModel of the call alone.

    TFLiteConverter.from_keras_model writes one of the whole Keras model first: it takes five times as long, and the
    TFLite file made from it is the same, but for the byte that says what it was made from.
    """
    shape = tf.TensorSpec((None, 3, size, size), tf.float32, name="pixel_values")
    call = tf.function(lambda pixel_values: model(pixel_values), input_signature=[shape])
    module = tf.Module()
    module.held = list(model.variables)
    folder = tempfile.mkdtemp(prefix="savedmodel")
    tf.saved_model.save(module, folder, signatures={"serving_default": call})
    return folder


def convert(folder: str, quantized: bool) -> bytes:
    """A TFLite file, with the settings of the transformers page (there always quantized)."""
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    if quantized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    return bytes(converter.convert())
