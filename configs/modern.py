"""YOLACT-550 with ResNet-50 and newer ways to train it, none of them in the original.

    python train.py --config configs/modern.py --workdir runs/modern

One anchor of four strides a cell, assigned by ATSS with mask-aware overlap; masks to
learn that say which share of a cell is covered, and a least area in their loss; a
cosine schedule; the moving average of the weights. `docs/modern.md` explains each and
what it gives.
"""

from yolact_jax.zoo.specs import load_config


def get_config():
    return load_config("modern")
