"""`yolact_im700`: the base model at 700 pixels, for accuracy.

    python evaluate.py --config configs/yolact_im700.py --weights yolact_im700

Published: 31.2 mask AP on COCO test-dev, 23.6 images/s on a Titan Xp.
"""

from yolact_jax.zoo.specs import load_config


def get_config():
    return load_config("yolact_im700")
