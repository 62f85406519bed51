"""`yolact_plus_resnet50`: YOLACT++ with ResNet-50 (Bolya et al. 2020).

    python evaluate.py --config configs/yolact_plus_resnet50.py \\
        --weights yolact_plus_resnet50

Published: 34.1 mask AP on COCO test-dev, 33.5 images/s on a Titan Xp.
"""

from configs import yolact_plus_base


def get_config():
    config = yolact_plus_base.get_config()
    config.model.backbone = "resnet50"
    config.model.deformable_interval = 1
    return config
