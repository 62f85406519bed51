"""Batch normalisation by the statistics of the batch, and by stored ones."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


class BatchNorm(nn.Module):
    """Batch normalisation with PyTorch's running statistics.

    Flax's own layer accumulates the biased variance; PyTorch, in which the published
    models were trained, the unbiased one.  Statistics are float32 and global: under
    ``jit`` with a sharded batch by themselves, under ``pmap`` through `axis_name`.

    Attributes:
      momentum: share of the old running statistics in the new.
      epsilon: added to the variance.
      axis_name: mapped axis over which to average the statistics, if any.
      scale_init: initialiser of the scale.
      dtype: type of the result.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    axis_name: str | None = None
    scale_init: Callable = nn.initializers.ones
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalises the channels of [B, h, w, c] by their statistics."""
        scale, bias, mean, var = _norm_variables(self, x.shape[-1])
        batch_mean, batch_var, count = self._statistics(x)
        if not self.is_initializing():
            unbiased = batch_var * (count / max(count - 1, 1))
            mean.value = self._running(mean.value, batch_mean)
            var.value = self._running(var.value, unbiased)
        gain, offset = _gain_and_offset(
            scale, bias, batch_mean, batch_var, self.epsilon
        )
        y = x * gain[None, None, None] + offset[None, None, None]
        return y.astype(self.dtype)

    def _running(self, old: jax.Array, new: jax.Array) -> jax.Array:
        return self.momentum * old + (1 - self.momentum) * jax.lax.stop_gradient(new)

    def _statistics(self, x: jax.Array):
        x = x.astype(jnp.float32)
        count = x.size // x.shape[-1]
        mean = jnp.mean(x, axis=(0, 1, 2))
        if self.axis_name is not None:
            mean = jax.lax.pmean(mean, self.axis_name)
            count *= jax.lax.axis_size(self.axis_name)
        # Two passes: E[x^2] - E[x]^2 cancels in float32 when the mean is large.
        var = jnp.mean(jnp.square(x - mean[None, None, None]), axis=(0, 1, 2))
        if self.axis_name is not None:
            var = jax.lax.pmean(var, self.axis_name)
        return mean, var, count


class FrozenBatchNorm(nn.Module):
    """Batch normalisation by the stored statistics: a gain and an offset per channel.

    It has the variables of `BatchNorm` and leaves them alone; no gradient reaches
    scale and bias, as the original does not train them while statistics are frozen.

    Attributes:
      epsilon: added to the variance.
      scale_init: initialiser of the scale.
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
