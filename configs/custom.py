"""Your own data: any json in COCO format with its images; see docs/data.md.

    python train.py --config configs/custom.py --workdir runs/custom

The classes are read from the json file.  The model is that of configs/coco.py with a
smaller backbone, ResNet-50.  Training starts from random weights; with fewer than a few
thousand images add `--config.train.init_weights=yolact_resnet50`.
"""

from yolact_jax.zoo.specs import load_config


def get_config():
    return load_config("custom")
