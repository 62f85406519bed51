"""`yolact_base`, ResNet-101 at 550 pixels: `configs/coco.py` under its public name.

    python evaluate.py --config configs/yolact_base.py --weights yolact_base

Published: 29.8 mask AP on COCO test-dev, 33.5 images/s on a Titan Xp.
"""

from yolact_jax.zoo.specs import load_config


def get_config():
    return load_config("yolact_base")
