"""Convolution with explicit symmetric padding, and batch normalisation."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from yolact_jax.models import winograd

he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "truncated_normal")
xavier_uniform = nn.initializers.xavier_uniform()


def convolution(x: jax.Array, kernel: jax.Array, stride: int, pad: int) -> jax.Array:
    """Convolves [B, h, w, c] with [k, k, c, d], `pad` zeros on every side."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(pad, pad), (pad, pad)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def pointwise_convolution(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolves [B, h, w, c] with [1, 1, c, d] as a matrix product.

    XLA runs it mostly faster on a CPU than the convolution it equals, and its kernel
    gradient 2 to 11 times faster (`benchmarks/layers.py`).
    """
    if stride > 1:
        x = x[:, ::stride, ::stride]
    return jnp.einsum("bhwc,cd->bhwd", x, kernel[0, 0])


@jax.custom_vjp
def max_pool(x: jax.Array) -> jax.Array:
    """Takes the maximum of 3x3 windows, stride 2, padding 1: [B, h, w, c] float.

    Under differentiation as maxima of strided slices, first over rows, then over
    columns, since the gradient of XLA's windowed maximum takes twice as long on a CPU
    (`benchmarks/layers.py`); the maximum itself is the faster as XLA has it.
    """
    return jax.lax.reduce_window(
        x,
        -jnp.inf,
        jax.lax.max,
        window_dimensions=(1, 3, 3, 1),
        window_strides=(1, 2, 2, 1),
        padding=((0, 0), (1, 1), (1, 1), (0, 0)),
    )


def _max_pool_forward(x: jax.Array) -> tuple[jax.Array, Callable]:
    return jax.vjp(lambda x: _max_of_three(_max_of_three(x, axis=1), axis=2), x)


def _max_pool_backward(pull_back: Callable, gradient: jax.Array):
    return pull_back(gradient)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _max_of_three(x: jax.Array, axis: int) -> jax.Array:
    size = (x.shape[axis] + 1) // 2
    widths = [(0, 0)] * x.ndim
    widths[axis] = (1, 1 + x.shape[axis] % 2)
    x = jnp.pad(x, widths, constant_values=-jnp.inf)
    first, second, third = (
        jax.lax.slice_in_dim(x, i, i + 2 * size - 1, 2, axis) for i in range(3)
    )
    return jnp.maximum(jnp.maximum(first, second), third)


def is_prepared(module: nn.Module, name: str) -> bool:
    """Whether `prepared` keeps a value, or has it."""
    if module.is_initializing():
        return False
    collection = module.is_mutable_collection("prepared")
    return collection or module.has_variable("prepared", name)


def prepared(module: nn.Module, name: str, make: Callable[[], jax.Array]) -> jax.Array:
    """Makes a value that depends on variables alone, for inference only once.

    Applied with the collection "prepared" mutable, a module puts the value there, and
    takes it from there when the collection is among its variables.

    Args:
      module: whose value it is.
      name: of the value.
      make: computes it.

    Returns:
      The value.
    """
    if not is_prepared(module, name):
        return make()
    return module.variable("prepared", name, make).value


class Conv(nn.Module):
    """Square convolution with ``kernel_size // 2`` padding on every side.

    ``SAME`` would pad strided convolutions of even maps on one side only and shift
    the features against the weights of the original.

    Attributes:
      features: output channels.
      kernel_size: side of the kernel.
      stride: step of the kernel.
      use_bias: whether to add a bias per channel.
      padding: overrides the symmetric padding, pixels on every side.
      dtype: type in which the convolution runs; parameters stay float32.
      winograd: use Winograd's algorithm where it is faster on a CPU, see `winograd`.
      kernel_init: initialiser of the kernel.
    """

    features: int
    kernel_size: int
    stride: int = 1
    use_bias: bool = True
    padding: int | None = None
    dtype: Any = jnp.float32
    winograd: bool = False
    kernel_init: Callable = xavier_uniform

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        gain: jax.Array | None = None,
        offset: jax.Array | None = None,
    ) -> jax.Array:
        """Maps [B, h, w, c] to [B, h', w', features] in `dtype`.

        Args:
          x: [B, h, w, c] float.
          gain: [features] float32, multiplied into the kernel.
          offset: [features] float32, added to the result.

        Returns:
          The convolution.
        """
        pad = self.kernel_size // 2 if self.padding is None else self.padding
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        parameter = self.param("kernel", self.kernel_init, shape, jnp.float32)
        x = x.astype(self.dtype)

        def kernel() -> jax.Array:
            folded = parameter if gain is None else parameter * gain[None, None, None]
            return folded.astype(self.dtype)

        if self._suits_winograd(x.shape, pad):
            y = self._winograd_convolution(x, kernel)
        elif self.kernel_size == 1:
            y = pointwise_convolution(x, prepared(self, "kernel", kernel), self.stride)
        else:
            y = convolution(x, prepared(self, "kernel", kernel), self.stride, pad)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            y = self._add(y, "bias", bias)
        return y if offset is None else self._add(y, "offset", offset)

    def _suits_winograd(self, shape: tuple[int, ...], pad: int) -> bool:
        return (
            self.winograd
            and (self.kernel_size, self.stride, pad) == (3, 1, 1)
            and winograd.is_worthwhile(shape, self.features)
        )

    def _winograd_convolution(self, x: jax.Array, kernel: Callable) -> jax.Array:
        # Of its own name: the head also convolves maps too small for the algorithm.
        name = "transformed_kernel"
        if not is_prepared(self, name):
            return winograd.winograd_convolution(x, kernel())
        transformed = prepared(self, name, lambda: winograd.transform_kernel(kernel()))
        return winograd.convolve_transformed(x, transformed)

    def _add(self, y: jax.Array, name: str, vector: jax.Array) -> jax.Array:
        vector = prepared(self, name, lambda: vector.astype(self.dtype))
        return y + vector[None, None, None]


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


def conv_and_norm(
    use_running_average: bool, axis_name: str | None, dtype: Any, *, winograd: bool
) -> tuple[partial, Callable[..., BatchNorm | FrozenBatchNorm]]:
    """Returns what backbones are made of, for `conv_norm`.

    Args:
      use_running_average: whether to normalise by the stored statistics.
      axis_name: see `BatchNorm`.
      dtype: type in which convolutions run, and of all results.
      winograd: see `Conv`.

    Returns:
      `Conv` without bias, bound to all but its sizes, and the normalisation, which
      takes ``scale_init`` and ``name``.
    """
    conv = partial(
        Conv, use_bias=False, dtype=dtype, winograd=winograd, kernel_init=he_normal
    )
    if use_running_average:
        return conv, FrozenBatchNorm
    return conv, partial(BatchNorm, axis_name=axis_name, dtype=dtype)


def conv_norm(
    conv: nn.Module, norm: BatchNorm | FrozenBatchNorm, x: jax.Array
) -> jax.Array:
    """Convolves and normalises [B, h, w, c].

    A frozen gain goes into the kernel, so that neither the features nor their
    gradients are multiplied by it.

    Args:
      conv: `Conv` or `DeformConv`, without another bias or with.
      norm: its normalisation.
      x: [B, h, w, c] float.

    Returns:
      [B, h', w', features] in the type of `conv`.
    """
    if isinstance(norm, FrozenBatchNorm):
        return conv(x, *norm(conv.features))
    return norm(conv(x))
