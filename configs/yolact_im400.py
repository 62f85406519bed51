"""`yolact_im400`: the base model at 400 pixels, for speed.

    python train.py --config configs/yolact_im400.py --workdir runs/im400

No weights were published.  Published: 24.9 mask AP on COCO test-dev, 45.3 images/s on
a Titan Xp (from the paper).
"""

from configs import coco


def get_config():
    config = coco.get_config()
    config.data.input_size = 400
    # The base scales times 400 / 550, cut to whole pixels as in the original.
    config.anchors.scales_px = ((17.0,), (34.0,), (69.0,), (139.0,), (279.0,))
    return config
