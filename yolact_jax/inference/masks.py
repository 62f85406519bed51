"""Masks of detections at the size of the image, made on the device."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from yolact_jax.config import InputFrame
from yolact_jax.ops import boxes as box_ops
from yolact_jax.ops import letterbox
from yolact_jax.ops import masks as mask_ops
from yolact_jax.structures import Array, Detections

_MASKS_AT_ONCE = 4  # on a CPU, and at least on others
_PIXELS_AT_ONCE = 2**27


def full_size_masks(
    detections: Detections,
    prototypes: jax.Array,
    valid_size: jax.Array,
    canvas_size: tuple[int, int],
    frame: InputFrame | None = None,
    *,
    mask_margin: Array | float = 0.0,
    at_once: int | None = None,
) -> jax.Array:
    """Assembles, crops, enlarges and thresholds the masks of one image.

    A group of slots at a time, and none of those behind the last valid one.  The float
    masks of a large image never exist all at once.

    Args:
      detections: of one image, without the B axis; the valid ones come first.
      prototypes: [Hp, Wp, K] float32, of the network input.
      valid_size: [2] int32, height and width of the image on its canvas, pixels.
      canvas_size: static height and width of the canvas, pixels.
      frame: the network input; None if the image is stretched to it.
      mask_margin: how far masks may leave their boxes, in sides; may be traced.
      at_once: masks in a group, but on CPUs; None takes as many as the canvas allows.

    Returns:
      [D, height, ceil(width / 8)] uint8 with eight pixels a byte along the rows, as
      `jnp.packbits` makes them; 0 outside of the image.
    """
    slots = len(detections.boxes)
    height, width = canvas_size
    shown = letterbox.used_cells(valid_size, frame, prototypes.shape)

    def in_groups(size: int, write: Callable[..., jax.Array], *inputs) -> jax.Array:
        padded = [jnp.pad(x, ((0, -slots % size), (0, 0))) for x in inputs]

        def one_group(index: jax.Array | int, packed: jax.Array) -> jax.Array:
            first = index * size
            boxes, coefficients = (
                jax.lax.dynamic_slice_in_dim(x, first, size) for x in padded
            )
            soft = mask_ops.assemble_masks(prototypes, coefficients)
            soft = mask_ops.crop_masks(soft, box_ops.widen(boxes, mask_margin))
            return write(packed, first, soft, valid_size, shown)

        packed = jnp.zeros((len(padded[0]), height, -(-width // 8)), jnp.uint8)
        if slots <= size:  # A loop of unknown length makes a GPU wait for the host.
            return one_group(0, packed)[:slots]
        count = -(-jnp.sum(detections.valid) // size)
        return jax.lax.fori_loop(0, count, one_group, packed)[:slots]

    if at_once is None:
        at_once = max(_MASKS_AT_ONCE, _PIXELS_AT_ONCE // (height * width))
    return jax.lax.platform_dependent(
        letterbox.to_frame(detections.boxes, valid_size, frame),
        detections.coefficients,
        cpu=functools.partial(in_groups, _MASKS_AT_ONCE, mask_ops.enlarge_in_tiles),
        default=functools.partial(in_groups, at_once, mask_ops.enlarge_at_once),
    )
