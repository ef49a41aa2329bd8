import timm

PACKAGE = "timm"


def build(config, size):
    return timm.create_model("mobilevit_xxs", num_classes=config.num_labels).eval()
