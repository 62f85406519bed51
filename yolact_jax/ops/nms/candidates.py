"""Finds the few anchors that can become detections, before anything is sorted."""

import jax
import jax.numpy as jnp

_SLACK = 1e-3


def may_score_above(class_logits: jax.Array, score_threshold) -> jax.Array:
    """Finds the anchors that might have a class that scores above a threshold.

    The softmax score of the best class is at most that of a softmax over this class and
    the background alone, so an anchor with too small a margin between the two cannot
    pass.  That takes a comparison instead of an exponential for every class, and leaves
    out most anchors; some of the others still fail.

    Args:
      class_logits: [..., C + 1] float32, channel 0 is the background.
      score_threshold: scalar in [0, 1], may be traced.

    Returns:
      [...] bool, True for every anchor with a best score above the threshold.
    """
    threshold = jnp.asarray(score_threshold, jnp.float32)
    margin = jnp.log(threshold) - jnp.log1p(-threshold) - _SLACK
    lead = class_logits[..., 1:] - class_logits[..., :1]
    # "Not (<)", so that anchors with nan are left to the exact test.  Any of many
    # comparisons, because XLA's maximum takes twice as long on a CPU.
    return jnp.any(~(lead < margin), axis=-1)


def compact(mask: jax.Array, capacity: int) -> tuple[jax.Array, jax.Array]:
    """Lists the positions of a mask, in order, in a fixed number of slots.

    Args:
      mask: [A] bool.
      capacity: number of slots; positions beyond it are lost.

    Returns:
      Positions [capacity] int32, and [capacity] bool whether the slot holds one.
    """
    # The first of equals comes first.  Faster than `jnp.nonzero` on a CPU.
    ones, index = jax.lax.top_k(mask.astype(jnp.float32), min(capacity, mask.size))
    padding = max(capacity - mask.size, 0)
    return jnp.pad(index, (0, padding)), jnp.pad(ones > 0, (0, padding))
