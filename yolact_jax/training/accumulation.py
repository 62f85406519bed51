"""Gradients of a large batch, computed in parts that fit into memory."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from yolact_jax.config import Loss
from yolact_jax.losses.assignment import match_batch
from yolact_jax.structures import Array, Batch

PartGradients = Callable[[dict, "Part"], tuple[Any, dict]]
"""``(batch_stats, part) -> ((losses, gradients), new batch_stats)``."""


@flax.struct.dataclass
class Part:
    """A part of a batch, b of its B images, or all of them.

    Each loss is a sum divided by a count.  Losses of a part are divided by the count of
    the part, and multiplied by its share of the count of the batch.

    Attributes:
      batch: the images and their ground truth.
      priority: [b, A] float32, see `losses.yolact.yolact_losses`.
      positive_share: float32 scalar, positive anchors of the part over those of the
        whole batch.
      image_share: float, images of the part over those of the whole batch.
    """

    batch: Batch
    priority: jax.Array
    positive_share: jax.Array | float = 1.0
    image_share: jax.Array | float = 1.0


def accumulate(
    part_gradients: PartGradients, batch_stats: dict, parts: Part
) -> tuple[Any, dict]:
    """Sums losses and gradients over parts, computed one after the other.

    Batch normalization sees one part at a time; every part updates its running
    statistics.

    Args:
      part_gradients: computes one part.
      batch_stats: running statistics before the step.
      parts: from `split`, stacked along a first axis.

    Returns:
      The sums of losses and gradients, and the new statistics.
    """

    def add(carry, part):
        sums, stats = carry
        terms, stats = part_gradients(stats, part)
        return (jax.tree.map(jnp.add, sums, terms), stats), None

    first = jax.tree.map(lambda x: x[0], parts)
    shapes, _ = jax.eval_shape(part_gradients, batch_stats, first)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    carry, _ = jax.lax.scan(add, (zeros, batch_stats), parts)
    return carry


def split(
    batch: Batch,
    priority: jax.Array,
    anchors_cxcywh: Array,
    options: Loss,
    num_parts: int,
    axis_name: str | None = None,
) -> Part:
    """Deals the images of a batch out to parts, stacked along a new first axis.

    Part i gets the images i, i + `num_parts`, ...: on every device, and in every
    process, a part consists of images that are there already.

    Args:
      batch: B images, a multiple of `num_parts`.
      priority: [B, A] float32.
      anchors_cxcywh: [A, 4] float32.
      options: decides which anchors are positive.
      num_parts: how many parts.
      axis_name: mapped device axis whose devices share the batch, if any.
    """

    def deal(x):
        return x.reshape(-1, num_parts, *x.shape[1:]).swapaxes(0, 1)

    positives = _count_positives(batch, anchors_cxcywh, options)
    positives = jnp.sum(deal(positives), axis=1)
    if axis_name is not None:
        positives = jax.lax.psum(positives, axis_name)
    # At least 1, as where the losses divide by them.
    total = jnp.maximum(jnp.sum(positives), 1)
    return Part(
        batch=jax.tree.map(deal, batch),
        priority=deal(priority),
        positive_share=jnp.maximum(positives, 1) / total,
        image_share=jnp.full(num_parts, 1 / num_parts),
    )


def _count_positives(batch: Batch, anchors_cxcywh, options: Loss) -> jax.Array:
    """Counts the positive anchors of each image, [B] int32."""
    matches = match_batch(batch, anchors_cxcywh, options)
    return jnp.sum(matches.positive, axis=1)
