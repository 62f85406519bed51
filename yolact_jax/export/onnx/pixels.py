"""From the pixels of an image to the input of the network.

The same numbers as `ops.resize.resize_valid` and `models.normalize`, to the last bit
where a runtime rounds as IEEE 754 says.  `Resize` of ONNX computes its positions in
another way, and moves samples by up to 1e-5 pixels.
"""

from typing import Any

import numpy as np

from yolact_jax.config import InputFrame
from yolact_jax.export.onnx import ops
from yolact_jax.export.onnx.graph import Value, apply
from yolact_jax.export.onnx.letterbox import Used
from yolact_jax.models.normalize import Normalization

# Splits a float32 into two halves of 12 bits (Veltkamp 1968).
_SPLITTER = 4097.0


def network_input(
    image: Value, frame: InputFrame, used: Used | None, normalization: Normalization
) -> Value:
    """Resizes and normalizes [B, H, W, N] uint8 to [B, N, *frame.size] float32."""
    resized = _resize_axis(image, 1, frame.height, used and used.rows)
    resized = _resize_axis(resized, 2, frame.width, used and used.columns)
    if used is not None:
        y, x = (np.arange(side, dtype=np.float32) for side in frame.size)
        inside = (used.rows > y[:, None, None]) & (used.columns > x[:, None])
        resized = ops.where(inside, resized, np.array(frame.padding, np.float32))
    mean, std = (
        np.array(x, np.float32) for x in (normalization.mean, normalization.std)
    )
    return apply("Transpose", (resized - mean) / std, perm=[0, 3, 1, 2])


def _resize_axis(image: Value, axis: int, length: int, used: Value | None) -> Value:
    position = np.arange(length, dtype=np.float32) + np.float32(0.5)
    extent = ops.cast(ops.size(image, axis), np.float32)
    taps = bilinear_taps(position, float(length) if used is None else used, extent)
    return interpolate(image, axis, *taps)


def interpolate(x: Value, axis: int, low: Value, high: Value, weight: Value) -> Value:
    """Resizes an axis of [B, ., ., .] by taps of `bilinear_taps`, to float32."""
    at_low, at_high = (
        ops.cast(ops.take(x, index, axis), np.float32) for index in (low, high)
    )
    weight = ops.reshape(weight, *(-1 if a == axis else 1 for a in range(4)))
    return at_low + (at_high - at_low) * weight


def bilinear_taps(
    position: Any, out_size: Any, extent: Value
) -> tuple[Value, Value, Value]:
    """The two input indices and the weight of the second, as in `ops.resize`.

    Args:
      position: [n] float32, the index of each output plus 0.5.
      out_size: [] float32, length of the output axis.
      extent: [] float32, length of the input axis, or of the part that is shown.

    Returns:
      ``(low, high, weight_high)``, [n] int64, int64 and float32.
    """
    scale = extent / out_size
    product = scale * _SPLITTER
    coarse = product - (product - scale)
    source = (coarse * position - 0.5) + (scale - coarse) * position
    last = apply("Ceil", extent) - 1.0
    source = ops.clip(source, 0.0, last)
    low = apply("Floor", source)
    high = apply("Min", low + 1.0, last)
    return ops.cast(low, np.int64), ops.cast(high, np.int64), source - low
