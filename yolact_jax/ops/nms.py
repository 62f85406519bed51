"""Non-maximum suppression over classes, on fixed shapes (YOLACT, section 3.4)."""

import flax.struct
import jax
import jax.numpy as jnp

from yolact_jax.ops import suppression


@flax.struct.dataclass
class Kept:
    """Detections that survived suppression, best first, padded to D slots.

    Attributes:
      anchor_index: [D] int32.
      labels: [D] int32, foreground classes from 0.
      scores: [D] float32, 0 where not valid.
      valid: [D] bool.
    """

    anchor_index: jax.Array
    labels: jax.Array
    scores: jax.Array
    valid: jax.Array


def fast_nms(
    boxes: jax.Array,
    scores: jax.Array,
    *,
    score_threshold: jax.Array | float = 0.05,
    iou_threshold: jax.Array | float = 0.5,
    top_k: int = 200,
    max_detections: int = 100,
) -> Kept:
    """Suppresses, per class, every box that overlaps a better one too much.

    A box is dropped if any entry above the diagonal of its column of the IoU matrix
    of the sorted boxes, that is its overlap with any better box, exceeds
    ``iou_threshold``.  Unlike in sequential NMS a box that is itself suppressed still
    suppresses others; nothing is sequential.  Arguments as in `per_class_nms`.
    """
    return per_class_nms(
        boxes,
        scores,
        rule=suppression.fast,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        top_k=top_k,
        max_detections=max_detections,
    )


def per_class_nms(
    boxes: jax.Array,
    scores: jax.Array,
    *,
    rule: suppression.Rule,
    score_threshold: jax.Array | float = 0.05,
    iou_threshold: jax.Array | float = 0.5,
    top_k: int = 200,
    max_detections: int = 100,
) -> Kept:
    """Suppresses boxes of the same class by a rule, and merges the classes.

    An anchor takes part if its best class scores above ``score_threshold``; it then
    takes part under every class, also those with tiny scores.

    Args:
      boxes: [A, 4] float32.
      scores: [A, C] float32 in [0, 1], without the background.
      rule: which of the sorted boxes of a class are dropped, see `suppression`.
      score_threshold: scalar, may be traced.
      iou_threshold: scalar, may be traced.
      top_k: boxes per class that enter suppression, the best.
      max_detections: D, detections kept over all classes.

    Returns:
      The kept detections in order of decreasing score.
    """
    boxes = jnp.asarray(boxes)
    top_k = min(top_k, scores.shape[0])
    candidate = jnp.max(scores, axis=-1) > score_threshold
    class_scores = jnp.where(candidate[:, None], scores, -1.0).T
    top_scores, top_anchors = jax.lax.top_k(class_scores, top_k)  # [C, top_k]
    dropped = jax.vmap(rule, in_axes=(0, None))(boxes[top_anchors], iou_threshold)
    ranking = jnp.where(dropped, -1.0, top_scores)
    return _best(ranking, top_anchors, max_detections)


def cross_class_nms(
    boxes: jax.Array,
    scores: jax.Array,
    *,
    score_threshold: jax.Array | float = 0.05,
    iou_threshold: jax.Array | float = 0.5,
    top_k: int = 200,
) -> Kept:
    """Does Fast NMS once for all classes, each anchor taking part under its best.

    Boxes of different classes suppress each other, and there is one IoU matrix
    instead of C.  As in the original nothing but `top_k` limits the result.

    Args:
      boxes: [A, 4] float32.
      scores: [A, C] float32 in [0, 1], without the background.
      score_threshold: scalar, may be traced.
      iou_threshold: scalar, may be traced.
      top_k: boxes that enter suppression.

    Returns:
      The kept detections in order of decreasing score, D = min(top_k, A).
    """
    boxes = jnp.asarray(boxes)
    best = jnp.max(scores, axis=-1)
    ranking = jnp.where(best > score_threshold, best, -1.0)
    ranking, anchors = jax.lax.top_k(ranking, min(top_k, ranking.size))
    suppressed = suppression.fast(boxes[anchors], iou_threshold)
    ranking = jnp.where(suppressed, -1.0, ranking)
    kept = _best(ranking[None], anchors[None], ranking.size)
    labels = jnp.argmax(scores[kept.anchor_index], axis=-1).astype(jnp.int32)
    return kept.replace(labels=labels)


def _best(ranking: jax.Array, anchors: jax.Array, max_detections: int) -> Kept:
    """Picks the best of [C, N] ranked entries (negative: not there) as [D] slots."""
    per_class = ranking.shape[1]
    count = min(max_detections, ranking.size)
    scores, flat_index = jax.lax.top_k(ranking.reshape(-1), count)
    valid = scores >= 0
    kept = Kept(
        anchor_index=anchors.reshape(-1)[flat_index].astype(jnp.int32),
        labels=(flat_index // per_class).astype(jnp.int32),
        scores=jnp.where(valid, scores, 0.0),
        valid=valid,
    )
    padding = max_detections - count
    return jax.tree.map(lambda x: jnp.pad(x, (0, padding)), kept)
