"""Masks of an exported model, as `ops.masks` makes them."""

import numpy as np

from yolact_jax.export.onnx import ops, pixels
from yolact_jax.export.onnx.graph import Value, apply
from yolact_jax.export.onnx.layers import Map


def soft_masks(prototypes: Map, coefficients: Value) -> Value:
    """Combines [B, K, Hp, Wp] prototypes by [B, D, K] to [B, D, Hp, Wp], in [0, 1]."""
    rows, columns = prototypes.size
    # Of its own: the number of prototypes stands before the -1.
    flat = ops.reshape(prototypes.value, 0, 0, rows * columns)
    logits = apply("MatMul", coefficients, flat)
    return apply("Sigmoid", ops.reshape(logits, 0, 0, rows, columns))


def crop(masks: Value, boxes: Value, size: tuple[int, int]) -> Value:
    """Sets masks to 0 outside of [B, D, 4] boxes and a padding of one cell."""
    x1, y1, x2, y2 = ops.columns(boxes, 4)
    rows = ops.expand_dims(_inside(y1, y2, size[0]), -1)
    columns = ops.expand_dims(_inside(x1, x2, size[1]), -2)
    return ops.where(rows & columns, masks, 0.0)


def _inside(start: Value, end: Value, side: int) -> Value:
    """[B, D, side] bool: which cells are between [B, D, 1] bounds."""
    start, end = start * float(side), end * float(side)
    low = apply("Max", apply("Min", start, end) - 1.0, 0.0)
    high = apply("Min", apply("Max", start, end) + 1.0, float(side))
    cells = np.arange(side, dtype=np.float32)
    return (low <= cells) & (high > cells)


def widen(boxes: Value, margin: Value) -> Value:
    """Moves the sides of boxes outwards, as `ops.boxes.widen`."""
    x1, y1, x2, y2 = ops.columns(boxes, 4)
    size = ops.concatenate([x2 - x1, y2 - y1] * 2, -1)
    outwards = margin * np.array([-1, -1, 1, 1], np.float32)
    return ops.where(margin > 0.0, boxes + size * outwards, boxes)


def enlarge(
    masks: Value, height: Value, width: Value, shown: tuple[Value, Value] | None
) -> Value:
    """Enlarges [B, D, Hp, Wp] and thresholds at 0.5: [B, D, H, W] bool.

    `shown` are the rows and columns of the masks that the image covers; None for all.
    """
    if shown is None:
        return ops.enlarge(masks, height, width) > 0.5
    for axis, length, extent in zip((2, 3), (height, width), shown, strict=True):
        out_size = ops.cast(length, np.float32)
        taps = pixels.bilinear_taps(ops.centers(length), out_size, extent)
        masks = pixels.interpolate(masks, axis, *taps)
    return masks > 0.5
