"""Losses of the assembled masks: their pixels, and YOLACT++'s prediction of their IoU.

The functions take one image and return an unnormalized sum, as in `losses.terms`.
"""

import flax.struct
import jax
import jax.numpy as jnp
import optax

from yolact_jax.ops import boxes as box_ops
from yolact_jax.ops import masks as mask_ops
from yolact_jax.ops import matching
from yolact_jax.ops.largest import largest

_LOG_FLOOR = -100.0
_LEAST_VARIANCE = 1e-12


@flax.struct.dataclass
class MaskSelection:
    """Masks of the N positive anchors of an image that enter the mask losses.

    Attributes:
      predicted: [N, Hp, Wp] float32, soft masks, 0 outside the padded box.
      target: [N, Hp, Wp] float32, 0 or 1, or the share of each cell that is covered.
      boxes: [N, 4] float32, of the objects.
      labels: [N] int32, of the objects.
      valid: [N] bool, whether the slot holds a mask.
      scale: float32 scalar, positives for which each valid slot stands.
    """

    predicted: jax.Array
    target: jax.Array
    boxes: jax.Array
    labels: jax.Array
    valid: jax.Array
    scale: jax.Array


def select_masks(
    prototypes: jax.Array,
    coefficients: jax.Array,
    matches: matching.Matches,
    boxes: jax.Array,
    masks: jax.Array,
    priority: jax.Array,
    *,
    max_masks: int,
) -> MaskSelection:
    """Assembles the masks of positive anchors, cropped to their objects.

    With more than `max_masks` positives, those of highest `priority` stand for all.

    Args:
      prototypes: [Hp, Wp, K] float32.
      coefficients: [A, K] float32.
      matches: the matches of the image.
      boxes: [G, 4] float32, ground truth.
      masks: [G, Hp, Wp], ground truth, in [0, 1], any dtype.
      priority: [A] float32, at least 0, random.
      max_masks: positives that enter the loss.

    Returns:
      The selection, with N = min(max_masks, A) slots.
    """
    max_masks = min(max_masks, priority.size)
    rank, anchor = largest(jnp.where(matches.positive, priority, -1.0), max_masks)
    target_index = matches.object_index[anchor]
    target_boxes = boxes[target_index]
    predicted = mask_ops.assemble_masks(prototypes, coefficients[anchor])
    num_positive = jnp.sum(matches.positive)
    return MaskSelection(
        predicted=mask_ops.crop_masks(predicted, target_boxes),
        target=masks[target_index].astype(jnp.float32),
        boxes=target_boxes,
        labels=jnp.maximum(matches.class_target[anchor] - 1, 0),
        valid=rank >= 0,
        scale=num_positive / jnp.clip(num_positive, 1, max_masks),
    )


def mask_pixel_loss(selection: MaskSelection, *, min_cells: float = 0.0) -> jax.Array:
    """Binary cross entropy of assembled masks inside the ground-truth boxes.

    Per positive anchor the pixel costs are summed and divided by the area of the box,
    but at least by `min_cells`, both in prototype pixels.  Returns a float32 scalar,
    summed over the positive anchors.
    """
    height, width = selection.predicted.shape[1:]
    pixel_loss = binary_cross_entropy(selection.predicted, selection.target)
    box_area = jnp.maximum(box_ops.area(selection.boxes) * height * width, min_cells)
    box_area = jnp.where(selection.valid, box_area, 1.0)
    per_mask = jnp.sum(pixel_loss, axis=(1, 2)) / box_area
    return jnp.sum(jnp.where(selection.valid, per_mask, 0.0)) * selection.scale


def mask_iou_loss(
    selection: MaskSelection, ious: jax.Array, *, min_area: int = 25
) -> jax.Array:
    """Smooth L1 loss of the predicted overlap of masks with their objects (YOLACT++).

    The gradient reaches the masks as well as the scoring network.  The sum is not
    scaled up when masks are left out, unlike that of `mask_pixel_loss`.

    Args:
      selection: from `select_masks`.
      ious: [N, C] float32, predicted of its masks, in each class.
      min_area: objects of this many prototype pixels or fewer are left out.
    """
    predicted = jnp.take_along_axis(ious, selection.labels[:, None], axis=1)[:, 0]
    hard = (selection.predicted > 0.5).astype(jnp.float32)
    intersection = jnp.sum(hard * selection.target, axis=(1, 2))
    area = jnp.sum(selection.target, axis=(1, 2))
    union = jnp.sum(hard, axis=(1, 2)) + area - intersection
    counts = selection.valid & (area > min_area)
    iou = intersection / jnp.where(counts, union, 1.0)
    error = jnp.where(counts, predicted - iou, 0.0)
    return jnp.sum(optax.huber_loss(error, delta=1.0))


@jax.custom_jvp
def binary_cross_entropy(probability: jax.Array, target: jax.Array) -> jax.Array:
    """Cross entropy of probabilities, at most 100 per pixel.

    Args:
      probability: float32 in [0, 1], any shape.
      target: float32 in [0, 1], same shape; a constant for the gradient.

    Returns:
      float32 of the same shape.  Its derivative is that of PyTorch, with which the
      published models were trained: ``(p - t) / max(p (1 - p), 1e-12)``, finite
      everywhere.  Behind a sigmoid it vanishes as the probability reaches 0 or 1.
    """
    return -(
        target * _floored_log(probability)
        + (1 - target) * _floored_log(1 - probability)
    )


@binary_cross_entropy.defjvp
def _binary_cross_entropy_jvp(primals, tangents):
    probability, target = primals
    variance = jnp.maximum(probability * (1 - probability), _LEAST_VARIANCE)
    slope = (probability - target) / variance
    return binary_cross_entropy(probability, target), slope * tangents[0]


def _floored_log(x: jax.Array) -> jax.Array:
    return jnp.where(x > 0, jnp.maximum(jnp.log(x), _LOG_FLOOR), _LOG_FLOOR)
