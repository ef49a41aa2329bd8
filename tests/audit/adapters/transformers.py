import transformers

from mobilevit_np.config import plain_fields

PACKAGE = "transformers"


def build(config, size):
    return transformers.MobileViTForImageClassification(transformers.MobileViTConfig(**plain_fields(config))).eval()
