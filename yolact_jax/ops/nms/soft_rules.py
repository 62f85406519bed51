"""Soft rules of suppression: overlapping boxes lose score instead of being dropped.

They have the signature of `rules.Rule`.  A nan overlap, as of two equal points, counts
as 1, and a nan distance as 0.
"""

import jax
import jax.numpy as jnp

from yolact_jax.ops import boxes as box_ops
from yolact_jax.ops.nms.rules import better_and_over, survivors

MATRIX_SIGMA = 2.0
"""Of the Gaussian in Matrix NMS, as in its paper and in SOLOv2."""

SOFT_SIGMA = 0.5
"""Of the Gaussian in Soft-NMS, as in its paper."""

PENALTY_SIGMA = 0.2
"""Of the Gaussian in Cluster-NMS with the score penalty, as in its code."""

DISTANCE_POWER = 0.6
"""Of the distance of centers in Cluster-NMS with the score penalty, as in its code."""


def matrix(boxes, scores, iou_threshold, labels=None) -> jax.Array:
    """Matrix NMS (Wang et al. 2020) with its Gaussian; there is no IoU threshold."""
    del iou_threshold
    return _decayed(scores, matrix_decay(boxes, labels, sigma=MATRIX_SIGMA))


def matrix_linear(boxes, scores, iou_threshold, labels=None) -> jax.Array:
    """Matrix NMS (Wang et al. 2020), linear in the IoU; there is no threshold."""
    del iou_threshold
    return _decayed(scores, matrix_decay(boxes, labels))


def soft(boxes, scores, iou_threshold, labels=None) -> jax.Array:
    """Soft-NMS (Bodla et al. 2017) with its Gaussian; there is no IoU threshold."""
    del iou_threshold
    return _soft(boxes, scores, labels, lambda iou: jnp.exp(-(iou**2) / SOFT_SIGMA))


def soft_linear(boxes, scores, iou_threshold, labels=None) -> jax.Array:
    """Soft-NMS (Bodla et al. 2017), linear in IoUs of at least the threshold."""

    def factor(iou):
        return jnp.where(iou >= iou_threshold, 1 - iou, 1.0)

    return _soft(boxes, scores, labels, factor)


def cluster_penalty(boxes, scores, iou_threshold, labels=None) -> jax.Array:
    """Cluster-NMS with the score penalty and distance (Zheng et al. 2021, S + D).

    Box j keeps its score times ``prod_i min(exp(-IoU^2 / sigma) + D^beta, 1)``, with
    the `pairwise_distance` D, over the better boxes i that overlap it and that
    `rules.cluster` keeps.
    """
    iou = box_ops.pairwise_iou(boxes, boxes)
    kept = survivors(better_and_over(iou, iou_threshold, labels))
    iou = jnp.where(jnp.isnan(iou), 1.0, iou)
    better = jnp.triu(_same(labels, len(boxes)), k=1) & kept[:, None]
    spared = box_ops.pairwise_distance(boxes, boxes) ** DISTANCE_POWER
    spared = jnp.where(jnp.isnan(spared), 0.0, spared)
    factors = jnp.minimum(jnp.exp(-(iou**2) / PENALTY_SIGMA) + spared, 1.0)
    return _decayed(scores, jnp.prod(jnp.where(better, factors, 1.0), axis=0))


def matrix_decay(
    sorted_boxes: jax.Array,
    labels: jax.Array | None = None,
    *,
    sigma: jax.Array | float | None = None,
) -> jax.Array:
    """Factors by which Matrix NMS lowers scores, all at once.

    The factor of box j is the least, over better boxes i, of
    f(IoU(i, j)) / f(largest IoU of i with boxes better than i).

    Args:
      sorted_boxes: [N, 4] float32, by decreasing score.
      labels: [N] int32; only boxes of the same label count.  None if all are.
      sigma: f(x) = exp(-sigma x²) with a number, f(x) = 1 - x with None.

    Returns:
      [N] float32 in [0, 1]; 1 for the first box.
    """
    better = jnp.triu(_same(labels, len(sorted_boxes)), k=1)
    iou = jnp.where(better, _iou(sorted_boxes, sorted_boxes), 0.0)
    worst = jnp.max(iou, axis=0)  # of each box with the boxes better than it
    if sigma is None:
        # A box covered wholly by a better one compensates nothing: avoid 0 / 0.
        ratio = (1 - iou) / jnp.maximum(1 - worst, 1e-6)[:, None]
    else:
        ratio = jnp.exp(-sigma * (iou**2 - worst[:, None] ** 2))
    return jnp.clip(jnp.min(jnp.where(better, ratio, 1.0), axis=0), 0, 1)


def _soft(boxes, scores, labels, factor) -> jax.Array:
    """Picks the best box left, lowers the scores of the others, and so on."""
    boxes, scores = jnp.asarray(boxes), jnp.asarray(scores)
    index = jnp.arange(len(scores))

    def any_left(carry):
        return jnp.any(carry[1])

    def pick(carry):
        scores, left = carry
        best = jnp.argmax(jnp.where(left, scores, -1.0))
        left = left & (index != best)
        others = left if labels is None else left & (labels == labels[best])
        lower = scores * factor(_iou(boxes[best][None], boxes)[0])
        return jnp.where(others, lower, scores), left

    return jax.lax.while_loop(any_left, pick, (scores, scores >= 0))[0]


def _decayed(scores, factors) -> jax.Array:
    return jnp.where(jnp.asarray(scores) < 0, -1.0, scores * factors)


def _iou(a, b) -> jax.Array:
    iou = box_ops.pairwise_iou(jnp.asarray(a), jnp.asarray(b))
    return jnp.where(jnp.isnan(iou), 1.0, iou)


def _same(labels, size: int) -> jax.Array:
    if labels is None:
        return jnp.ones((size, size), bool)
    return labels[:, None] == labels[None, :]
