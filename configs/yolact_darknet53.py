"""`yolact_darknet53`: the base model with DarkNet-53, which takes pixels in [0, 1].

    python evaluate.py --config configs/yolact_darknet53.py --weights yolact_darknet53

Published: 28.7 mask AP on COCO test-dev, 40.0 images/s on a Titan Xp.
"""

from yolact_jax.zoo.specs import load_config


def get_config():
    return load_config("yolact_darknet53")
