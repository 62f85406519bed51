"""The typed config: sections of checked fields, and the way in and out of it."""

from yolact_jax.config.checks import check_batch, freezes_backbone, negative_share
from yolact_jax.config.data import Augment, Data
from yolact_jax.config.describe import describe
from yolact_jax.config.fields import Section
from yolact_jax.config.frame import PADDING_RGB, InputFrame, Size, sides_of
from yolact_jax.config.network import NUM_LEVELS, Anchors, Loss, Model
from yolact_jax.config.sizes import at_size, grown_scales, training_sizes
from yolact_jax.config.training import Eval, Optimizer, Train
from yolact_jax.config.whole import (
    Config,
    from_config_dict,
    suggestion,
    to_config_dict,
)

__all__ = [
    "NUM_LEVELS",
    "PADDING_RGB",
    "Anchors",
    "Augment",
    "Config",
    "Data",
    "Eval",
    "InputFrame",
    "Loss",
    "Model",
    "Optimizer",
    "Section",
    "Size",
    "Train",
    "at_size",
    "check_batch",
    "describe",
    "freezes_backbone",
    "from_config_dict",
    "grown_scales",
    "negative_share",
    "sides_of",
    "suggestion",
    "to_config_dict",
    "training_sizes",
]
