"""Boxes as means of those that they suppress (Cluster-NMS-W, Zheng et al. 2021)."""

import jax
import jax.numpy as jnp

from yolact_jax.ops import boxes as box_ops
from yolact_jax.ops.nms.per_class import Kept, entries
from yolact_jax.structures import Array

LEAST_IOU = 0.8
"""Overlap that a box needs to take part in a mean, as in the paper's code."""


def weighted_boxes(
    kept: Kept,
    boxes: jax.Array,
    scores: jax.Array,
    score_threshold: Array | float,
) -> jax.Array:
    """Averages the box of each detection with those under it, of one image.

    The box of detection i is ``sum_j w_ij b_j / sum_j w_ij``, ``w_ij = s_j IoU_ij``,
    over itself and the anchors j that take part, have in the class of i a score s_j of
    at most its own, and overlap it by more than `LEAST_IOU`.  Scores and order stay.

    Args:
      kept: what NMS keeps, D slots.
      boxes: [A, 4] float32.
      scores: [A, C] float32 in [0, 1], without the background; negative or nan for
        what is absent.
      score_threshold: scalar, as for NMS; may be traced.

    Returns:
      [D, 4] float32; the box of anchor 0 in slots that are not valid.
    """
    own = jnp.asarray(boxes)[kept.anchor_index]
    others = entries(scores, score_threshold)[kept.labels]  # [D, A]
    iou = box_ops.pairwise_iou(own, boxes)
    at_most = others <= scores[kept.anchor_index, kept.labels][:, None]
    weights = jnp.where(at_most & (iou > LEAST_IOU), iou, 0.0) * jnp.maximum(others, 0)
    # Differences from its own box: one that is alone keeps every bit.
    differences = boxes[None] - own[:, None]
    total = jnp.sum(weights, axis=1)[:, None]
    mean = jnp.sum(weights[..., None] * differences, axis=1)
    return own + mean / jnp.where(total > 0, total, 1.0)
