"""Non-maximum suppression over classes, on fixed shapes (YOLACT, section 3.4)."""

import dataclasses
from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp

from yolact_jax.ops.nms import rules
from yolact_jax.structures import Array


@flax.struct.dataclass
class Kept:
    """Detections that survived suppression, best first, padded to D slots.

    Attributes:
      anchor_index: [D] int32, 0 where not valid.
      labels: [D] int32, foreground classes from 0; 0 where not valid.
      scores: [D] float32, 0 where not valid.
      valid: [D] bool.
    """

    anchor_index: jax.Array
    labels: jax.Array
    scores: jax.Array
    valid: jax.Array


def nothing(max_detections: int) -> Kept:
    """Returns [D] empty slots."""
    zeros = jnp.zeros(max_detections, jnp.int32)
    return Kept(zeros, zeros, zeros.astype(jnp.float32), zeros.astype(bool))


def fast_nms(
    boxes: jax.Array,
    scores: jax.Array,
    *,
    score_threshold: jax.Array | float,
    iou_threshold: jax.Array | float,
    top_k: int,
    max_detections: int,
) -> Kept:
    """Suppresses, per class, every box that overlaps a better one too much.

    A box is dropped if its IoU with any better box exceeds ``iou_threshold``, that is
    any entry above the diagonal of its column of the IoU matrix of the sorted boxes.
    Unlike in sequential NMS, a suppressed box still suppresses others.  Arguments as
    in `per_class_nms`.
    """
    return per_class_nms(
        boxes,
        scores,
        rule=rules.fast,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        top_k=top_k,
        max_detections=max_detections,
    )


def per_class_nms(
    boxes: jax.Array,
    scores: jax.Array,
    *,
    rule: rules.Rule,
    score_threshold: jax.Array | float,
    iou_threshold: jax.Array | float,
    top_k: int,
    max_detections: int,
) -> Kept:
    """Suppresses boxes of the same class by a rule, and merges the classes.

    An anchor takes part if its best class scores above ``score_threshold``; it then
    takes part under every class, also those with tiny scores.  Equal scores are
    ordered by class, then by anchor.  A score of nan counts as absent.

    Args:
      boxes: [A, 4] float32.
      scores: [A, C] float32 in [0, 1], without the background.
      rule: what happens to the sorted boxes of a class, see `rules.Rule`.
      score_threshold: scalar, may be traced.
      iou_threshold: scalar, may be traced.
      top_k: boxes per class that enter suppression, the best.
      max_detections: D, detections kept over all classes.

    Returns:
      The kept detections in order of decreasing score.
    """
    if not len(boxes):
        return nothing(max_detections)
    boxes = jnp.asarray(boxes)
    top_k = min(top_k, scores.shape[0])
    class_scores = entries(scores, score_threshold)
    if top_k == len(boxes):
        # An entry more, the last of equals.  With none to leave out, XLA sorts instead
        # of choosing, which takes far longer on a CPU.
        class_scores = jnp.pad(class_scores, ((0, 0), (0, 1)), constant_values=-1.0)
    top_scores, top_anchors = jax.lax.top_k(class_scores, top_k)
    ranking = jax.vmap(rule, in_axes=(0, 0, None))(
        boxes[top_anchors], top_scores, iou_threshold
    )
    labels = jnp.arange(len(ranking))[:, None]
    return best(ranking, labels, top_anchors, max_detections)


def class_agnostic(
    nms: Callable[..., Kept], boxes: jax.Array, scores: jax.Array, **options
) -> Kept:
    """Runs any NMS over all classes at once, each anchor under its best class only.

    Args:
      nms: a function of boxes and scores, like `fast_nms`.
      boxes: [A, 4] float32.
      scores: [A, C] float32 in [0, 1], without the background.
      **options: further arguments of ``nms``.

    Returns:
      What ``nms`` keeps, labeled by the best class of each anchor.
    """
    scores = jnp.where(jnp.isnan(scores), -1.0, scores)
    kept = nms(boxes, jnp.max(scores, axis=-1, keepdims=True), **options)
    if not len(boxes):
        return kept
    labels = jnp.argmax(scores[kept.anchor_index], axis=-1).astype(jnp.int32)
    return dataclasses.replace(kept, labels=jnp.where(kept.valid, labels, 0))


def entries(scores: jax.Array, score_threshold: Array | float) -> jax.Array:
    """[A, C] scores to [C, A], -1 for every entry that does not take part."""
    candidate = jnp.any(scores > score_threshold, axis=-1, keepdims=True)
    # Written so that nan fails, and never reaches `top_k`, which would put it first.
    return jnp.where(candidate & (scores >= 0), scores, -1.0).T


def best(ranking, labels, anchors, max_detections: int) -> Kept:
    """Picks the best D entries of a ranking, the first of equal ones.

    Args:
      ranking: [...] float32 scores, negative for absent entries.
      labels: int32, broadcastable to ``ranking``.
      anchors: int32 of the shape of ``ranking``.
      max_detections: D.
    """
    count = min(max_detections, ranking.size)
    labels = jnp.broadcast_to(labels, ranking.shape)
    scores, index = jax.lax.top_k(ranking.reshape(-1), count)
    valid = scores >= 0
    kept = Kept(
        anchor_index=jnp.where(valid, anchors.reshape(-1)[index], 0),
        labels=jnp.where(valid, labels.reshape(-1)[index], 0),
        scores=jnp.where(valid, scores, 0.0),
        valid=valid,
    )
    padding = max_detections - count
    return jax.tree.map(lambda x: jnp.pad(x, (0, padding)), kept)
