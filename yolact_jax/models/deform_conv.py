"""Modulated deformable convolution, version 2 (Zhu et al. 2019), in plain JAX.

No compiled extension: the samples of all taps are gathered, interpolated bilinearly
and multiplied with the kernel as one matrix product.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from yolact_jax.models.layers import Conv, he_normal


def deform_conv(
    x: jax.Array,
    offsets: jax.Array,
    modulation: jax.Array,
    kernel: jax.Array,
    *,
    stride: int = 1,
    padding: int = 1,
) -> jax.Array:
    """Convolves with taps that are moved and weighted individually at every pixel.

    Tap (i, j) of output pixel (row, column) reads the map at ``row * stride - padding
    + i + dy``, ``column * stride - padding + j + dx``; outside it the map is zero.

    Args:
      x: [B, h, w, c] float32.
      offsets: [B, h', w', k * k, 2] float32, (dy, dx) of each tap in cells of `x`,
        taps row by row.
      modulation: [B, h', w', k * k] float32, factor of each sample.
      kernel: [k, k, c, d] float32.
      stride: step between output pixels, in cells of `x`.
      padding: cells by which the first tap of the first pixel lies outside.

    Returns:
      [B, h', w', d] float32; differentiable in the four arrays.
    """
    positions = _tap_grid(offsets.shape[1:3], kernel.shape[:2], stride, padding)
    samples = jax.vmap(_sample)(x, positions[None] + offsets)
    samples = samples * modulation[..., None]
    taps = kernel.reshape(-1, *kernel.shape[2:])
    return jnp.einsum("bhwtc,tcd->bhwd", samples, taps)


def _tap_grid(out_size, kernel_size, stride: int, padding: int) -> jax.Array:
    """Rows and columns [h', w', k * k, 2] at which an ordinary convolution reads."""
    axes = [
        jnp.arange(out)[:, None] * stride - padding + jnp.arange(taps)[None]
        for out, taps in zip(out_size, kernel_size, strict=True)
    ]
    shape = (*out_size, *kernel_size)
    rows = jnp.broadcast_to(axes[0][:, None, :, None], shape)
    columns = jnp.broadcast_to(axes[1][None, :, None, :], shape)
    grid = jnp.stack([rows, columns], axis=-1).astype(jnp.float32)
    return grid.reshape(*out_size, -1, 2)


def _sample(image: jax.Array, positions: jax.Array) -> jax.Array:
    """Reads [h, w, c] bilinearly at [..., 2] (row, column); zero outside."""
    height, width, channels = image.shape
    # One ring of zeros: every corner outside is clipped to it, no masks needed.
    padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0))).reshape(-1, channels)
    low = jnp.floor(positions)
    weight = positions - low
    result = 0.0
    for down in (0, 1):
        for right in (0, 1):
            # Clipped as floats: far offsets would not fit into integers.
            row = jnp.clip(low[..., 0] + (down + 1), 0, height + 1).astype(jnp.int32)
            column = jnp.clip(low[..., 1] + (right + 1), 0, width + 1)
            column = column.astype(jnp.int32)
            share_y = weight[..., 0] if down else 1 - weight[..., 0]
            share_x = weight[..., 1] if right else 1 - weight[..., 1]
            value = padded.at[row * (width + 2) + column].get(mode="promise_in_bounds")
            result += value * (share_y * share_x)[..., None]
    return result


class DeformConv(nn.Module):
    """Square deformable convolution that learns its offsets and modulation.

    A plain convolution predicts them; it starts at zero, so every tap starts in its
    ordinary place with modulation 0.5.  Runs in float32 whatever `dtype` is: bfloat16
    has too few digits for positions.

    Attributes:
      features: output channels.
      kernel_size: side of the kernel.
      stride: step of the kernel.
      dtype: type of the result.
      kernel_init: initializer of the kernel.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    dtype: Any = jnp.float32
    kernel_init: Callable = he_normal

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        gain: jax.Array | None = None,
        offset: jax.Array | None = None,
    ) -> jax.Array:
        """Maps [B, h, w, c] to [B, h / stride, w / stride, features].

        The gain is multiplied into kernel and bias; else as `Conv`.
        """
        x = x.astype(jnp.float32)
        num_taps = self.kernel_size**2
        steering = Conv(
            3 * num_taps,
            self.kernel_size,
            self.stride,
            kernel_init=nn.initializers.zeros,
            name="conv_offset_mask",
        )(x)
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        if gain is not None:
            kernel, bias = kernel * gain[None, None, None], bias * gain
        if offset is not None:
            bias = bias + offset
        y = deform_conv(
            x,
            steering[..., : 2 * num_taps].reshape(*steering.shape[:3], num_taps, 2),
            nn.sigmoid(steering[..., 2 * num_taps :]),
            kernel,
            stride=self.stride,
            padding=self.kernel_size // 2,
        )
        return (y + bias[None, None, None]).astype(self.dtype)
