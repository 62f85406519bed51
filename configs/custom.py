"""Your own data: any json in COCO format with its images; see docs/data.md.

    python train.py --config configs/custom.py --workdir runs/custom

The classes are read from the json file.  Starts from the model of configs/coco.py with
a smaller backbone, for some hundreds or thousands of images.
"""

from yolact_jax.zoo.specs import load_config


def get_config():
    return load_config("custom")
