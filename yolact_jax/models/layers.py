"""Convolution with explicit symmetric padding, followed by batch normalization."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
from flax import linen as nn

from yolact_jax.models.batch_norm import BatchNorm, FrozenBatchNorm
from yolact_jax.models.kernels import winograd
from yolact_jax.models.kernels.convolution import convolution, pointwise_convolution

he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "truncated_normal")
xavier_uniform = nn.initializers.xavier_uniform()

_T = TypeVar("_T")


def is_prepared(module: nn.Module, name: str) -> bool:
    """Whether `prepared` stores a value, or has it."""
    if module.is_initializing():
        return False
    collection = module.is_mutable_collection("prepared")
    return collection or module.has_variable("prepared", name)


def prepared(module: nn.Module, name: str, make: Callable[[], _T]) -> _T:
    """Makes a value that depends on variables alone; for inference only once.

    When the collection "prepared" is mutable, the module stores the value there; when
    the collection is among its variables, the module takes the value from it.

    Args:
      module: that needs the value.
      name: of the value.
      make: computes it.
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
      winograd: use `kernels.winograd` where it is faster on a CPU.
      kernel_init: initializer of the kernel.
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
        """Maps [B, h, w, c] float to [B, h', w', features] in `dtype`.

        `gain`, [features] float32, multiplies the kernel; `offset` is added to the
        result.
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
            y = cast("jax.Array", y)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            y = self._add(y, "bias", bias)
        return y if offset is None else self._add(y, "offset", offset)

    def _suits_winograd(self, shape: tuple[int, ...], pad: int) -> bool:
        return (
            self.winograd
            and not self.is_initializing()  # Only shapes matter then.
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


def conv_and_norm(
    use_running_average: bool, axis_name: str | None, dtype: Any, *, winograd: bool
) -> tuple[partial, Callable[..., BatchNorm | FrozenBatchNorm]]:
    """Returns the two layers of backbones, for `conv_norm`.

    Args:
      use_running_average: whether to normalize by the stored statistics.
      axis_name: see `BatchNorm`.
      dtype: type in which convolutions run, and of all results.
      winograd: see `Conv`.

    Returns:
      `Conv` without bias, bound to all but its sizes, and the normalization, which
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
    """Convolves and normalizes [B, h, w, c] to [B, h', w', features], in `conv`'s type.

    A frozen gain goes into the kernel, so that neither the features nor their
    gradients are multiplied by it.
    """
    if isinstance(norm, FrozenBatchNorm):
        return conv(x, *norm(conv.features))
    return norm(conv(x))
