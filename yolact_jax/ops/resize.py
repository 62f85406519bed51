"""Bilinear resizing with half-pixel centers, two taps, no anti-aliasing.

`resize_bilinear` is for sizes known when tracing.  `resize_valid` reads only the
valid top-left part of a padded canvas, given at run time: images of many sizes then
share one compiled program.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from yolact_jax.config import InputFrame
from yolact_jax.ops import letterbox


def resize_bilinear(
    images: jax.Array, size: tuple[int, int], *, axes: tuple[int, int] = (-2, -1)
) -> jax.Array:
    """Resizes two `axes` of a float array to a static `size`; the type stays."""
    for axis, length in zip(axes, size, strict=True):
        images = _resize_axis(images, axis % images.ndim, length)
    return images


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _resize_axis(images: jax.Array, axis: int, length: int) -> jax.Array:
    in_size = images.shape[axis]
    resized = _lerp_axis(images, axis, jnp.arange(length), length, in_size)
    # Fused with the resizing of the other axis, every sample would be read twice.
    return jax.lax.optimization_barrier(resized)


def _resize_axis_forward(images, axis, length):
    return _resize_axis(images, axis, length), images.shape[axis]


def _resize_axis_backward(axis, length, in_size, gradient):
    """Gathers: scattering is slow, and on a GPU adds up in no fixed order."""
    index, weight = _transposed_taps(length, in_size)
    weight = weight.astype(gradient.dtype)
    shape = [1] * gradient.ndim
    shape[axis] = in_size
    total = sum(
        jnp.take(gradient, places, axis, mode="clip") * factors.reshape(shape)
        for places, factors in zip(index.T, weight.T, strict=True)
    )
    return (jax.lax.optimization_barrier(total),)


@functools.lru_cache
def _transposed_taps(length: int, in_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each input sample goes: outputs [in_size, n] int, weights [in_size, n]."""
    with jax.ensure_compile_time_eval():
        low, high, weight = map(
            np.asarray, bilinear_taps(jnp.arange(length), length, in_size)
        )
    matrix = np.zeros((in_size, length), np.float32)
    np.add.at(matrix, (low, np.arange(length)), 1 - weight)
    np.add.at(matrix, (high, np.arange(length)), weight)
    # Outputs of a sample are neighbors.
    first = np.argmax(matrix != 0, axis=1)
    last = length - 1 - np.argmax(matrix[:, ::-1] != 0, axis=1)
    used = matrix.any(axis=1)
    count = int(np.max(np.where(used, last - first + 1, 1)))
    index = np.minimum(first, length - count)[:, None] + np.arange(count)
    return index, np.take_along_axis(matrix, index, axis=1)


_resize_axis.defvjp(_resize_axis_forward, _resize_axis_backward)


def bilinear_taps(out_index: jax.Array, out_size, in_size, extent=None):
    """The two input indices and the weight of the second for each output index.

    Args:
      out_index: [n] int32 output positions.
      out_size: scalar, size of the output axis; may be traced.
      in_size: scalar, size of the input axis; may be traced.
      extent: scalar float32 of at most `in_size`, the part of the input axis, from its
        start, that the output shows; nothing behind it is read; None for all of it.

    Returns:
      ``(low [n] int32, high [n] int32, weight_high [n] float32)``; positions past
      the ends repeat the border.
    """
    in_size = jnp.asarray(in_size, jnp.int32)
    if extent is None:
        extent = in_size.astype(jnp.float32)
    else:
        in_size = jnp.minimum(jnp.ceil(extent).astype(jnp.int32), in_size)
    scale = extent / jnp.asarray(out_size, jnp.float32)
    source = _half_pixel_source(out_index.astype(jnp.float32) + 0.5, scale)
    source = jnp.clip(source, 0, in_size.astype(jnp.float32) - 1)
    low = jnp.floor(source).astype(jnp.int32)
    high = jnp.minimum(low + 1, in_size - 1)
    return low, high, source - low.astype(jnp.float32)


def _half_pixel_source(position: jax.Array, scale: jax.Array) -> jax.Array:
    """``position * scale - 0.5``, rounded once, as a fused multiply-add does.

    PyTorch compiles to one.  Rounding twice moves samples by up to 1e-5 pixels, once
    the largest difference from the original.  Both products here are exact: each half
    of the scale has 12 bits, and so has a position below 2048.
    """
    coarse = jax.lax.reduce_precision(scale, exponent_bits=8, mantissa_bits=11)
    return (position * coarse - 0.5) + position * (scale - coarse)


def _lerp_axis(images, axis: int, out_index, out_size, in_size) -> jax.Array:
    low, high, weight = bilinear_taps(out_index, out_size, in_size)
    broadcast = [1] * images.ndim
    broadcast[axis] = -1
    weight = weight.reshape(broadcast)
    at_low = jnp.take(images, low, axis, mode="clip")
    at_high = jnp.take(images, high, axis, mode="clip")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        at_low, at_high = at_low.astype(jnp.float32), at_high.astype(jnp.float32)
    return at_low + (at_high - at_low) * weight.astype(at_low.dtype)


def resize_valid(
    image: jax.Array, valid_size: jax.Array, frame: InputFrame
) -> jax.Array:
    """Resizes the valid part of a padded image to the network input.

    Args:
      image: [Hc, Wc, N] uint8 or float32 canvas, in 0..255.
      valid_size: [2] int32, height and width of the valid top-left part.
      frame: the network input; what the image does not fill gets its padding.

    Returns:
      [H, W, N] float32 in the unit of the input.
    """
    used = letterbox.used_size(valid_size, frame)
    y, x = jnp.arange(frame.height), jnp.arange(frame.width)
    rows = _lerp_axis(image, 0, y, used[0], valid_size[0])
    resized = _lerp_axis(rows, 1, x, used[1], valid_size[1])
    if not frame.letterbox:
        return resized
    inside = (y < used[0])[:, None, None] & (x < used[1])[None, :, None]
    padding = jnp.asarray(frame.padding, jnp.float32)[None, None]
    return jnp.where(inside, resized, padding)
