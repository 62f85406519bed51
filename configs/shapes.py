"""A small YOLACT on generated shapes: minutes on a laptop, nothing to download.

python train.py --config configs/shapes.py --workdir runs/shapes
"""

from yolact_jax.zoo.specs import load_config


def get_config():
    return load_config("shapes")
