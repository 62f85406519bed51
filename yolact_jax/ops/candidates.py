"""Finds the few anchors that can become detections, before anything is sorted."""

import jax
import jax.numpy as jnp

_SLACK = 1e-3


def may_score_above(class_logits: jax.Array, score_threshold) -> jax.Array:
    """Tells which anchors might have a class that scores above a threshold.

    The softmax score of the best class is at most that of a softmax over this class
    and the background alone, so an anchor whose margin between the two is too small
    cannot pass.  That takes one maximum instead of an exponential for every class,
    and leaves out most anchors; of the others some still fail.

    Args:
      class_logits: [..., C + 1] float32, channel 0 is the background.
      score_threshold: scalar in [0, 1], may be traced.

    Returns:
      [...] bool, True for every anchor whose best score exceeds the threshold.
    """
    threshold = jnp.asarray(score_threshold, jnp.float32)
    margin = jnp.log(threshold) - jnp.log1p(-threshold) - _SLACK
    lead = jnp.max(class_logits[..., 1:], axis=-1) - class_logits[..., 0]
    # "Not (<)", so that anchors with nan are left to the exact test.
    return ~(lead < margin)


def compact(mask: jax.Array, capacity: int) -> tuple[jax.Array, jax.Array]:
    """Lists the positions of a mask, in order, in a fixed number of slots.

    Args:
      mask: [A] bool.
      capacity: number of slots; positions beyond it are lost.

    Returns:
      Positions [capacity] int32, and [capacity] bool whether the slot holds one.
    """
    index = jnp.nonzero(mask, size=capacity, fill_value=0)[0].astype(jnp.int32)
    return index, jnp.arange(capacity) < jnp.sum(mask)
