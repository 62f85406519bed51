"""Between images and the network input, as in `ops.letterbox`."""

from typing import NamedTuple

import numpy as np

from yolact_jax.config import InputFrame
from yolact_jax.export.onnx import ops
from yolact_jax.export.onnx.graph import Value, apply


class Used(NamedTuple):
    """The part of the network input that an image fills.

    Attributes:
      rows: [] float32, a whole number of pixels.
      columns: the same.
    """

    rows: Value
    columns: Value


def used_size(image: Value, frame: InputFrame) -> Used | None:
    """Computes `InputFrame.used` of [B, H, W, 3] images; None if they are stretched."""
    if not frame.letterbox:
        return None
    height, width = ops.size(image, 1), ops.size(image, 2)
    rows = (height * frame.width + width // 2) // width
    columns = (width * frame.height + height // 2) // height
    return Used(_limited(rows, frame.height), _limited(columns, frame.width))


def _limited(length: Value, most: int) -> Value:
    length = apply("Min", apply("Max", length, np.asarray(1)), np.asarray(most))
    return ops.cast(length, np.float32)


def to_image(boxes: Value, used: Used | None, frame: InputFrame) -> Value:
    """Turns [B, D, 4] boxes from fractions of the network input to those of images."""
    if used is None:
        return boxes
    x, y = used.columns / float(frame.width), used.rows / float(frame.height)
    shares = [ops.expand_dims(share, 0) for share in (x, y, x, y)]
    return boxes / ops.concatenate(shares, 0)


def used_cells(
    used: Used | None, frame: InputFrame, map_size: tuple[int, int]
) -> tuple[Value, Value] | None:
    """Rows and columns of a feature map that an image covers, [] float32, or None."""
    if used is None:
        return None
    rows, columns = (float(cells) for cells in map_size)
    return (
        used.rows * rows / float(frame.height),
        used.columns * columns / float(frame.width),
    )
