"""Mask assembly: prototypes times coefficients, cropped to the box, at full size."""

import functools

import jax
import jax.numpy as jnp

from yolact_jax.ops.resize import bilinear_taps


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
    """Sets [D, Hp, Wp] masks to 0 outside of [D, 4] boxes and a padding in pixels."""
    rows, columns = crop_window(boxes, *masks.shape[1:], padding=padding)
    return jnp.where(rows[:, :, None] & columns[:, None, :], masks, 0.0)


def enlarge_in_steps(
    masks: jax.Array, valid_size: jax.Array, canvas_size: tuple[int, int]
) -> jax.Array:
    """Enlarges soft masks to the valid part of a canvas, and thresholds them at 0.5.

    Bilinear, columns first, since an enlarged map has many more rows.  The rest of the
    canvas repeats the border.  This form is for CPUs.

    Args:
      masks: [D, Hp, Wp] float32 in [0, 1].
      valid_size: [2] int32, height and width of the valid top-left part.
      canvas_size: static height and width of the canvas.

    Returns:
      [D, height, ceil(width / 8)] uint8 with eight pixels a byte along the rows, as
      `jnp.packbits` makes them.
    """
    height, width = canvas_size
    rows = bilinear_taps(jnp.arange(height), valid_size[0], masks.shape[1])
    columns = bilinear_taps(jnp.arange(width), valid_size[1], masks.shape[2])
    # One loop for each step, or else XLA fuses each step into the reads of the next,
    # and computes all that led to a value again for each of the pixels it becomes:
    # far slower on a CPU.
    wide = jax.lax.map(lambda mask: _interpolate(mask, 1, *columns), masks)
    inside = jax.lax.map(lambda mask: _interpolate(mask, 0, *rows) > 0.5, wide)
    return jnp.packbits(inside, axis=-1)


def _interpolate(mask: jax.Array, axis: int, low, high, weight_high) -> jax.Array:
    at_low = jnp.take(mask, low, axis, mode="clip")
    at_high = jnp.take(mask, high, axis, mode="clip")
    return at_low + (at_high - at_low) * jnp.expand_dims(weight_high, 1 - axis)


def enlarge_at_once(
    masks: jax.Array, valid_size: jax.Array, canvas_size: tuple[int, int]
) -> jax.Array:
    """Does the same as `enlarge_in_steps`, in the form for accelerators.

    One kernel computes each byte from the soft masks, so that no enlarged map is ever
    in memory.
    """
    height, width = canvas_size
    rows = bilinear_taps(jnp.arange(height), valid_size[0], masks.shape[1])
    first_column = 8 * jnp.arange(-(-width // 8))

    def bit(place: int) -> jax.Array:
        index = first_column + place
        columns = bilinear_taps(index, valid_size[1], masks.shape[2])
        inside = _sample(masks, rows, columns) > 0.5
        inside &= (index < width)[None, None]
        return inside.astype(jnp.uint8) << (7 - place)

    return functools.reduce(jnp.bitwise_or, map(bit, range(8)))


def _sample(masks: jax.Array, rows, columns) -> jax.Array:
    """Reads [D, Hp, Wp] bilinearly at all pairs of a row and a column."""
    top, bottom, weight_bottom = (x[:, None] for x in rows)
    left, right, weight_right = (x[None] for x in columns)

    def across(row) -> jax.Array:
        at_left, at_right = masks[:, row, left], masks[:, row, right]
        return at_left + (at_right - at_left) * weight_right[None]

    at_top, at_bottom = across(top), across(bottom)
    return at_top + (at_bottom - at_top) * weight_bottom[None]
