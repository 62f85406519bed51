"""Assigns ground-truth objects to anchors, with fixed shapes."""

import flax.struct
import jax
import jax.numpy as jnp

from yolact_jax.ops import boxes as box_ops
from yolact_jax.structures import Array

NEUTRAL = -1
BACKGROUND = 0


@flax.struct.dataclass
class Matches:
    """What each anchor of one image should predict.

    Attributes:
      class_target: [A] int32, label + 1 for a positive anchor, 0 for background,
        -1 for anchors that take no part in the classification loss.
      object_index: [A] int32, the ground-truth slot with which the anchor overlaps
        most (or which it was forced to take); meaningful for positive anchors.
    """

    class_target: jax.Array
    object_index: jax.Array

    @property
    def positive(self) -> jax.Array:
        """[A] bool, whether the anchor is responsible for an object."""
        return self.class_target > 0


def match_anchors(
    boxes: jax.Array,
    labels: jax.Array,
    is_object: jax.Array,
    is_crowd: jax.Array,
    anchors_cxcywh: Array,
    *,
    positive_iou: float,
    negative_iou: float,
    crowd_iou: float,
) -> Matches:
    """Matches the objects of one image to anchors, as YOLACT does.

    Every object first claims one anchor of its own, whatever the overlap, in
    decreasing order of overlap.  Every other anchor goes to the object it overlaps
    most: positive from ``positive_iou``, background below ``negative_iou``, neutral
    between.  Background anchors mostly inside a crowd region are neutral as well.

    Args:
      boxes: [G, 4] float32.
      labels: [G] int32, foreground classes from 0.
      is_object: [G] bool, slots that hold an object.
      is_crowd: [G] bool, slots that hold a crowd region; disjoint from `is_object`.
      anchors_cxcywh: [A, 4] float32.
      positive_iou: least overlap of a positive anchor.
      negative_iou: overlap below which an anchor is background.
      crowd_iou: share of an anchor inside a crowd above which it is neutral.
    """
    anchors = box_ops.cxcywh_to_xyxy(anchors_cxcywh)
    overlaps = _masked(box_ops.pairwise_iou(boxes, anchors), is_object)
    best_overlap = jnp.max(overlaps, axis=0)
    best_object = jnp.argmax(overlaps, axis=0).astype(jnp.int32)

    claimed_by = _claim_anchors(overlaps, is_object)
    claimed = claimed_by >= 0
    object_index = jnp.where(claimed, claimed_by, best_object)
    best_overlap = jnp.where(claimed, jnp.inf, best_overlap)

    class_target = labels[object_index] + 1
    class_target = jnp.where(best_overlap < positive_iou, NEUTRAL, class_target)
    class_target = jnp.where(best_overlap < negative_iou, BACKGROUND, class_target)

    class_target = ignore_crowds(class_target, boxes, is_crowd, anchors, crowd_iou)
    return Matches(class_target.astype(jnp.int32), object_index)


def ignore_crowds(
    class_target: jax.Array,
    boxes: jax.Array,
    is_crowd: jax.Array,
    anchors: jax.Array,
    crowd_iou: float,
) -> jax.Array:
    """Makes background anchors mostly inside a crowd region neutral.

    Args:
      class_target: [A] int, as in `Matches`.
      boxes: [G, 4] float32.
      is_crowd: [G] bool, slots that hold a crowd region.
      anchors: [A, 4] float32.
      crowd_iou: share of an anchor inside a crowd above which it is neutral.

    Returns:
      [A] int.
    """
    coverage = _masked(box_ops.pairwise_coverage(boxes, anchors), is_crowd)
    in_crowd = jnp.max(coverage, axis=0) > crowd_iou
    return jnp.where((class_target <= 0) & in_crowd, NEUTRAL, class_target)


def _masked(overlaps: jax.Array, rows: jax.Array) -> jax.Array:
    """Makes rows of [G, A] overlaps lose every comparison, unless they count."""
    # A box without area has nan overlap with an anchor without area; padding too.
    return jnp.where(rows[:, None], jnp.nan_to_num(overlaps), -1.0)


def _claim_anchors(overlaps: jax.Array, is_object: jax.Array) -> jax.Array:
    """Gives each object one anchor of its own, greedily over all pairs.

    The definition: repeat, over the pairs of unserved objects and unclaimed anchors,
    take the pair of highest overlap (lowest object, then lowest anchor on ties).
    Recomputing all row maxima each round costs G * A.  But claiming an anchor only
    lowers the maximum of a row, so it is enough to recompute the best row when its
    favorite is taken (lazy greedy, Minoux 1978).
    """
    num_anchors = overlaps.shape[1]

    def unserved(carry):
        _, _, row_best, _ = carry
        return jnp.max(row_best) > -jnp.inf

    def serve(carry):
        claimed_by, favorite, row_best, rounds = carry
        row = jnp.argmax(row_best)
        anchor = favorite[row]
        free = claimed_by[anchor] < 0
        remaining = jnp.where(claimed_by < 0, overlaps[row], -jnp.inf)
        next_anchor = jnp.argmax(remaining).astype(jnp.int32)
        claimed_by = claimed_by.at[jnp.where(free, anchor, num_anchors)].set(
            row.astype(jnp.int32), mode="drop"
        )
        favorite = favorite.at[row].set(next_anchor)
        # A row is done once it has an anchor, or when no anchor is left for it.
        row_best = row_best.at[row].set(
            jnp.where(free, -jnp.inf, remaining[next_anchor])
        )
        return claimed_by, favorite, row_best, rounds + 1

    row_best = jnp.where(is_object, jnp.max(overlaps, axis=1), -jnp.inf)
    favorite = jnp.argmax(overlaps, axis=1).astype(jnp.int32)
    claimed_by = jnp.full((num_anchors,), -1, jnp.int32)
    carry = (claimed_by, favorite, row_best, 0)
    return jax.lax.while_loop(unserved, serve, carry)[0]
