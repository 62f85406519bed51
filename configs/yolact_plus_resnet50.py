"""`yolact_plus_resnet50`: YOLACT++ with ResNet-50 (Bolya et al. 2020).

    python evaluate.py --config configs/yolact_plus_resnet50.py \\
        --weights yolact_plus_resnet50

Published: 34.1 mask AP on COCO test-dev, 33.5 images/s on a Titan Xp.
"""

from yolact_jax.zoo.specs import load_config


def get_config():
    return load_config("yolact_plus_resnet50")
