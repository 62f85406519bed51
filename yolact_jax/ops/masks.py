"""Mask assembly: prototypes times coefficients, cropped to the box, at full size."""

import functools

import jax
import jax.numpy as jnp

from yolact_jax.ops.resize import bilinear_taps

_TILE = (128, 32)  # rows, bytes
LEAST_SYMBOLIC_SIDE = 256
"""Of canvases whose sides are symbols while tracing, pixels: that of a tile."""


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


Shown = tuple[jax.Array, jax.Array] | tuple[None, None]
"""Rows and columns of a mask that the image covers; see `letterbox.used_cells`."""


def enlarge_in_tiles(
    packed: jax.Array,
    first: jax.Array | int,
    masks: jax.Array,
    valid_size: jax.Array,
    shown: Shown = (None, None),
) -> jax.Array:
    """Enlarges soft masks to the valid part of a canvas, and thresholds them at 0.5.

    Bilinear, a tile at a time, and only the tiles in which a mask has pixels: a pixel
    is the mean of four values, so that one of them must exceed 0.5.  This form is for
    CPUs.

    Args:
      packed: [n, height, ceil(width / 8)] uint8, where to write; must be 0.
      first: scalar int32, the slot of `packed` for the first mask.
      masks: [D, Hp, Wp] float32 in [0, 1].
      valid_size: [2] int32, height and width of the valid top-left part.
      shown: cells of the masks that are enlarged to it.

    Returns:
      `packed` with eight pixels a byte along the rows, as `jnp.packbits` makes them; 0
      outside of the valid part.
    """

    def one_mask(index: jax.Array, packed: jax.Array) -> jax.Array:
        return _write_tiles(packed, first + index, masks[index], valid_size, shown)

    return jax.lax.fori_loop(0, len(masks), one_mask, packed)


def _write_tiles(packed, slot, mask, valid_size, shown: Shown) -> jax.Array:
    """Enlarges a mask into its slot."""
    _, height, num_bytes = packed.shape
    tile_rows, tile_bytes = min(_TILE[0], height), min(_TILE[1], num_bytes)
    sure = mask > 0.5
    top, bottom = _reach(jnp.any(sure, axis=1), valid_size[0], shown[0])
    left, right = _reach(jnp.any(sure, axis=0), valid_size[1], shown[1])

    def one_column(index: jax.Array, packed: jax.Array) -> jax.Array:
        # The last tile must not leave the canvas; what two of them write is the same.
        byte = jnp.minimum(left // 8 + index * tile_bytes, num_bytes - tile_bytes)
        x = 8 * byte + jnp.arange(8 * tile_bytes)
        taps = bilinear_taps(x, valid_size[1], mask.shape[1], shown[1])
        # In a loop of its own: XLA would compute it again for each pixel below.
        wide = _interpolate(mask, 1, *taps)

        def one_tile(index: jax.Array, packed: jax.Array) -> jax.Array:
            row = jnp.minimum(top + index * tile_rows, height - tile_rows)
            y = row + jnp.arange(tile_rows)
            taps = bilinear_taps(y, valid_size[0], mask.shape[0], shown[0])
            inside = _interpolate(wide, 0, *taps) > 0.5
            inside &= (y < valid_size[0])[:, None] & (x < valid_size[1])[None]
            tile = jnp.packbits(inside, axis=-1)[None]
            return jax.lax.dynamic_update_slice(packed, tile, (slot, row, byte))

        return jax.lax.fori_loop(0, _ceil(bottom - top, tile_rows), one_tile, packed)

    count = _ceil(right - left // 8 * 8, 8 * tile_bytes)
    return jax.lax.fori_loop(0, count, one_column, packed)


def _ceil(numerator: jax.Array, denominator: int) -> jax.Array:
    return -(-numerator // denominator)


def _reach(inside: jax.Array, out_size: jax.Array, shown) -> tuple:
    """First pixel, and first behind the last, that any of the [n] cells can change."""
    first, last = jnp.argmax(inside), len(inside) - 1 - jnp.argmax(inside[::-1])
    cells = len(inside) if shown is None else shown
    scale = out_size.astype(jnp.float32) / cells
    # A pixel reads cells less than one away.  One pixel more on each side for rounding.
    start = jnp.floor((first - 0.5) * scale - 0.5).astype(jnp.int32) - 1
    stop = jnp.ceil((last + 1.5) * scale - 0.5).astype(jnp.int32) + 2
    stop = jnp.where(jnp.any(inside), jnp.minimum(stop, out_size), 0)
    return jnp.clip(start, 0, out_size), stop


def _interpolate(mask: jax.Array, axis: int, low, high, weight_high) -> jax.Array:
    at_low = jnp.take(mask, low, axis, mode="clip")
    at_high = jnp.take(mask, high, axis, mode="clip")
    return at_low + (at_high - at_low) * jnp.expand_dims(weight_high, 1 - axis)


def enlarge_at_once(
    packed: jax.Array,
    first: jax.Array | int,
    masks: jax.Array,
    valid_size: jax.Array,
    shown: Shown = (None, None),
) -> jax.Array:
    """Does the same as `enlarge_in_tiles`, in the form for accelerators.

    One kernel computes each byte from the soft masks, so that no enlarged map is ever
    in memory.
    """
    y = jnp.arange(packed.shape[1])
    rows = bilinear_taps(y, valid_size[0], masks.shape[1], shown[0])

    def bit(place: int) -> jax.Array:
        x = 8 * jnp.arange(packed.shape[2]) + place
        columns = bilinear_taps(x, valid_size[1], masks.shape[2], shown[1])
        valid = (y < valid_size[0])[:, None] & (x < valid_size[1])[None]
        inside = (_sample(masks, rows, columns) > 0.5) & valid[None]
        return inside.astype(jnp.uint8) << (7 - place)

    enlarged = functools.reduce(jnp.bitwise_or, map(bit, range(8)))
    return jax.lax.dynamic_update_slice_in_dim(packed, enlarged, first, 0)


def _sample(masks: jax.Array, rows, columns) -> jax.Array:
    """Reads [D, Hp, Wp] bilinearly at all pairs of a row and a column."""
    top, bottom, weight_bottom = (x[:, None] for x in rows)
    left, right, weight_right = (x[None] for x in columns)

    def across(row) -> jax.Array:
        at_left, at_right = masks[:, row, left], masks[:, row, right]
        return at_left + (at_right - at_left) * weight_right[None]

    at_top, at_bottom = across(top), across(bottom)
    return at_top + (at_bottom - at_top) * weight_bottom[None]
