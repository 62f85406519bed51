"""Checks of a config, each answered by one sentence naming the field."""

from collections.abc import Collection, Iterator

from ml_collections import ConfigDict

_SHAPES_FIELDS = (
    "shapes_train_images",
    "shapes_validation_images",
    "shapes_image_size",
    "shapes_seed",
)
_FIELDS = {
    "data": (
        "dataset source_dir records_dir train_annotations train_images "
        "validation_annotations validation_images skip_bad input_size max_objects "
        "num_workers mask_target"
    ),
    "augment": (
        "photometric expand crop mirror flip_vertical large_scale_jitter "
        "copy_paste_probability mosaic_probability min_object_px"
    ),
    "model": (
        "backbone backbone_width features num_prototypes deformable_interval mask_iou "
        "freeze_bn compute_dtype winograd remat"
    ),
    "anchors": "scales_px aspect_ratios square",
    "loss": (
        "class_weight box_weight mask_weight semantic_weight mask_iou_weight "
        "min_mask_cells min_mask_area negative_ratio max_masks positive_iou negative_iou crowd_iou"
    ),
    "optimizer": (
        "learning_rate warmup_rate warmup_steps decay_steps decay_factor momentum "
        "weight_decay clip_norm scale_with_batch"
    ),
    "train": (
        "batch_size accumulate_steps ema_decay num_steps seed init_weights "
        "log_every_steps checkpoint_every_steps keep_checkpoints eval_every_steps "
        "max_bad_steps tensorboard profile_steps"
    ),
    "eval": (
        "candidate_threshold iou_threshold nms class_agnostic top_k max_detections "
        "batch_size max_images sample_images"
    ),
}
_CHOICES = {
    "data.dataset": ("coco", "coco2017", "coco2014", "sbd", "shapes"),
    "data.mask_target": ("original", "center"),
    "model.freeze_bn": ("auto", "yes", "no"),
    "model.compute_dtype": ("float32", "bfloat16"),
    "model.mask_iou": (False, True),
    "model.winograd": ("auto", "yes", "no"),
    "eval.class_agnostic": (False, True),
    "train.tensorboard": ("auto", "yes", "no"),
    "model.remat": (False, True),
}
_POSITIVE = [
    "data.max_objects",
    "model.backbone_width",
    "model.features",
    "model.num_prototypes",
    "loss.max_masks",
    "train.batch_size",
    "train.accumulate_steps",
    "train.num_steps",
    "train.log_every_steps",
    "train.checkpoint_every_steps",
    "train.keep_checkpoints",
    "train.max_bad_steps",
    "eval.top_k",
    "eval.max_detections",
    "eval.batch_size",
    "optimizer.learning_rate",
]
_NOT_NEGATIVE = [
    "train.eval_every_steps",
    "train.profile_steps",
    "loss.min_mask_cells",
    "augment.min_object_px",
]
_FRACTIONS = [
    "augment.copy_paste_probability",
    "augment.mosaic_probability",
    "loss.positive_iou",
    "loss.negative_iou",
    "loss.crowd_iou",
    "optimizer.momentum",
    "eval.candidate_threshold",
    "eval.iou_threshold",
]
_MIN_INPUT_SIZE = 32
# Five convolutions of stride 2 without padding need prototypes of 63 pixels.
_MIN_MASK_IOU_INPUT_SIZE = 249


def check_config(
    config: ConfigDict,
    backbones: Collection[str],
    nms_variants: Collection[str],
    num_levels: int,
    num_devices: int,
) -> None:
    """Refuses a config that cannot work.

    Args:
      config: the whole config.
      backbones: names of the known backbones.
      nms_variants: names of the known kinds of NMS.
      num_levels: pyramid levels that need anchors.
      num_devices: devices that share a batch.

    Raises:
      ValueError: naming the first wrong field, what it is and what is allowed.
    """
    _check_names(config)
    known = {"model.backbone": tuple(backbones), "eval.nms": tuple(nms_variants)}
    for field, allowed in (_CHOICES | known).items():
        _require(config, field, lambda v, a=allowed: v in a, f"one of {allowed}")
    for field in _POSITIVE:
        _require(config, field, lambda v: v > 0, "greater than 0")
    for field in _NOT_NEGATIVE:
        _require(config, field, lambda v: v >= 0, "0 or greater")
    for field in _FRACTIONS:
        _require(config, field, lambda v: 0 <= v <= 1, "between 0 and 1")
    _check_model(config)
    _require(
        config,
        "loss.negative_iou",
        lambda v: v <= config.loss.positive_iou,
        f"at most config.loss.positive_iou, {config.loss.positive_iou}",
    )
    _require(config, "train.ema_decay", lambda v: 0 <= v < 1, "0 or more, and below 1")
    _check_batch(config, num_devices)
    _check_anchors(config, num_levels)


def _check_batch(config: ConfigDict, num_devices: int) -> None:
    parts = config.train.accumulate_steps
    reason = f", times config.train.accumulate_steps, {parts}" if parts > 1 else ""
    _require(
        config,
        "train.batch_size",
        lambda v: v % (num_devices * parts) == 0,
        f"a multiple of the {num_devices} devices that share a batch{reason}",
    )


def _check_model(config: ConfigDict) -> None:
    least = _MIN_MASK_IOU_INPUT_SIZE if config.model.mask_iou else _MIN_INPUT_SIZE
    reason = " with config.model.mask_iou" if config.model.mask_iou else ""
    _require(
        config,
        "data.input_size",
        lambda v: v >= least,
        f"at least {least} pixels{reason}",
    )
    _require(
        config,
        "model.deformable_interval",
        lambda v: v == 0 or (v > 0 and config.model.backbone.startswith("resnet")),
        f"0, or greater with a ResNet backbone (here {config.model.backbone})",
    )
    _require(
        config,
        "model.winograd",
        lambda v: v != "yes" or config.model.compute_dtype == "float32",
        "'auto' or 'no' unless config.model.compute_dtype is 'float32'",
    )


def _check_names(config: ConfigDict) -> None:
    unknown = sorted(set(config) - set(_FIELDS))
    missing = sorted(set(_FIELDS) - set(config))
    for section in sorted(set(config) & set(_FIELDS)):
        known = set(_FIELDS[section].split())
        if section == "data" and config.data.get("dataset") == "shapes":
            known |= set(_SHAPES_FIELDS)
        unknown += (f"{section}.{f}" for f in sorted(set(config[section]) - known))
        missing += (f"{section}.{f}" for f in sorted(known - set(config[section])))
    for kind, names in (("has an unknown", unknown), ("lacks the", missing)):
        if names:
            raise ValueError(
                f"The config {kind} field config.{names[0]}; configs/coco.py lists "
                f"and explains all fields."
            )


def _require(config: ConfigDict, field: str, allowed, description: str) -> None:
    section, name = field.split(".")
    value = config[section][name]
    try:
        ok = allowed(value)
    except TypeError:
        ok = False
    if not ok:
        raise ValueError(f"config.{field} is {value!r}; it must be {description}.")


def _check_anchors(config: ConfigDict, num_levels: int) -> None:
    scales = config.anchors.scales_px
    sizes: Iterator[int] = (len(level) for level in scales)
    if len(scales) != num_levels or len(set(sizes)) != 1:
        raise ValueError(
            f"config.anchors.scales_px is {scales}; it must be {num_levels} tuples of "
            f"equal length, the anchor sides of levels P3 to P{num_levels + 2}."
        )
