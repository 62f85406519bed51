"""`yolact_plus_base`: YOLACT++ with ResNet-101 (Bolya et al. 2020).

    python evaluate.py --config configs/yolact_plus_base.py --weights yolact_plus_base

Adds to the base model deformable convolutions in the backbone, nine anchors per cell
and a network that predicts the quality of each mask, by which its score is corrected.
Published: 34.6 mask AP on COCO test-dev, 27.3 images/s on a Titan Xp.
"""

from yolact_jax.zoo.specs import load_config


def get_config():
    return load_config("yolact_plus_base")
