"""Turns a config into model, anchors, data and options; checks it first.

With the training loop this is the only reader of a config: everything else takes
typed arguments.
"""

from ml_collections import ConfigDict

from yolact_jax import config as config_checks
from yolact_jax.build.datasets import (
    make_augment_options,
    make_dataset,
    make_training_batches,
    prototype_size,
)
from yolact_jax.build.networks import (
    BACKBONES,
    freezes_bn,
    make_anchors,
    make_detect_options,
    make_engine,
    make_loss_options,
    make_model,
    make_predictor,
    uses_winograd,
)
from yolact_jax.ops import anchors as anchor_ops
from yolact_jax.ops.nms.variants import NMS_VARIANTS

__all__ = [
    "freezes_bn",
    "make_anchors",
    "make_augment_options",
    "make_dataset",
    "make_detect_options",
    "make_engine",
    "make_loss_options",
    "make_model",
    "make_predictor",
    "make_training_batches",
    "prototype_size",
    "uses_winograd",
    "validate",
]


def validate(config: ConfigDict, num_devices: int = 1) -> None:
    """Refuses a config that cannot work, before anything is built.

    Args:
      config: the whole config.
      num_devices: devices that share a batch.

    Raises:
      ValueError: naming the field, what it is and what is allowed.
    """
    config_checks.check_config(
        config, BACKBONES, NMS_VARIANTS, anchor_ops.NUM_LEVELS, num_devices
    )
