"""Rules of non-maximum suppression, for boxes sorted by decreasing score.

All rules have one signature, that of `Rule`: sorted boxes and their scores in, new
scores out.  They are pure, of fixed shape, and can be jitted and vmapped over classes
and images; the threshold may be traced.

The rules here drop boxes and do not change the scores of the others; those that lower
scores are in `soft_rules`.  A box is *over* another if their IoU exceeds the threshold,
or is nan, as for two equal points.

`fast` is YOLACT's rule.  The others are exact forms of greedy NMS, in which a dropped
box drops nothing any more: `cluster`, `greedy_matrix` and `greedy_loop` return the
same and differ in speed only; `cluster_diou` measures overlap otherwise.

In every rule here the fate of a box depends on better boxes alone, so that cutting a
sorted list short changes nothing about its head.  `pairs` relies on it.
"""

from typing import Protocol

import jax
import jax.numpy as jnp

from yolact_jax.ops import boxes as box_ops

_BLOCK = 128  # columns of overlaps that Fast NMS computes at once


class Rule(Protocol):
    """The signature of all rules."""

    def __call__(
        self,
        boxes: jax.Array,
        scores: jax.Array,
        iou_threshold: jax.Array | float,
        labels: jax.Array | None = None,
    ) -> jax.Array:
        """Suppresses boxes.

        Args:
          boxes: [N, 4] float32, by decreasing score, N at least 1.
          scores: [N] float32, decreasing; negative for padding, which comes last.
          iou_threshold: scalar, may be traced.
          labels: [N] int32; boxes of different labels leave each other alone.  None
            if all have the same.

        Returns:
          [N] float32, new scores in the same order, -1 for what was dropped.
        """
        ...


def fast(boxes, scores, iou_threshold, labels=None) -> jax.Array:
    """Drops every box that any better box is over (Fast NMS, Bolya et al. 2019)."""
    # In blocks of columns, down to the diagonal: half of the work for long lists.
    dropped = [
        jnp.any(_over(boxes, iou_threshold, labels, start, start + _BLOCK), axis=0)
        for start in range(0, len(boxes), _BLOCK)
    ]
    return jnp.where(jnp.concatenate(dropped), -1.0, scores)


def cluster(boxes, scores, iou_threshold, labels=None) -> jax.Array:
    """Greedy NMS as the fixed point of Fast NMS (Cluster-NMS, Zheng et al. 2021).

    Each round drops the boxes under survivors of the previous round; the first round is
    Fast NMS.  After at most N rounds, the length of the longest chain of overlaps,
    nothing changes any more, and the survivors are those of greedy NMS.
    """
    kept = survivors(_over(boxes, iou_threshold, labels))
    return jnp.where(kept, scores, -1.0)


def cluster_diou(boxes, scores, iou_threshold, labels=None) -> jax.Array:
    """Cluster-NMS that spares boxes whose centers are apart (Zheng et al. 2021).

    As `cluster`, with `pairwise_diou`, IoU - rho^2 / c^2, in the place of the IoU.
    """
    overlaps = box_ops.pairwise_diou(boxes, boxes)
    kept = survivors(better_and_over(overlaps, iou_threshold, labels))
    return jnp.where(kept, scores, -1.0)


def survivors(over: jax.Array) -> jax.Array:
    """What greedy NMS keeps, [N] bool.

    Args:
      over: [N, N] bool, whether box i is better than box j and over it.
    """

    def changed(carry):
        kept, previous = carry
        return jnp.any(kept != previous)

    def refine(carry):
        kept, _ = carry
        return ~jnp.any(over & kept[:, None], axis=0), kept

    everything = jnp.ones(over.shape[0], bool)
    kept, _ = jax.lax.while_loop(changed, refine, refine((everything, everything)))
    return kept


def better_and_over(overlaps, iou_threshold, labels=None) -> jax.Array:
    """[N, N] bool: is box i better than box j, of its label, and over it?"""
    over = ~(overlaps <= iou_threshold)
    if labels is not None:
        over &= labels[:, None] == labels[None]
    return jnp.triu(over, k=1)


def greedy_matrix(boxes, scores, iou_threshold, labels=None) -> jax.Array:
    """Greedy NMS with all overlaps computed first, then one row after the other."""
    over = _over(boxes, iou_threshold, labels)

    def suppress(index, dropped):
        return dropped | (over[index] & ~dropped[index])

    nothing = jnp.zeros(over.shape[0], bool)
    dropped = jax.lax.fori_loop(0, over.shape[0], suppress, nothing)
    return jnp.where(dropped, -1.0, scores)


def greedy_loop(boxes, scores, iou_threshold, labels=None) -> jax.Array:
    """Greedy NMS as in textbooks: pick the best box left, drop what it is over.

    Takes as many rounds as boxes are kept, and never holds the [N, N] overlaps.
    """
    boxes = jnp.asarray(boxes)
    size = boxes.shape[0]
    index = jnp.arange(size)

    def any_left(carry):
        return jnp.any(carry[0])

    def pick(carry):
        left, dropped = carry
        best = jnp.argmax(left)
        iou = box_ops.pairwise_iou(boxes[best][None], boxes)[0]
        hit = left & ~(iou <= iou_threshold) & (index != best)
        if labels is not None:
            hit &= labels == labels[best]
        return left & ~hit & (index != best), dropped | hit

    start = (jnp.asarray(scores) >= 0, jnp.zeros(size, bool))
    dropped = jax.lax.while_loop(any_left, pick, start)[1]
    return jnp.where(dropped, -1.0, scores)


def _over(boxes, iou_threshold, labels, start: int = 0, end: int | None = None):
    """[end, end - start] bool: is box i better than box j, of its label, and over it?

    Box j is counted from ``start``, and no box after ``end`` is looked at.
    """
    boxes = boxes[:end]
    iou = box_ops.pairwise_iou(boxes, boxes[start:])
    # "Not (<=)", so that nan counts.  Compared before any reduction, because XLA's
    # maximum may drop a nan on a CPU.
    over = ~(iou <= iou_threshold)
    if labels is not None:
        over &= labels[:end, None] == labels[None, start:end]
    return jnp.triu(over, k=1 - start)
