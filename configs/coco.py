"""YOLACT-550 with ResNet-101 on COCO 2017: the model published as `yolact_base`.

    python train.py --config configs/coco.py --workdir runs/coco

Its fields are the defaults that `yolact_jax/config` lists and explains; the other
configs change a few.  The data section expects the unpacked archives of https://cocodataset.org/#download:

    data/coco/annotations/instances_{train,val}2017.json
    data/coco/{train,val}2017/*.jpg

With `--config.data.dataset coco2017` they are downloaded, 20 GB, and never unpacked.

Published result: 29.8 mask AP on test-dev after 800,000 steps of 8 images.
"""

from yolact_jax.zoo.specs import load_config


def get_config():
    return load_config("coco")
