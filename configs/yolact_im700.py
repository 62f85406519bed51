"""`yolact_im700`: the base model at 700 pixels, for accuracy.

    python evaluate.py --config configs/yolact_im700.py --weights yolact_im700

Published: 31.2 mask AP on COCO test-dev, 23.6 images/s on a Titan Xp.
"""

from configs import coco


def get_config():
    config = coco.get_config()
    config.data.input_size = 700
    # The base scales times 700 / 550, cut to whole pixels as in the original.
    config.anchors.scales_px = ((30.0,), (61.0,), (122.0,), (244.0,), (488.0,))
    config.loss.max_masks = 300
    return config
