"""`yolact_im400`: the base model at 400 pixels, for speed.

    python train.py --config configs/yolact_im400.py --workdir runs/im400

No weights were published.  Published: 24.9 mask AP on COCO test-dev, 45.3 images/s on
a Titan Xp (from the paper).
"""

from yolact_jax.zoo.specs import load_config


def get_config():
    return load_config("yolact_im400")
