"""Traditional NMS per class, one kept box after the other, with fixed shapes."""

import jax
import jax.numpy as jnp

from yolact_jax.ops.nms.per_class import Kept, nothing


def sequential_nms(
    boxes: jax.Array,
    scores: jax.Array,
    *,
    score_threshold: jax.Array | float,
    iou_threshold: jax.Array | float,
    input_size: float,
    max_detections: int,
) -> Kept:
    """Suppresses, per class, every box that overlaps a better kept one too much.

    The original treats one class after the other and merges.  Here each round keeps the
    best entry over all classes, which suppresses in its own class.  That keeps the same
    boxes, the best `max_detections` in as many rounds, with no limit on the boxes that
    enter.

    Lengths are counted in whole pixels of the network input, a box from pixel 3 to
    pixel 5 being 3 long, as the original's code for this variant does.

    Args:
      boxes: [A, 4] float32.
      scores: [A, C] float32 in [0, 1], without the background.
      score_threshold: an entry needs a higher score in its own class; may be traced.
      iou_threshold: overlap from which the lower score goes; may be traced.
      input_size: side of the network input, pixels.
      max_detections: D, detections kept over all classes.

    Returns:
      The kept detections in order of decreasing score.
    """
    if not len(boxes):
        return nothing(max_detections)
    boxes_px = jnp.asarray(boxes) * input_size
    remaining = jnp.where(scores > score_threshold, scores, -1.0).T  # [C, A]

    def keep_best(carry, _):
        remaining, class_best = carry
        label = jnp.argmax(class_best)
        row = remaining[label]
        anchor = jnp.argmax(row)
        score = row[anchor]
        overlapping = _pixel_iou(boxes_px[anchor], boxes_px) >= iou_threshold
        row = jnp.where(overlapping, -1.0, row).at[anchor].set(-1.0)
        remaining = remaining.at[label].set(row)
        class_best = class_best.at[label].set(jnp.max(row))
        return (remaining, class_best), (anchor, label, score)

    carry = (remaining, jnp.max(remaining, axis=1))
    _, (anchors, labels, best) = jax.lax.scan(keep_best, carry, length=max_detections)
    valid = best >= 0
    return Kept(
        anchor_index=jnp.where(valid, anchors, 0).astype(jnp.int32),
        labels=jnp.where(valid, labels, 0).astype(jnp.int32),
        scores=jnp.where(valid, best, 0.0),
        valid=valid,
    )


def _pixel_iou(box_px: jax.Array, boxes_px: jax.Array) -> jax.Array:
    """[A] overlaps of one [4] box with [A, 4] boxes, ends included in lengths."""
    box_px = box_px[None]
    top_left = jnp.maximum(box_px[:, :2], boxes_px[:, :2])
    bottom_right = jnp.minimum(box_px[:, 2:], boxes_px[:, 2:])
    intersection = jnp.prod(jnp.maximum(bottom_right - top_left + 1, 0), axis=-1)
    areas = jnp.prod(boxes_px[:, 2:] - boxes_px[:, :2] + 1, axis=-1)
    area = jnp.prod(box_px[:, 2:] - box_px[:, :2] + 1, axis=-1)
    return intersection / (area + areas - intersection)
