"""Box arithmetic: conversion, overlap, and the SSD box coding.

``boxes`` are ``(x1, y1, x2, y2)`` fractions of the image; ``*_cxcywh`` are center,
width and height in the same unit.
"""

import jax
import jax.numpy as jnp

from yolact_jax.structures import Array

CENTER_VARIANCE = 0.1
SIZE_VARIANCE = 0.2


def cxcywh_to_xyxy(boxes_cxcywh: Array) -> jax.Array:
    """Converts [..., 4] float boxes from center form to corner form."""
    center, half = jnp.split(boxes_cxcywh, 2, axis=-1)
    half = half / 2
    return jnp.concatenate([center - half, center + half], axis=-1)


def xyxy_to_cxcywh(boxes: jax.Array) -> jax.Array:
    """Converts [..., 4] float boxes from corner form to center form."""
    top_left, bottom_right = jnp.split(boxes, 2, axis=-1)
    return jnp.concatenate(
        [(top_left + bottom_right) / 2, bottom_right - top_left], axis=-1
    )


def widen(boxes: jax.Array, margin: Array | float) -> jax.Array:
    """Moves the sides of [..., 4] boxes outwards by a fraction of width and height.

    A margin of 0 leaves every bit, also of infinite boxes.
    """
    top_left, bottom_right = jnp.split(boxes, 2, axis=-1)
    outwards = margin * (bottom_right - top_left)
    widened = jnp.concatenate([top_left - outwards, bottom_right + outwards], axis=-1)
    return jnp.where(margin > 0, widened, boxes)


def in_squares(boxes: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Scales boxes so that a unit is as long across as down.

    Args:
      boxes: [..., 4] float32 of a picture, of either form.
      size: height and width of the picture, in any unit.

    Returns:
      The boxes in units of the longer side; as they are if the picture is square.
    """
    height, width = size
    if height == width:
        return boxes
    x, y = width / max(size), height / max(size)
    return scaled(boxes, jnp.array([x, y], jnp.float32))


def scaled(boxes: jax.Array, factors: jax.Array) -> jax.Array:
    """Multiplies [..., 4] boxes of either form by [2] factors of x and y."""
    factors = jnp.concatenate([factors, factors])
    return boxes * factors.reshape(*[1] * (boxes.ndim - 1), 4)


def area(boxes: jax.Array) -> jax.Array:
    """Returns the areas [...] of [..., 4] boxes, in squared units of the boxes."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _pairwise_intersection(a: jax.Array, b: jax.Array) -> jax.Array:
    # One array per coordinate: an axis of two would keep a CPU from vectorizing.
    left_a, top_a, right_a, bottom_a = (a[:, None, i] for i in range(4))
    left_b, top_b, right_b, bottom_b = (b[None, :, i] for i in range(4))
    width = jnp.minimum(right_a, right_b) - jnp.maximum(left_a, left_b)
    height = jnp.minimum(bottom_a, bottom_b) - jnp.maximum(top_a, top_b)
    return jnp.maximum(width, 0) * jnp.maximum(height, 0)


def pairwise_iou(a: jax.Array, b: jax.Array) -> jax.Array:
    """Intersection over union of [N, 4] boxes ``a`` with [M, 4] boxes ``b``, float32.

    Returns:
      [N, M] float32 in [0, 1]; nan where both boxes have no area.
    """
    intersection = _pairwise_intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :] - intersection
    return intersection / union


def pairwise_diou(a: jax.Array, b: jax.Array) -> jax.Array:
    """IoU less the distance of centers, of boxes [N, 4] with [M, 4] (DIoU).

    ``IoU - rho^2 / c^2`` (Zheng et al. 2020, equation 7); see `pairwise_distance`.

    Returns:
      [N, M] float32 in [-1, 1]; nan where both boxes have no area.
    """
    return pairwise_iou(a, b) - pairwise_distance(a, b)


def pairwise_distance(a: jax.Array, b: jax.Array) -> jax.Array:
    """Distance of centers, of boxes [N, 4] with [M, 4], squared and normalized.

    ``rho^2 / c^2``, with the distance rho of the two centers and the diagonal c of the
    smallest box around both (Zheng et al. 2020).

    Returns:
      [N, M] float32 in [0, 1]; 0 of two boxes in one point.
    """
    a_sides, b_sides = a[:, None], b[None]
    apart = (
        a_sides[..., :2] + a_sides[..., 2:] - b_sides[..., :2] - b_sides[..., 2:]
    ) / 2
    outer = jnp.maximum(a_sides[..., 2:], b_sides[..., 2:])
    outer = outer - jnp.minimum(a_sides[..., :2], b_sides[..., :2])
    distance, diagonal = jnp.sum(apart**2, axis=-1), jnp.sum(outer**2, axis=-1)
    return distance / jnp.where(diagonal > 0, diagonal, 1.0)


def pairwise_coverage(a: jax.Array, b: jax.Array) -> jax.Array:
    """Share of every box of ``b``, [M, 4], inside every box of ``a``, [N, 4], float32.

    Returns:
      [N, M] float32 in [0, 1]; nan where the box of ``b`` has no area.
    """
    return _pairwise_intersection(a, b) / area(b)[None, :]


def encode(boxes: jax.Array, anchors_cxcywh: Array) -> jax.Array:
    """Encodes boxes as offsets to anchors (SSD, Liu et al. 2016, with variances).

    Args:
      boxes: [..., 4] float32.
      anchors_cxcywh: [..., 4] float32, one anchor per box.

    Returns:
      [..., 4] float32 ``(dx, dy, log dw, log dh)``; -inf where a box has no extent.
    """
    center, size = jnp.split(xyxy_to_cxcywh(boxes), 2, axis=-1)
    anchor_center, anchor_size = jnp.split(anchors_cxcywh, 2, axis=-1)
    offsets = (center - anchor_center) / (CENTER_VARIANCE * anchor_size)
    return jnp.concatenate(
        [offsets, jnp.log(size / anchor_size) / SIZE_VARIANCE], axis=-1
    )


def decode(deltas: jax.Array, anchors_cxcywh: Array) -> jax.Array:
    """Inverts `encode`: [..., 4] deltas and anchors to [..., 4] unclipped boxes."""
    offsets, log_sizes = jnp.split(deltas, 2, axis=-1)
    anchor_center, anchor_size = jnp.split(anchors_cxcywh, 2, axis=-1)
    center = anchor_center + offsets * CENTER_VARIANCE * anchor_size
    size = anchor_size * jnp.exp(log_sizes * SIZE_VARIANCE)
    # Not `cxcywh_to_xyxy`: the original rounds differently here.  It matters where
    # overlaps tie, as those of a small box with the anchors around it do.
    top_left = center - size / 2
    return jnp.concatenate([top_left, top_left + size], axis=-1)
