"""NMS among the best (anchor, class) pairs, with a proof that no other one matters."""

import jax
import jax.numpy as jnp

from yolact_jax.ops.nms import rules
from yolact_jax.ops.nms.per_class import Kept, best, entries


def best_pairs_nms(
    boxes: jax.Array,
    scores: jax.Array,
    *,
    rule: rules.Rule,
    score_threshold: jax.Array | float,
    iou_threshold: jax.Array | float,
    top_k: int,
    max_detections: int,
    pairs: int,
) -> tuple[Kept, jax.Array]:
    """Does what `per_class_nms` does, but looks only at the best pairs of all classes.

    Sort all pairs by decreasing score, equal ones by class and then by anchor.  Both
    ways below order pairs so, because `jax.lax.top_k` puts the first of equals first.
    The list P of the best ``pairs`` of them is a prefix of this order, hence:

    1. All pairs of a class that are better than a pair in P are in P too, in order.
       So its rank in its class is known, and with it whether the limit ``top_k``
       excludes it.  Excluded pairs come after all that enter, so they may stay in the
       list: they only drop pairs that are excluded themselves.
    2. A rule of `ops.nms.rules` decides on a pair by the better ones of its class.  So
       it decides in P as it does in the list of the class.
    3. All pairs outside of P come after all survivors in P.  If there are at least
       ``max_detections`` survivors in P, the first of them are the result.  If P
       holds all the pairs there are, its survivors are the result whatever their
       number.

    In any other case ``exact`` is False, and the result must not be used.

    Args:
      boxes: [A, 4] float32.
      scores: [A, C] float32 in [0, 1], without the background.
      rule: one of `ops.nms.rules`; not one that lowers scores, which reorders pairs.
      score_threshold: scalar, may be traced.
      iou_threshold: scalar, may be traced.
      top_k: boxes per class that enter suppression, the best.
      max_detections: D, detections kept over all classes.
      pairs: how many pairs to look at.

    Returns:
      The kept detections, and [] bool ``exact``, whether they are those of
      `per_class_nms`.
    """
    class_scores = entries(scores, score_threshold)
    num_anchors = class_scores.shape[1]
    pairs = min(pairs, class_scores.size)
    ranking, index = jax.lax.top_k(class_scores.reshape(-1), pairs)
    # Not `ranking[-1] < 0`: a slice of it, and XLA sorts everything on a CPU.
    complete = (pairs == class_scores.size) | jnp.any(ranking < 0)
    labels, anchors = index // num_anchors, index % num_anchors
    if pairs > top_k:
        ranking = jnp.where(rank_among_equals(labels) < top_k, ranking, -1.0)
    survivors = rule(jnp.asarray(boxes)[anchors], ranking, iou_threshold, labels)
    kept = best(survivors, labels, anchors, max_detections)
    return kept, jnp.all(kept.valid) | complete


def rank_among_equals(labels: jax.Array) -> jax.Array:
    """Counts, for each of [N] labels of at least 0, the equal ones before it: [N]."""
    size = len(labels)
    index = jnp.arange(size, dtype=jnp.int32)
    # One key, unique: faster on a CPU than a stable sort of two arrays.
    grouped, order = jnp.divmod(jnp.sort(labels * size + index), size)
    first = jnp.concatenate([jnp.ones(1, bool), grouped[1:] != grouped[:-1]])
    start = jax.lax.cummax(jnp.where(first, index, 0))
    return jnp.zeros_like(index).at[order].set(index - start)
