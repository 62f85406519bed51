"""Between images and the network input, with sizes that are known at run time.

What `config.InputFrame` computes on the host is computed here on the device.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from yolact_jax.config import InputFrame
from yolact_jax.ops.boxes import scaled
from yolact_jax.structures import Array


def used_size(image_size: Array, frame: InputFrame) -> jax.Array | tuple[int, int]:
    """Rows and columns that an image fills, as `InputFrame.used`.

    Args:
      image_size: [2] int32, height and width of the image, pixels.
      frame: the network input.

    Returns:
      [2] int32; of a stretched image the two numbers, which are constants.
    """
    if not frame.letterbox:
        return frame.size
    sides, across = jnp.asarray(frame.size), jnp.asarray(image_size)[::-1]
    fitting = (jnp.asarray(image_size) * sides[::-1] + across // 2) // across
    return jnp.clip(fitting, 1, sides)


def to_frame(
    boxes: jax.Array, image_size: Array, frame: InputFrame | None
) -> jax.Array:
    """Turns [..., 4] boxes from fractions of an image to those of the network input.

    Without a frame, images are stretched to it.
    """
    if frame is None or not frame.letterbox:
        return boxes
    return scaled(boxes, _shares(image_size, frame))


def to_image(boxes: jax.Array, image_size: Array, frame: InputFrame) -> jax.Array:
    """Turns [..., 4] boxes from fractions of the network input to those of an image."""
    if not frame.letterbox:
        return boxes
    return scaled(boxes, 1.0 / _shares(image_size, frame))


def _shares(image_size: Array, frame: InputFrame) -> jax.Array:
    """[2] float32, of width and height."""
    rows, columns = used_size(image_size, frame)
    return jnp.stack([columns / frame.width, rows / frame.height])


def used_cells(
    image_size: Array, frame: InputFrame | None, map_size: Sequence[int]
) -> tuple[jax.Array, jax.Array] | tuple[None, None]:
    """How many rows and columns of a feature map an image covers, parts included.

    Args:
      image_size: [2] int32, height and width of the image, pixels.
      frame: the network input; None if the image is stretched to it.
      map_size: height and width of the map of the whole frame, cells.

    Returns:
      Two scalars, float32; None for all of them.
    """
    if frame is None or not frame.letterbox:
        return None, None
    rows, columns = jnp.asarray(used_size(image_size, frame))
    # The product is exact, so that whole cells stay whole.
    return map_size[0] * rows / frame.height, map_size[1] * columns / frame.width
