"""Builds model, anchors, data and predictor from a config."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import NamedSharding

from yolact_jax.config import Config, at_size, freezes_backbone, negative_share
from yolact_jax.data.opening import make_dataset as make_dataset
from yolact_jax.data.pixels import Pixels
from yolact_jax.inference import traced
from yolact_jax.inference.engine import Engine, make_predict_fn, prepare_variables
from yolact_jax.inference.find import make_find_fn
from yolact_jax.inference.inspector import Inspector
from yolact_jax.inference.options import Choices
from yolact_jax.models import darknet, mobilenet, resnet
from yolact_jax.models.arithmetic import compute_dtype, uses_winograd
from yolact_jax.models.mask_iou import MaskIouNet
from yolact_jax.models.normalize import Normalization, gray
from yolact_jax.models.yolact import Yolact
from yolact_jax.ops import anchors as anchor_ops
from yolact_jax.results.predictor import Predictor

# Predicting needs neither TFDS nor grain, which take seconds to import.
if TYPE_CHECKING:
    from yolact_jax.data import pipeline, samples
    from yolact_jax.data.records.dataset import RecordSource

BACKBONES = {
    "resnet18": resnet.ResNet18,
    "resnet50": resnet.ResNet50,
    "resnet101": resnet.ResNet101,
    "darknet53": darknet.DarkNet53,
    "mobilenetv4_small": mobilenet.MobileNet,
}
_MIN_BATCH_FOR_BN = 6


def prototype_size(config: Config) -> tuple[int, int]:
    """Height and width of the prototype masks, in pixels."""
    return anchor_ops.prototype_size(config.data.frame.size)


def make_training_batches(
    config: Config,
    source: "RecordSource",
    start_step: int,
    *,
    process_index: int = 0,
    process_count: int = 1,
) -> "pipeline.TrainingBatches":
    """Opens the endless iterator of training batches, from `start_step` on.

    Each process loads its rows of a batch.  Use it as a context manager; it yields
    dicts, see `data.pipeline.training_batches`.
    """
    from yolact_jax.data import pipeline
    from yolact_jax.data.records.cache import CachedSource

    cache = config.data.cache
    return pipeline.training_batches(
        source if cache == "no" else CachedSource(source, cache),
        start_step=start_step,
        num_workers=config.data.num_workers,
        process_index=process_index,
        process_count=process_count,
        **_sample_options(config),
    )


def seen_sample(
    config: Config, source: "RecordSource", index: int, epoch: int
) -> "tuple[int, samples.Sample]":
    """Makes again what training sees of an image in an epoch.

    Arguments, result and errors are as for `data.samples.seen_sample`.
    """
    from yolact_jax.data import samples

    return samples.seen_sample(source, index, epoch, **_sample_options(config))


def _sample_options(config: Config) -> dict[str, Any]:
    """Arguments of `data.samples` and `data.pipeline` on which samples depend."""
    return {
        "frame": config.data.frame,
        "mask_size": prototype_size(config),
        "drawn_sizes": [
            (sized.data.frame, prototype_size(sized))
            for sized in (at_size(config, side) for side in config.train.multi_scale)
        ],
        "batch_size": config.train.batch_size or 1,  # 0 as long as it is to be found.
        "max_objects": config.data.max_objects,
        "augment": config.augment,
        "mask_target": config.data.mask_target,
        "seed": config.train.seed,
        "negative_share": negative_share(config.data),
    }


def training_images(config: Config, source: "RecordSource") -> np.ndarray:
    """Chooses the images that are trained on, [n] int64 indices of a split."""
    from yolact_jax.data.selection import images_to_train_on

    return images_to_train_on(source, negative_share(config.data), config.train.seed)


def freezes_bn(config: Config) -> bool:
    """Whether batch normalization keeps its stored statistics while training.

    With "auto", only if few images go through the network at once, whose statistics are
    poor, and only if there are pretrained statistics to keep.  Always, if parts of the
    backbone are frozen.
    """
    # Only the backbone normalizes; frozen weights keep the statistics they need.
    if freezes_backbone(config.train):
        return True
    if config.model.freeze_bn == "auto":
        at_once = config.train.batch_size // config.train.accumulate_steps
        return at_once < _MIN_BATCH_FOR_BN and bool(config.train.init_weights)
    return config.model.freeze_bn == "yes"


def make_model(
    config: Config, num_classes: int, *, axis_name: str | None = None
) -> Yolact:
    """Makes the network of a config, without parameters.

    Args:
      config: the whole config.
      num_classes: C, foreground classes.
      axis_name: mapped device axis for batch statistics; None under `jit`.
    """
    dtype = jnp.dtype(compute_dtype(config))
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


def _make_backbone(config: Config, **options) -> nn.Module:
    model, data = config.model, config.data
    if model.backbone.startswith("resnet"):
        options["deformable_interval"] = model.deformable_interval
    if data.channel_mean:
        normalization = Normalization(data.channel_mean, data.channel_std)
        options["normalization"] = normalization
    elif data.channels != 3:  # Before it is measured.
        options["normalization"] = gray(data.channels)
    return BACKBONES[model.backbone](width=model.backbone_width, **options)


def make_anchors(config: Config) -> np.ndarray:
    """Makes the anchors of a config, [A, 4] float32 cxcywh."""
    return anchor_ops.make_anchors(
        anchor_ops.level_shapes(config.data.frame.size),
        config.anchors.scales_px,
        config.anchors.aspect_ratios,
        config.data.frame.size,
        config.anchors.square,
    )


def make_predictor(
    config: Config,
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
    """

    def make() -> Engine:
        return make_engine(config, variables, len(class_names), sharding=sharding)

    return Predictor(make, class_names, category_ids, Pixels.of(config.data))


def make_engine(
    config: Config,
    variables: dict,
    num_classes: int,
    *,
    sharding: NamedSharding | None = None,
) -> Engine:
    """Makes the engine that runs a model; arguments as for `make_predictor`."""
    num_devices = 1 if sharding is None else sharding.num_devices
    return Engine(
        _predict_fn(config, num_classes, sharding),
        _prepare_fn(config, num_classes, sharding)(variables),
        batch_size=config.eval.batch_size * num_devices,
        candidate_threshold=config.eval.candidate_threshold,
        iou_threshold=config.eval.iou_threshold,
        sharding=sharding,
        smallest_anchor_px=anchor_ops.smallest_side_px(config.anchors),
        channels=config.data.channels,
        frame=config.data.frame,
    )


@functools.lru_cache(maxsize=4)
def _predict_fn(config: Config, num_classes: int, sharding: NamedSharding | None):
    """Makes the program once: a model that is loaded again finds it compiled."""
    model, frame = make_model(config, num_classes), config.data.frame
    predict_fn = make_predict_fn(
        model, make_anchors(config), frame, config.eval, sharding=sharding
    )
    if sharding is not None:
        return predict_fn
    return traced.Traced(
        predict_fn, "predict", model, config.anchors, frame, config.eval
    )


@functools.lru_cache(maxsize=4)
def _prepare_fn(config: Config, num_classes: int, sharding: NamedSharding | None):
    """Makes `prepare_variables` for a config, also once."""
    model, size = make_model(config, num_classes), config.data.frame.size
    if sharding is not None:
        return lambda variables: prepare_variables(model, variables, size)

    @jax.jit
    def prepare(variables: dict) -> dict:
        return prepare_variables(model, variables, size)["prepared"]

    kept_prepare = traced.Traced(prepare, "prepare", model, size)
    return lambda variables: {**variables, "prepared": kept_prepare(variables)}


def make_inspector(config: Config, variables: dict, num_classes: int) -> Inspector:
    """Makes what looks into a model; arguments as for `make_predictor`."""
    model = make_model(config, num_classes)
    frame, anchors = config.data.frame, make_anchors(config)
    return Inspector(
        jax.jit(make_find_fn(model, anchors, frame, config.eval)),
        prepare_variables(model, variables, frame.size),
        anchors,
        Choices(
            score_thresholds=np.zeros(num_classes, np.float32),
            mask_margin=np.zeros((), np.float32),
            candidate_threshold=np.asarray(config.eval.candidate_threshold, np.float32),
            iou_threshold=np.asarray(config.eval.iou_threshold, np.float32),
        ),
        config.data.channels,
    )
