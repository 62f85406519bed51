"""`yolact_resnet50`: the base model with the smaller ResNet-50.

    python evaluate.py --config configs/yolact_resnet50.py --weights yolact_resnet50

Published: 28.2 mask AP on COCO test-dev, 42.5 images/s on a Titan Xp.
"""

from yolact_jax.zoo.specs import load_config


def get_config():
    return load_config("yolact_resnet50")
