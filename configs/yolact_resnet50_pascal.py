"""`yolact_resnet50_pascal`: ResNet-50 on Pascal VOC with SBD's masks, 20 classes.

    python train.py --config configs/yolact_resnet50_pascal.py --workdir runs/pascal
    python evaluate.py --config configs/yolact_resnet50_pascal.py --weights FILE.pth

Expects the unpacked archive of SBD; `--config.data.source_dir ""` downloads it,
1.4 GB.  Its Matlab files need scipy: `pip install -e '.[sbd]'`.
Published: 72.3 mask AP50, 56.2 mask AP70 on the SBD validation images.
"""

from configs import yolact_resnet50


def get_config():
    config = yolact_resnet50.get_config()
    config.data.dataset = "sbd"
    config.data.source_dir = "data/sbd/benchmark_RELEASE"
    config.anchors.scales_px = ((32.0,), (64.0,), (128.0,), (256.0,), (512.0,))
    config.anchors.square = False
    config.optimizer.decay_steps = (60_000, 100_000)
    config.train.num_steps = 120_000
    return config
