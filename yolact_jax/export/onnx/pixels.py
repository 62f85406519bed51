"""From the pixels of an image to the input of the network.

The same numbers as `ops.resize.resize_valid` and `models.normalize`, to the last bit
where a runtime rounds as IEEE 754 says.  `Resize` of ONNX computes its positions in
another way, and moves samples by up to 1e-5 pixels.
"""

import numpy as np

from yolact_jax.export.onnx import ops
from yolact_jax.export.onnx.graph import Value, apply
from yolact_jax.models.normalize import Normalization

# Splits a float32 into two halves of 12 bits (Veltkamp 1968).
_SPLITTER = 4097.0


def network_input(image: Value, side: int, normalization: Normalization) -> Value:
    """Resizes and normalizes [B, H, W, N] uint8 to [B, N, side, side] float32."""
    resized = _resize_axis(_resize_axis(image, 1, side), 2, side)
    mean, std = (
        np.array(x, np.float32) for x in (normalization.mean, normalization.std)
    )
    return apply("Transpose", (resized - mean) / std, perm=[0, 3, 1, 2])


def _resize_axis(image: Value, axis: int, length: int) -> Value:
    low, high, weight = bilinear_taps(ops.size(image, axis), length)
    at_low, at_high = (
        ops.cast(ops.take(image, index, axis), np.float32) for index in (low, high)
    )
    weight = ops.reshape(weight, *(-1 if a == axis else 1 for a in range(4)))
    return at_low + (at_high - at_low) * weight


def bilinear_taps(in_size: Value, out_size: int) -> tuple[Value, Value, Value]:
    """The two input indices and the weight of the second, as in `ops.resize`.

    Args:
      in_size: [] int64, length of the input axis.
      out_size: length of the output axis.

    Returns:
      ``(low, high, weight_high)``, [out_size] int64, int64 and float32.
    """
    length = ops.cast(in_size, np.float32)
    scale = length / float(out_size)
    product = scale * _SPLITTER
    coarse = product - (product - scale)
    position = np.arange(out_size, dtype=np.float32) + np.float32(0.5)
    source = (coarse * position - 0.5) + (scale - coarse) * position
    source = ops.clip(source, 0.0, length - 1.0)
    low = apply("Floor", source)
    high = apply("Min", low + 1.0, length - 1.0)
    return ops.cast(low, np.int64), ops.cast(high, np.int64), source - low
