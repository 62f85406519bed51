"""Network, anchors and options of a config."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import NamedSharding
from ml_collections import ConfigDict

from yolact_jax.inference.detect import DetectOptions
from yolact_jax.inference.engine import Engine, make_predict_fn, prepare_variables
from yolact_jax.models import darknet, resnet
from yolact_jax.models.mask_iou import MaskIouNet
from yolact_jax.models.yolact import Yolact
from yolact_jax.ops import anchors as anchor_ops
from yolact_jax.results.predictor import Predictor

if TYPE_CHECKING:
    from yolact_jax.losses.yolact import LossOptions

BACKBONES = {
    "resnet18": resnet.ResNet18,
    "resnet50": resnet.ResNet50,
    "resnet101": resnet.ResNet101,
    "darknet53": darknet.DarkNet53,
}
_MIN_BATCH_FOR_BN = 6


def freezes_bn(config: ConfigDict) -> bool:
    """Whether batch normalisation keeps its stored statistics while training.

    By itself only for small batches, whose statistics are poor, and only if there are
    pretrained statistics to keep.
    """
    if config.model.freeze_bn == "auto":
        small = config.train.batch_size < _MIN_BATCH_FOR_BN
        return small and bool(config.train.init_weights)
    return config.model.freeze_bn == "yes"


def uses_winograd(config: ConfigDict) -> bool:
    """Whether 3x3 convolutions run as `models.winograd`: by itself on a CPU only."""
    if config.model.winograd == "auto":
        exact_enough = config.model.compute_dtype == "float32"
        return exact_enough and jax.default_backend() == "cpu"
    return config.model.winograd == "yes"


def make_model(
    config: ConfigDict, num_classes: int, *, axis_name: str | None = None
) -> Yolact:
    """Makes the network of a config.

    Args:
      config: the whole config.
      num_classes: C, foreground classes.
      axis_name: mapped device axis for batch statistics; None under `jit`.

    Returns:
      The module, without parameters.
    """
    dtype = jnp.dtype(config.model.compute_dtype)
    winograd = uses_winograd(config)
    backbone = _make_backbone(
        config,
        axis_name=axis_name,
        remat=config.model.remat,
        dtype=dtype,
        winograd=winograd,
    )
    mask_iou_net = (
        MaskIouNet(num_classes, dtype=dtype) if config.model.mask_iou else None
    )
    scales_per_level = len(config.anchors.scales_px[0])
    return Yolact(
        backbone,
        num_classes,
        anchors_per_cell=scales_per_level * len(config.anchors.aspect_ratios),
        num_prototypes=config.model.num_prototypes,
        features=config.model.features,
        freeze_bn=freezes_bn(config),
        mask_iou_net=mask_iou_net,
        dtype=dtype,
        winograd=winograd,
    )


def _make_backbone(config: ConfigDict, **options) -> nn.Module:
    # Only ResNets have deformable blocks; `validate` has seen to it.
    if config.model.deformable_interval:
        options["deformable_interval"] = config.model.deformable_interval
    make = BACKBONES[config.model.backbone]
    return make(width=config.model.backbone_width, **options)


def make_anchors(config: ConfigDict) -> np.ndarray:
    """Makes the anchors of a config, [A, 4] float32 cxcywh."""
    return anchor_ops.make_anchors(
        anchor_ops.level_sizes(config.data.input_size),
        config.anchors.scales_px,
        config.anchors.aspect_ratios,
        config.data.input_size,
        config.anchors.square,
    )


def make_loss_options(config: ConfigDict) -> "LossOptions":
    """Reads the loss section of a config."""
    # Losses need optax, which predicting does without.
    from yolact_jax.losses.yolact import LossOptions

    return LossOptions(**config.loss)


def make_detect_options(config: ConfigDict) -> DetectOptions:
    """Reads the static part of the eval section of a config."""
    return DetectOptions(
        config.eval.top_k,
        config.eval.max_detections,
        config.eval.nms,
        config.data.input_size,
        config.eval.class_agnostic,
    )


def make_predictor(
    config: ConfigDict,
    variables: dict,
    class_names: Sequence[str],
    *,
    category_ids: Sequence[int] = (),
    sharding: NamedSharding | None = None,
) -> Predictor:
    """Makes a predictor; nothing is traced or compiled before its first use.

    Args:
      config: the whole config.
      variables: parameters and batch statistics of the model.
      class_names: name of each label.
      category_ids: dataset category id of each label; 1, 2, 3 and so on by default.
      sharding: of images over several devices, which all have the variables;
        ``config.eval.batch_size`` images go to each.  None for one device.

    Returns:
      The predictor.
    """

    def make() -> Engine:
        return make_engine(config, variables, len(class_names), sharding=sharding)

    return Predictor(make, class_names, category_ids)


def make_engine(
    config: ConfigDict,
    variables: dict,
    num_classes: int,
    *,
    sharding: NamedSharding | None = None,
) -> Engine:
    """Makes what runs a model on images; arguments as for `make_predictor`.

    Raises:
      ValueError: if the variables are not those of the config's model.
    """
    model = make_model(config, num_classes)
    predict_fn = make_predict_fn(
        model,
        make_anchors(config),
        config.data.input_size,
        make_detect_options(config),
        sharding=sharding,
    )
    num_devices = 1 if sharding is None else sharding.num_devices
    return Engine(
        predict_fn,
        prepare_variables(model, variables, config.data.input_size),
        batch_size=config.eval.batch_size * num_devices,
        candidate_threshold=config.eval.candidate_threshold,
        iou_threshold=config.eval.iou_threshold,
        sharding=sharding,
    )
