"""`yolact_resnet50_pascal`: ResNet-50 on Pascal VOC with SBD's masks, 20 classes.

    python train.py --config configs/yolact_resnet50_pascal.py --workdir runs/pascal
    python evaluate.py --config configs/yolact_resnet50_pascal.py --weights FILE.pth

Expects the unpacked archive of SBD; `--config.data.source_dir ""` downloads it,
1.4 GB.  Its Matlab files need scipy: `pip install -e '.[sbd]'`.
Published: 72.3 mask AP50, 56.2 mask AP70 on the SBD validation images.
"""

from yolact_jax.zoo.specs import load_config


def get_config():
    return load_config("yolact_resnet50_pascal")
