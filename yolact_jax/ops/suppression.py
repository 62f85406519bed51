"""Rules of non-maximum suppression, for boxes sorted by decreasing score.

Each rule answers for [N, 4] sorted boxes which of them are dropped, [N] bool.  All
are pure, of fixed shape, and can be jitted and vmapped over classes and images; the
threshold may be traced.  A box is *over* another if their IoU exceeds the threshold,
or is nan, as that of two equal points is.

`fast` is YOLACT's rule.  The other rules are exact forms of greedy NMS, in which a
dropped box drops nothing any more: `cluster`, `greedy_matrix` and `greedy_loop`
return the same and differ in speed only.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from yolact_jax.ops import boxes as box_ops

Rule = Callable[[jax.Array, jax.Array | float], jax.Array]
"""``rule(sorted_boxes [N, 4], iou_threshold) -> dropped [N] bool``."""


def fast(sorted_boxes: jax.Array, iou_threshold: jax.Array | float) -> jax.Array:
    """Drops every box that any better box is over (Fast NMS, Bolya et al. 2019)."""
    return jnp.any(_over(sorted_boxes, iou_threshold), axis=0)


def cluster(sorted_boxes: jax.Array, iou_threshold: jax.Array | float) -> jax.Array:
    """Greedy NMS as the fixed point of Fast NMS (Cluster-NMS, Zheng et al. 2021).

    Each round drops what the survivors of the previous round are over; the first
    round is Fast NMS.  After as many rounds as the longest chain of overlaps, at most
    N, nothing changes any more, and the survivors are those of greedy NMS.
    """
    over = _over(sorted_boxes, iou_threshold)

    def changed(carry):
        kept, previous = carry
        return jnp.any(kept != previous)

    def refine(carry):
        kept, _ = carry
        return ~jnp.any(over & kept[:, None], axis=0), kept

    everything = jnp.ones(over.shape[0], bool)
    kept, _ = jax.lax.while_loop(changed, refine, refine((everything, everything)))
    return ~kept


def greedy_matrix(
    sorted_boxes: jax.Array, iou_threshold: jax.Array | float
) -> jax.Array:
    """Greedy NMS with all overlaps computed first, then one row after the other."""
    over = _over(sorted_boxes, iou_threshold)

    def suppress(index, dropped):
        return dropped | (over[index] & ~dropped[index])

    nothing = jnp.zeros(over.shape[0], bool)
    return jax.lax.fori_loop(0, over.shape[0], suppress, nothing)


def greedy_loop(sorted_boxes: jax.Array, iou_threshold: jax.Array | float) -> jax.Array:
    """Greedy NMS as the textbook has it: pick the best box left, drop what it is over.

    Takes as many rounds as boxes are kept, and never holds the [N, N] overlaps.
    """
    sorted_boxes = jnp.asarray(sorted_boxes)
    size = sorted_boxes.shape[0]
    index = jnp.arange(size)

    def any_left(carry):
        return jnp.any(carry[0])

    def pick(carry):
        left, dropped = carry
        best = jnp.argmax(left)
        iou = box_ops.pairwise_iou(sorted_boxes[best][None], sorted_boxes)[0]
        hit = left & ~(iou <= iou_threshold) & (index != best)
        return left & ~hit & (index != best), dropped | hit

    start = (jnp.ones(size, bool), jnp.zeros(size, bool))
    return jax.lax.while_loop(any_left, pick, start)[1]


def matrix_decay(
    sorted_boxes: jax.Array, *, sigma: jax.Array | float | None = None
) -> jax.Array:
    """Factors that lower scores by overlap (Matrix NMS, Wang et al. 2020).

    A soft rule: nothing is dropped.  The factor of box j is the least, over better
    boxes i, of f(IoU(i, j)) / f(largest IoU of i with boxes better than i).

    Args:
      sorted_boxes: [N, 4] float32, by decreasing score.
      sigma: f(x) = exp(-sigma x²) with a number, f(x) = 1 - x with None.

    Returns:
      [N] float32 in [0, 1]; 1 for the first box.
    """
    iou = box_ops.pairwise_iou(sorted_boxes, sorted_boxes)
    iou = jnp.triu(jnp.where(jnp.isnan(iou), 1.0, iou), k=1)
    worst = jnp.max(iou, axis=0)  # of each box with the boxes better than it
    if sigma is None:
        # A box covered wholly by a better one compensates nothing: avoid 0 / 0.
        ratio = (1 - iou) / jnp.maximum(1 - worst, 1e-6)[:, None]
    else:
        ratio = jnp.exp(-sigma * (iou**2 - worst[:, None] ** 2))
    better = jnp.triu(jnp.ones(iou.shape, bool), k=1)
    return jnp.clip(jnp.min(jnp.where(better, ratio, 1.0), axis=0), 0, 1)


def _over(sorted_boxes: jax.Array, iou_threshold: jax.Array | float) -> jax.Array:
    """[N, N] bool, whether box i is better than box j and over it."""
    iou = box_ops.pairwise_iou(sorted_boxes, sorted_boxes)
    # "Not (<=)", so that nan counts.  Compared before any reduction, because XLA's
    # maximum may drop a nan on a CPU.
    return jnp.triu(~(iou <= iou_threshold), k=1)
