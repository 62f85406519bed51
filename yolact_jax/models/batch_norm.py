"""Batch normalization by the statistics of the batch, and by stored ones."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn


class BatchNorm(nn.Module):
    """Batch normalization with PyTorch's running statistics.

    Flax's own layer accumulates the biased variance; PyTorch, and so the published
    models, the unbiased one.  Statistics are float32 and global: under ``jit`` with a
    sharded batch by themselves, under ``pmap`` through `axis_name`.

    Attributes:
      momentum: share of the old running statistics in the new.
      epsilon: added to the variance.
      axis_name: mapped axis over which to average the statistics, if any.
      scale_init: initializer of the scale.
      dtype: type of the result.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    axis_name: str | None = None
    scale_init: Callable = nn.initializers.ones
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalizes the channels of [B, h, w, c] by their statistics."""
        scale, bias, mean, var = _norm_variables(self, x.shape[-1])
        normalized = _normalize(
            self.epsilon, self.axis_name, self.dtype, x, scale, bias, mean.value
        )
        y, batch_mean, batch_var = cast("tuple[jax.Array, ...]", normalized)
        if not self.is_initializing():
            count = x.size // x.shape[-1]
            if self.axis_name is not None:
                count *= jax.lax.axis_size(self.axis_name)
            unbiased = batch_var * (count / max(count - 1, 1))
            mean.value = self._running(mean.value, batch_mean)
            var.value = self._running(var.value, unbiased)
        return y

    def _running(self, old: jax.Array, new: jax.Array) -> jax.Array:
        return self.momentum * old + (1 - self.momentum) * new


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _normalize(epsilon: float, axis_name: str | None, dtype, x, scale, bias, shift):
    """Normalizes [B, h, w, c] float by the statistics of the batch.

    Forward and backward read the map once for all sums and once for the result.
    `shift` is near the mean; E[x^2] - E[x]^2 would cancel without it.  Returns the map,
    its mean and its biased variance, [c] float32; the latter two carry no gradient.
    """
    return _normalize_forward(epsilon, axis_name, dtype, x, scale, bias, shift)[0]


def _normalize_forward(epsilon, axis_name, dtype, x, scale, bias, shift):
    shifted = x.astype(jnp.float32) - _spread(shift)
    mean, square = _mean(axis_name, shifted, jnp.square(shifted))
    var = jnp.maximum(square - jnp.square(mean), 0)
    mean += shift
    gain, offset = _gain_and_offset(scale, bias, mean, var, epsilon)
    y = (x * _spread(gain) + _spread(offset)).astype(dtype)
    return (y, mean, var), (x, scale, mean, jax.lax.rsqrt(var + epsilon))


def _normalize_backward(epsilon, axis_name, dtype, residuals, gradients):
    x, scale, mean, inverse = residuals
    gradient = gradients[0].astype(jnp.float32)
    normal = (x - _spread(mean)) * _spread(inverse)
    means = _mean(None, gradient, gradient * normal)
    count = x.size // x.shape[-1]
    bias_gradient, scale_gradient = (count * each for each in means)
    if axis_name is not None:  # The statistics are of all devices, so act on all.
        means = jax.lax.pmean(means, axis_name)
    first, second = means
    centered = gradient - _spread(first) - normal * _spread(second)
    x_gradient = _spread(scale * inverse) * centered
    no_gradient = jnp.zeros_like(mean)
    return x_gradient.astype(x.dtype), scale_gradient, bias_gradient, no_gradient


_normalize.defvjp(_normalize_forward, _normalize_backward)


def _spread(channels: jax.Array) -> jax.Array:
    return channels[None, None, None]


def _mean(axis_name: str | None, *maps: jax.Array) -> list[jax.Array]:
    means = [jnp.mean(each, axis=(0, 1, 2)) for each in maps]
    return means if axis_name is None else jax.lax.pmean(means, axis_name)


class FrozenBatchNorm(nn.Module):
    """Batch normalization by the stored statistics: a gain and an offset per channel.

    It has the variables of `BatchNorm` and does not change them; scale and bias get no
    gradient, as the original does not train them while statistics are frozen.

    Attributes:
      epsilon: added to the variance.
      scale_init: initializer of the scale.
    """

    epsilon: float = 1e-5
    scale_init: Callable = nn.initializers.ones

    @nn.compact
    def __call__(self, features: int) -> tuple[jax.Array, jax.Array]:
        """Returns gain and offset, [features] float32, for `Conv`."""
        scale, bias, mean, var = _norm_variables(self, features)
        return jax.lax.stop_gradient(
            _gain_and_offset(scale, bias, mean.value, var.value, self.epsilon)
        )


def _norm_variables(module: BatchNorm | FrozenBatchNorm, features: int):
    shape = (features,)
    return (
        module.param("scale", module.scale_init, shape),
        module.param("bias", nn.initializers.zeros, shape),
        module.variable("batch_stats", "mean", jnp.zeros, shape),
        module.variable("batch_stats", "var", jnp.ones, shape),
    )


def _gain_and_offset(scale, bias, mean, var, epsilon: float):
    gain = scale * jax.lax.rsqrt(var + epsilon)
    return gain, bias - mean * gain
