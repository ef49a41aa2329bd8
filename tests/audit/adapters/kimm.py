import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import kimm

PACKAGE = "kimm"


def build(config, size):
    return kimm.models.MobileViTXXS(
        input_shape=(*size, config.num_channels),
        include_preprocessing=False,
        classifier_activation=None,
        classes=config.num_labels,
        weights=None,
    )
