"""Mask assembly: prototypes times coefficients, cropped to the box."""

import jax
import jax.numpy as jnp


def assemble_masks(prototypes: jax.Array, coefficients: jax.Array) -> jax.Array:
    """Combines prototypes linearly into one soft mask per detection.

    Args:
      prototypes: [Hp, Wp, K] float32.
      coefficients: [D, K] float32.

    Returns:
      [D, Hp, Wp] float32 in [0, 1].
    """
    logits = jnp.einsum(
        "hwk,dk->dhw", prototypes, coefficients, precision=jax.lax.Precision.HIGHEST
    )
    return jax.nn.sigmoid(logits)


def crop_window(boxes: jax.Array, height: int, width: int, padding: float = 1.0):
    """Rows and columns of a map that lie inside padded boxes.

    Bounds are not rounded: index ``i`` is inside if ``low <= i < high``.

    Args:
      boxes: [D, 4] float32; the order of the corners does not matter.
      height: map height in cells.
      width: map width in cells.
      padding: cells added on every side.

    Returns:
      ``(rows [D, height], columns [D, width])``, both bool.
    """
    x1, y1, x2, y2 = jnp.moveaxis(boxes, -1, 0)
    rows = _inside(y1, y2, height, padding)
    columns = _inside(x1, x2, width, padding)
    return rows, columns


def _inside(start, end, size: int, padding: float) -> jax.Array:
    start, end = start * size, end * size
    low = jnp.maximum(jnp.minimum(start, end) - padding, 0)
    high = jnp.minimum(jnp.maximum(start, end) + padding, size)
    index = jnp.arange(size)[None, :]
    return (index >= low[:, None]) & (index < high[:, None])


def crop_masks(masks: jax.Array, boxes: jax.Array, padding: float = 1.0) -> jax.Array:
    """Sets mask values outside the padded box to 0.

    Args:
      masks: [D, Hp, Wp] float32.
      boxes: [D, 4] float32.
      padding: mask pixels added on every side of the box.

    Returns:
      [D, Hp, Wp] float32.
    """
    rows, columns = crop_window(boxes, *masks.shape[1:], padding)
    return jnp.where(rows[:, :, None] & columns[:, None, :], masks, 0.0)
