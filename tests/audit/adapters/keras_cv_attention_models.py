import os

os.environ.setdefault("KECAM_BACKEND", "torch")

from keras_cv_attention_models import mobilevit

PACKAGE = "keras-cv-attention-models"


def build(config, size):
    shape = (config.num_channels, *size)
    return mobilevit.MobileViT_XXS(
        input_shape=shape, num_classes=config.num_labels, classifier_activation=None, pretrained=None
    ).eval()
