"""A small YOLACT for CPUs and the edge: MobileNetV4 at 384 pixels, narrow and modern.

    python train.py --config configs/modern_small.py --workdir runs/small

MobileNetV4-Conv-Small, 128 channels in FPN, ProtoNet and head, and the newer ways to
train of `configs/modern.py`. `--config.train.init_weights=mobilenetv4_conv_small`
starts from ImageNet weights. `docs/models.md` has its size and speed.
"""

from yolact_jax.zoo.specs import load_config


def get_config():
    return load_config("modern_small")
