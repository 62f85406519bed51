"""`yolact_plus_base`: YOLACT++ with ResNet-101 (Bolya et al. 2020).

    python evaluate.py --config configs/yolact_plus_base.py --weights yolact_plus_base

Adds to the base model deformable convolutions in the backbone, nine anchors per cell
and a network that predicts the quality of each mask, by which its score is corrected.
Published: 34.6 mask AP on COCO test-dev, 27.3 images/s on a Titan Xp.
"""

from configs import coco


def get_config():
    config = coco.get_config()
    config.model.deformable_interval = 3
    config.model.mask_iou = True
    # Three anchor sizes per octave.
    config.anchors.scales_px = tuple(
        tuple(side * 2.0 ** (third / 3) for third in range(3))
        for side in (24, 48, 96, 192, 384)
    )
    config.anchors.square = False
    return config
