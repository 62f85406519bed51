"""The training losses of YOLACT (Bolya et al. 2019, section 3; weights as published).

The functions for one term take one image and return an unnormalised sum;
`yolact_losses` maps them over the batch, weights and normalises them.
"""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import optax

from yolact_jax.ops import boxes as box_ops
from yolact_jax.ops import masks as mask_ops
from yolact_jax.ops import matching
from yolact_jax.ops.resize import resize_bilinear
from yolact_jax.structures import Batch, Predictions

_LOG_FLOOR = -100.0


@dataclasses.dataclass(frozen=True)
class LossOptions:
    """Weights and limits of the losses; the defaults are the published ones.

    Attributes:
      class_weight: weight of the classification loss.
      box_weight: weight of the box loss.
      mask_weight: weight of the mask loss.
      semantic_weight: weight of the semantic segmentation loss.
      negative_ratio: hard negatives per positive anchor, per image.
      max_masks: positive anchors per image that enter the mask loss.
      positive_iou: least overlap of a positive anchor.
      negative_iou: overlap below which an anchor is background.
      crowd_iou: share of an anchor inside a crowd above which it is neutral.
    """

    class_weight: float = 1.0
    box_weight: float = 1.5
    mask_weight: float = 6.125
    semantic_weight: float = 1.0
    negative_ratio: int = 3
    max_masks: int = 100
    positive_iou: float = 0.5
    negative_iou: float = 0.4
    crowd_iou: float = 0.7


@flax.struct.dataclass
class Losses:
    """Weighted and normalised loss terms of a batch, float32 scalars."""

    box: jax.Array
    classification: jax.Array
    mask: jax.Array
    semantic: jax.Array

    @property
    def total(self) -> jax.Array:
        """The value that is minimised: the plain sum of the terms."""
        return self.box + self.classification + self.mask + self.semantic


def box_loss(
    box_deltas: jax.Array, target_deltas: jax.Array, positive: jax.Array
) -> jax.Array:
    """Smooth L1 loss of the encoded boxes, summed over positive anchors.

    Args:
      box_deltas: [A, 4] float32, predicted.
      target_deltas: [A, 4] float32; may be non-finite where not positive.
      positive: [A] bool.

    Returns:
      float32 scalar.
    """
    error = jnp.where(positive[:, None], box_deltas - target_deltas, 0.0)
    return jnp.sum(optax.huber_loss(error, delta=1.0))


def class_loss(
    class_logits: jax.Array, class_target: jax.Array, *, negative_ratio: int = 3
) -> jax.Array:
    """Softmax cross entropy with online hard example mining (OHEM).

    All positive anchors count, and the ``negative_ratio`` times as many background
    anchors that look least like background.

    Args:
      class_logits: [A, C + 1] float32, channel 0 is the background.
      class_target: [A] int32, as in `Matches.class_target`.
      negative_ratio: negatives per positive.

    Returns:
      float32 scalar, summed over the chosen anchors.
    """
    log_probability = jax.nn.log_softmax(class_logits)
    selected = (class_target > 0) | hard_negatives(
        log_probability[:, 0], class_target, negative_ratio
    )
    channel = jnp.maximum(class_target, 0)
    picked = jnp.take_along_axis(log_probability, channel[:, None], axis=-1)[:, 0]
    return -jnp.sum(jnp.where(selected, picked, 0.0))


def hard_negatives(
    background_log_probability: jax.Array, class_target: jax.Array, ratio: int
) -> jax.Array:
    """Chooses the background anchors that are most mistaken for objects.

    Args:
      background_log_probability: [A] float32.
      class_target: [A] int32, as in `Matches.class_target`.
      ratio: negatives per positive.

    Returns:
      [A] bool.
    """
    is_background = class_target == matching.BACKGROUND
    hardness = jnp.where(is_background, -background_log_probability, 0.0)
    hardness = jax.lax.stop_gradient(hardness)
    count = jnp.minimum(ratio * jnp.sum(class_target > 0), class_target.size - 1)
    rank = jnp.argsort(jnp.argsort(-hardness, stable=True))
    return is_background & (rank < count)


def mask_loss(
    prototypes: jax.Array,
    coefficients: jax.Array,
    matches: matching.Matches,
    boxes: jax.Array,
    masks: jax.Array,
    priority: jax.Array,
    *,
    max_masks: int = 100,
) -> jax.Array:
    """Binary cross entropy of assembled masks inside the ground-truth boxes.

    Per positive anchor the pixel costs are summed and divided by the area of the
    box in prototype pixels.  With more than `max_masks` positives, those of highest
    `priority` stand for all.

    Args:
      prototypes: [Hp, Wp, K] float32.
      coefficients: [A, K] float32.
      matches: the matches of the image.
      boxes: [G, 4] float32, ground truth.
      masks: [G, Hp, Wp], ground truth, 0 or 1, any dtype.
      priority: [A] float32 in [0, 1], random.
      max_masks: positives that enter the loss.

    Returns:
      float32 scalar, summed over the positive anchors.
    """
    height, width = prototypes.shape[:2]
    max_masks = min(max_masks, priority.size)
    rank, anchor = jax.lax.top_k(jnp.where(matches.positive, priority, -1.0), max_masks)
    chosen = rank >= 0
    target_index = matches.object_index[anchor]
    target_boxes = boxes[target_index]
    predicted = mask_ops.assemble_masks(prototypes, coefficients[anchor])
    predicted = mask_ops.crop_masks(predicted, target_boxes)
    target = masks[target_index].astype(jnp.float32)
    pixel_loss = binary_cross_entropy(predicted, target)
    box_area = box_ops.area(target_boxes) * height * width
    per_mask = jnp.sum(pixel_loss, axis=(1, 2)) / jnp.where(chosen, box_area, 1.0)
    num_positive = jnp.sum(matches.positive)
    scale = num_positive / jnp.clip(num_positive, 1, max_masks)
    return jnp.sum(jnp.where(chosen, per_mask, 0.0)) * scale


def binary_cross_entropy(probability: jax.Array, target: jax.Array) -> jax.Array:
    """Cross entropy of probabilities, no pixel costing more than 100.

    Args:
      probability: float32 in [0, 1], any shape.
      target: float32, 0 or 1, same shape.

    Returns:
      float32 of the same shape; its gradient is finite everywhere, and 0 where the
      probability is exactly 0 or 1.
    """
    return -(
        target * _floored_log(probability)
        + (1 - target) * _floored_log(1 - probability)
    )


def _floored_log(x: jax.Array) -> jax.Array:
    positive = x > 0
    # The inner `where` keeps the gradient of log(0) from becoming nan.
    log = jnp.log(jnp.where(positive, x, 1.0))
    return jnp.where(positive, jnp.maximum(log, _LOG_FLOOR), _LOG_FLOOR)


def semantic_target(
    masks: jax.Array, labels: jax.Array, is_object: jax.Array, num_classes: int
) -> jax.Array:
    """Unites the object masks of each class into a semantic segmentation.

    Args:
      masks: [G, h, w], 0 or 1, any dtype.
      labels: [G] int32.
      is_object: [G] bool.
      num_classes: C.

    Returns:
      [h, w, C] float32, 0 or 1; the classes may overlap.
    """
    one_hot = jax.nn.one_hot(labels, num_classes) * is_object[:, None]
    count = jnp.einsum("ghw,gc->hwc", masks.astype(jnp.float32), one_hot)
    return (count > 0).astype(jnp.float32)


def semantic_loss(semantic_logits: jax.Array, target: jax.Array) -> jax.Array:
    """Binary cross entropy per class and pixel: mean over pixels, sum over classes.

    Args:
      semantic_logits: [h, w, C] float32.
      target: [h, w, C] float32, 0 or 1.

    Returns:
      float32 scalar.
    """
    loss = optax.sigmoid_binary_cross_entropy(semantic_logits, target)
    return jnp.sum(loss) / (loss.shape[0] * loss.shape[1])


def yolact_losses(
    predictions: Predictions,
    batch: Batch,
    anchors_cxcywh: jax.Array,
    *,
    key: jax.Array,
    options: LossOptions,
    axis_name: str | None = None,
) -> Losses:
    """Computes all loss terms of a batch.

    Box, class and mask terms are divided by the number of positive anchors of the
    whole batch, the semantic term by the number of images.  With `axis_name` both
    counts are those of all devices, and each device returns its share of the loss:
    summing losses or gradients over devices gives those of the whole batch.

    Args:
      predictions: network outputs for the batch.
      batch: ground truth.
      anchors_cxcywh: [A, 4] float32.
      key: random key; picks the masks when an image has too many positives.
      options: weights and limits.
      axis_name: mapped device axis, if any.

    Returns:
      The weighted, normalised terms.
    """
    num_images, num_anchors = predictions.box_deltas.shape[:2]
    matches = jax.vmap(
        lambda *image: matching.match_anchors(
            *image,
            anchors_cxcywh,
            positive_iou=options.positive_iou,
            negative_iou=options.negative_iou,
            crowd_iou=options.crowd_iou,
        )
    )(batch.boxes, batch.labels, batch.is_object, batch.valid & batch.crowd)
    priority = jax.random.uniform(key, (num_images, num_anchors))
    sums = jax.vmap(lambda *image: _image_losses(*image, anchors_cxcywh, options))(
        predictions, batch, matches, priority
    )
    num_positive = jnp.sum(matches.positive)
    if axis_name is not None:
        num_positive = jax.lax.psum(num_positive, axis_name)
        num_images = num_images * jax.lax.axis_size(axis_name)
    sums = jax.tree.map(jnp.sum, sums)
    # Without any object there is nothing to divide by, and the sums are 0.
    per_positive = 1.0 / jnp.maximum(num_positive, 1)
    return Losses(
        box=options.box_weight * sums.box * per_positive,
        classification=options.class_weight * sums.classification * per_positive,
        mask=options.mask_weight * sums.mask * per_positive,
        semantic=options.semantic_weight * sums.semantic / num_images,
    )


def _image_losses(
    predictions, batch, matches, priority, anchors_cxcywh, options
) -> Losses:
    """Unweighted, unnormalised terms of one image (no leading B axis)."""
    target_deltas = box_ops.encode(batch.boxes[matches.object_index], anchors_cxcywh)
    semantic_size = predictions.semantic_logits.shape[:2]
    small_masks = resize_bilinear(batch.masks.astype(jnp.float32), semantic_size) > 0.5
    return Losses(
        box=box_loss(predictions.box_deltas, target_deltas, matches.positive),
        classification=class_loss(
            predictions.class_logits,
            matches.class_target,
            negative_ratio=options.negative_ratio,
        ),
        mask=mask_loss(
            predictions.prototypes,
            predictions.coefficients,
            matches,
            batch.boxes,
            batch.masks,
            priority,
            max_masks=options.max_masks,
        ),
        semantic=semantic_loss(
            predictions.semantic_logits,
            semantic_target(
                small_masks,
                batch.labels,
                batch.is_object,
                predictions.semantic_logits.shape[-1],
            ),
        ),
    )
