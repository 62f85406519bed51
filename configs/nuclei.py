"""Nuclei in microscope images (2018 Data Science Bowl, stage 1), in COCO format.

    python train.py --config configs/nuclei.py --workdir runs/nuclei

An example of one's own data: one class, up to hundreds of small objects an image.
"""

from yolact_jax.zoo.specs import load_config


def get_config():
    return load_config("nuclei")
