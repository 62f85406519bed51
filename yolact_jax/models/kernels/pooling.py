"""Max pooling with a gradient that is fast on a CPU."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


@jax.custom_vjp
def max_pool(x: jax.Array) -> jax.Array:
    """Takes the maximum of 3x3 windows, stride 2, padding 1: [B, h, w, c] float.

    XLA computes the maximum fast but its gradient slowly on a CPU
    (`benchmarks/layers.py`).  So under differentiation these are maxima of strided
    slices, first over rows, then over columns, which takes half the time.
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
