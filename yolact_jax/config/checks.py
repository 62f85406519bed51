"""Checks of fields against each other."""

from yolact_jax.config.data import Augment, Data
from yolact_jax.config.frame import scaled_sides
from yolact_jax.config.network import NUM_LEVELS, Anchors, Loss, Model
from yolact_jax.config.training import Optimizer, Train

# Five convolutions of stride 2 without padding need prototypes of 63 pixels.
_MIN_MASK_IOU_INPUT_SIZE = 249
_MIN_INPUT_SIZE = 32


def check_model(data: Data, model: Model, train: Train) -> None:
    """Refuses a network that cannot be built.

    Raises:
      ValueError: naming the field, what it is and what is allowed.
    """
    sides = {"data.input_size": (data.input_size, min(data.frame.size))}
    if train.multi_scale:
        size = min(train.multi_scale)
        shorter = min(scaled_sides(data.frame.size, size))
        sides["train.multi_scale"] = (size, shorter)
    least, reason = _MIN_INPUT_SIZE, ""
    if model.mask_iou:
        least, reason = _MIN_MASK_IOU_INPUT_SIZE, " with config.model.mask_iou"
    for field, (value, side) in sides.items():
        if side < least:
            also = "" if side == value else f", so its shorter side {side}"
            raise ValueError(
                f"config.{field} is {value}{also}; it must be at least {least} pixels"
                f"{reason}."
            )
    if model.deformable_interval and not model.backbone.startswith("resnet"):
        raise ValueError(
            f"config.model.deformable_interval is {model.deformable_interval}; it must "
            f"be 0, or greater with a ResNet backbone (here {model.backbone})."
        )
    if model.winograd == "yes" and model.compute_dtype != "float32":
        raise ValueError(
            "config.model.winograd is 'yes'; it must be 'auto' or 'no' unless "
            "config.model.compute_dtype is 'float32'."
        )


def check_data(data: Data) -> None:
    """Refuses two sources of pictures at once, and channels that contradict others.

    Raises:
      ValueError: as for `check_model`.
    """
    negative_share(data)
    _check_channels(data)
    if data.cache == "memory" and data.num_workers:
        raise ValueError(
            f"config.data.cache is 'memory'; it must be 'disk' or 'no' with "
            f"config.data.num_workers {data.num_workers}, as each of these processes "
            f"would keep all images for itself."
        )
    if data.dir and data.dataset != "coco":
        raise ValueError(
            f"config.data.dir is {data.dir!r}; it must be empty with "
            f"config.data.dataset {data.dataset!r}, which has pictures of its own."
        )


def _check_channels(data: Data) -> None:
    """Refuses windows and statistics that do not fit the channels, or each other."""
    if data.channels != 3 and data.dataset != "coco":
        raise ValueError(
            f"config.data.channels is {data.channels}; it must be 3 with "
            f"config.data.dataset {data.dataset!r}, whose pictures are RGB."
        )
    for first, second in (
        ("window_low", "window_high"),
        ("channel_mean", "channel_std"),
    ):
        lengths = {len(getattr(data, first)), len(getattr(data, second))}
        if lengths not in ({0}, {data.channels}):
            raise ValueError(
                f"config.data.{first} is {getattr(data, first)} and config.data."
                f"{second} {getattr(data, second)}; each must be () or one number for "
                f"each of the {data.channels} channels of config.data.channels."
            )
    if any(a >= b for a, b in zip(data.window_low, data.window_high, strict=True)):
        raise ValueError(
            f"config.data.window_low is {data.window_low}; each number must be below "
            f"that of config.data.window_high, {data.window_high}."
        )
    _check_percentiles(data)


def _check_percentiles(data: Data) -> None:
    found = data.window_percentiles
    if found and (len(found) != 2 or found[0] >= found[1]):
        raise ValueError(
            f"config.data.window_percentiles is {found}; it must be () or two numbers, "
            f"the smaller one first, such as (0.1, 99.9)."
        )
    if found and data.window_low:
        raise ValueError(
            f"config.data.window_percentiles is {found}; it must be () with "
            f"config.data.window_low, which says what it would measure."
        )


def check_aspect(data: Data, augment: Augment) -> None:
    """Refuses to stretch images that training shows with their aspect ratio.

    Raises:
      ValueError: as for `check_model`.
    """
    if data.frame.letterbox:
        return
    for name in ("large_scale_jitter", "mosaic_probability"):
        if getattr(augment, name):
            raise ValueError(
                f"config.data.resize is {data.resize!r}; it must be 'letterbox' with "
                f"config.augment.{name}, which keeps the aspect ratio of images."
            )


def negative_share(data: Data) -> float:
    """Largest share of images without objects: 0 for "drop", 1 for "keep".

    Raises:
      ValueError: as for `check_model`.
    """
    words = {"drop": 0.0, "keep": 1.0}
    try:
        share = float(words.get(data.negatives, data.negatives))
    except ValueError:
        share = -1.0
    if data.negatives not in words and not 0 < share < 1:
        raise ValueError(
            f"config.data.negatives is {data.negatives!r}; it must be 'drop', 'keep' "
            f"or a number between 0 and 1, such as '0.2'."
        )
    return share


def check_anchors(anchors: Anchors) -> None:
    """Refuses levels with different numbers of anchors, or without any.

    Raises:
      ValueError: as for `check_model`.
    """
    if len({len(level) for level in anchors.scales_px}) != 1 or not all(
        anchors.scales_px
    ):
        raise ValueError(
            f"config.anchors.scales_px is {anchors.scales_px}; it must be {NUM_LEVELS} "
            f"tuples of equal length, at least 1, the anchor sides of levels P3 to "
            f"P{NUM_LEVELS + 2}."
        )
    if not anchors.aspect_ratios:
        raise ValueError(
            "config.anchors.aspect_ratios is (); it must be at least one number."
        )


def check_loss(loss: Loss) -> None:
    """Refuses overlaps that make an anchor two things, or that nothing measures.

    Raises:
      ValueError: as for `check_model`.
    """
    if loss.negative_iou > loss.positive_iou:
        raise ValueError(
            f"config.loss.negative_iou is {loss.negative_iou}; it must be at most "
            f"config.loss.positive_iou, {loss.positive_iou}."
        )
    if loss.overlap == "mask_aware" and loss.assignment != "atss":
        raise ValueError(
            "config.loss.overlap is 'mask_aware'; it must be 'box' unless "
            "config.loss.assignment is 'atss'."
        )


def check_optimizer(optimizer: Optimizer) -> None:
    """Refuses an average that AdamW could never correct for its start at 0.

    Raises:
      ValueError: as for `check_model`.
    """
    if optimizer.name == "adamw" and optimizer.momentum == 1:
        raise ValueError(
            "config.optimizer.momentum is 1.0; it must be below 1 with "
            "config.optimizer.name 'adamw'."
        )


def check_length(optimizer: Optimizer, train: Train) -> None:
    """Refuses a length of the run that is said twice, and patience without AP.

    Raises:
      ValueError: as for `check_model`.
    """
    if train.epochs and train.num_steps:
        raise ValueError(
            f"config.train.epochs is {train.epochs:g} and config.train.num_steps "
            f"{train.num_steps}; one of them must be 0."
        )
    if optimizer.decay_fractions and optimizer.decay_steps:
        raise ValueError(
            f"config.optimizer.decay_fractions is {optimizer.decay_fractions} and "
            f"config.optimizer.decay_steps {optimizer.decay_steps}; one must be ()."
        )
    if train.patience and not train.eval_every_steps:
        raise ValueError(
            f"config.train.patience is {train.patience}; it must be 0 without "
            f"evaluations, which config.train.eval_every_steps sets."
        )


def check_negatives(loss: Loss, train: Train) -> None:
    """Refuses hard negatives of empty images where parts of a batch are weighted.

    Raises:
      ValueError: as for `check_model`.
    """
    if loss.empty_negatives and train.accumulate_steps > 1:
        raise ValueError(
            f"config.loss.empty_negatives is {loss.empty_negatives}; it must be 0 with "
            f"config.train.accumulate_steps {train.accumulate_steps}, which weights "
            f"parts of a batch by their objects."
        )


def check_freezing(model: Model, train: Train) -> None:
    """Refuses to train batch normalization between frozen weights.

    Raises:
      ValueError: as for `check_model`.
    """
    if model.freeze_bn == "no" and freezes_backbone(train):
        raise ValueError(
            f"config.model.freeze_bn is 'no'; it must be 'auto' or 'yes' with "
            f"config.train.freeze {train.freeze}, as frozen weights keep the "
            f"statistics they need."
        )


def freezes_backbone(train: Train) -> bool:
    """Whether the backbone, or a part of it, does not learn."""
    return any(name.split("/")[0] == "backbone" for name in train.freeze)


def check_batch(train: Train, num_devices: int) -> None:
    """Refuses a batch that the devices, or its parts, cannot share equally.

    Raises:
      ValueError: as for `check_model`.
    """
    parts = train.accumulate_steps
    if train.batch_size % (num_devices * parts):
        reason = f", times config.train.accumulate_steps, {parts}" if parts > 1 else ""
        raise ValueError(
            f"config.train.batch_size is {train.batch_size}; it must be a multiple of "
            f"the {num_devices} devices that share a batch{reason}."
        )
