"""Depthwise convolutions of [B, h, w, c] maps: one small kernel for each channel.

On a CPU XLA's own form takes many times as long as a sum over the elements of the
kernel's square, which it fuses to a single pass over the map.
"""

import functools
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise_convolution(
    x: jax.Array, kernel: jax.Array, stride: int, pad: int
) -> jax.Array:
    """Convolves [B, h, w, c] with [k, k, 1, c] to [B, h', w', c], all of one type.

    Puts `pad` zeros, fewer than k, on every side; `stride` is the step of the kernel.
    """
    return jax.lax.platform_dependent(
        x,
        kernel,
        cpu=partial(by_taps, stride=stride, pad=pad),
        default=partial(at_once, stride=stride, pad=pad),
    )


def _forward(x, kernel, stride, pad):
    return depthwise_convolution(x, kernel, stride, pad), (x, kernel)


def _backward(stride, pad, residuals, gradient):
    return jax.lax.platform_dependent(
        *residuals,
        gradient,
        cpu=partial(_gradients_by_taps, stride, pad),
        default=partial(_gradients_at_once, stride, pad),
    )


depthwise_convolution.defvjp(_forward, _backward)


def at_once(x: jax.Array, kernel: jax.Array, stride: int, pad: int) -> jax.Array:
    """Convolves as `depthwise_convolution` does, in XLA's own form."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(pad, pad), (pad, pad)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def by_taps(x: jax.Array, kernel: jax.Array, stride: int, pad: int) -> jax.Array:
    """Convolves as `depthwise_convolution` does, by one product for each element."""
    wide = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    weights = kernel.reshape(-1, 1, 1, 1, kernel.shape[-1]).astype(jnp.float32)
    taps = _taps(wide, len(kernel), stride)
    products = (tap * weight for tap, weight in zip(taps, weights, strict=True))
    return functools.reduce(jnp.add, products).astype(x.dtype)


def _taps(x: jax.Array, size: int, stride: int) -> list[jax.Array]:
    """What each element of the kernel's square meets, row by row: [B, h', w', c]."""
    high, wide = (length - size + 1 for length in x.shape[1:3])
    return [
        x[:, i : i + high : stride, j : j + wide : stride]
        for i in range(size)
        for j in range(size)
    ]


def _gradients_at_once(stride: int, pad: int, x, kernel, gradient):
    def transpose(form: Callable, at: jax.Array) -> jax.Array:
        return jax.linear_transpose(form, at)(gradient)[0]

    return (
        transpose(lambda x: at_once(x, kernel, stride, pad), x),
        transpose(lambda kernel: at_once(x, kernel, stride, pad), kernel),
    )


def _gradients_by_taps(stride: int, pad: int, x, kernel, gradient):
    size = len(kernel)
    wide = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    sums = [
        jnp.einsum("bhwc,bhwc->c", tap, gradient, preferred_element_type=jnp.float32)
        for tap in _taps(wide, size, stride)
    ]
    kernel_gradient = jnp.stack(sums).reshape(kernel.shape).astype(kernel.dtype)
    # Each element of the map meets the kernel turned by half a turn.
    config = [(0, 0, 0)] * 4
    for axis in (1, 2):
        steps = stride * (gradient.shape[axis] - 1) + 1
        first = size - 1 - pad
        last = x.shape[axis] + size - 1 - steps - first
        config[axis] = (first, last, stride - 1)
    spread = jax.lax.pad(gradient, jnp.zeros((), gradient.dtype), config)
    return by_taps(spread, kernel[::-1, ::-1], 1, 0), kernel_gradient
