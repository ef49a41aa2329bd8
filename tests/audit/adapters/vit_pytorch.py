from vit_pytorch.mobile_vit import MobileViT

PACKAGE = "vit-pytorch"


def build(config, size):
    expansions = config.neck_hidden_sizes
    stem, first, second = expansions[:3]
    return MobileViT(
        size,
        dims=list(config.hidden_sizes),
        channels=[stem, first, second, second, *(n for n in expansions[3:6] for _ in range(2)), expansions[6]],
        num_classes=config.num_labels,
        expansion=int(config.expand_ratio),
    ).eval()
