"""3x3 convolution with a quarter of the multiplications (Lavin and Gray 2016).

Winograd's algorithm F(4x4, 3x3): every tile of 4x4 outputs comes from 6x6 inputs by 36
products instead of 144.  The sums are formed in another order, so in float32 results
differ from the plain convolution by 4e-6 of their norm, single ones by up to 1e-4 of
the standard deviation.  Libraries for GPUs choose it by themselves; XLA on a CPU does
not have it, and computes kernel gradients of large maps slowly.

Functions are jitted so that JAX traces each shape once and not at every layer.
"""

from collections.abc import Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

_OUT = 4
_IN = 6
# Evaluation at the points 0, 1, -1, 2, -2 and infinity.
_INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float32,
)
_KERNEL = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    np.float32,
)
_OUTPUT = np.array(
    [
        [1, 1, 1, 1, 1, 0],
        [0, 1, -1, 2, -2, 0],
        [0, 1, 1, 4, 4, 0],
        [0, 1, -1, 8, -8, 1],
    ],
    np.float32,
)


# Smaller maps and fewer channels do not repay the transforms.
_MIN_CELLS = 300
_MIN_CHANNELS = 32


def is_worthwhile(map_shape: Sequence[int], features: int) -> bool:
    """Whether the algorithm is faster on a CPU: for large maps of many channels.

    It does not depend on the size of the batch, so that an image gives the same result
    however a batch is spread over devices.

    Args:
      map_shape: [B, h, w, c].
      features: d, output channels.
    """
    _, height, width, channels = map_shape
    large = height * width >= _MIN_CELLS
    return large and min(channels, features) >= _MIN_CHANNELS


@jax.jit
def transform_kernel(kernel: jax.Array) -> list[jax.Array]:
    """Brings a [3, 3, c, d] float32 kernel into the form for `convolve_transformed`.

    Returns:
      For each of the six columns of a tile [6, c, d] float32, the factors of its rows.
    """
    rows = jnp.stack(_combine(_KERNEL, list(kernel)), axis=1)
    return _combine(_KERNEL, list(rows))


@jax.jit
def winograd_convolution(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves [B, h, w, c] with [3, 3, c, d], stride 1, one zero on every side.

    Its gradients are computed in the same way.
    """
    return _convolve(x, kernel)


@jax.custom_vjp
def _convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return convolve_transformed(x, transform_kernel(kernel))


@jax.jit
def convolve_transformed(x: jax.Array, transformed: Sequence[jax.Array]) -> jax.Array:
    """Convolves [B, h, w, c] with a kernel from `transform_kernel`: [B, h, w, d]."""
    batch, height, width, _ = x.shape
    high, wide = -(-height // _OUT), -(-width // _OUT)
    products = [
        jnp.einsum("itc,icd->itd", column, factors)
        for column, factors in zip(_input_columns(x), transformed, strict=True)
    ]
    rows = _materialize(_combine(_OUTPUT, products), axis=2)
    tiles = [
        tile.reshape(batch, high, wide * _OUT, -1)
        for tile in _combine(_OUTPUT, list(rows))
    ]
    shape = (batch, high * _OUT, wide * _OUT, -1)
    return jnp.stack(tiles, axis=2).reshape(shape)[:, :height, :width]


def _input_columns(x: jax.Array) -> list[jax.Array]:
    """Transforms all 6x6 tiles; six arrays [6, tiles, c], one per column of a tile."""
    _, height, width, channels = x.shape
    high, wide = -(-height // _OUT), -(-width // _OUT)
    pad = ((0, 0), (1, high * _OUT + 1 - height), (1, wide * _OUT + 1 - width), (0, 0))
    x = jnp.pad(x, pad)
    rows = _materialize(_combine(_INPUT, _windows(x, 1, high)))
    columns = _combine(_INPUT, _windows(rows, 3, wide))
    return [
        jax.lax.optimization_barrier(column).reshape(_IN, -1, channels)
        for column in columns
    ]


def _windows(x: jax.Array, axis: int, tiles: int) -> list[jax.Array]:
    """For each of the six places in a tile, its value in every tile along an axis."""
    stop = (tiles - 1) * _OUT + 1
    return [jax.lax.slice_in_dim(x, i, i + stop, _OUT, axis) for i in range(_IN)]


def _combine(matrix: np.ndarray, parts: Sequence[jax.Array]) -> list[jax.Array]:
    """Sums of the parts, weighted by the rows of a matrix with many zeros."""
    sums = [
        sum(
            part if factor == 1 else factor * part
            for factor, part in zip(row, parts, strict=True)
            if factor
        )
        for row in matrix
    ]
    return cast("list[jax.Array]", sums)  # No row is zero.


def _materialize(parts: Sequence[jax.Array], axis: int = 0) -> jax.Array:
    """Stacks in memory; otherwise XLA would recompute each part at every use."""
    return jax.lax.optimization_barrier(jnp.stack(parts, axis))


def _forward(x, kernel):
    return _convolve(x, kernel), (x, kernel)


def _backward(residuals, gradient):
    x, kernel = residuals
    turned = transform_kernel(jnp.flip(kernel, (0, 1)))
    # Transposed last, within the matrix products, where it costs nothing.
    turned = [factors.swapaxes(1, 2) for factors in turned]
    return convolve_transformed(gradient, turned), _kernel_gradient(x, gradient)


@jax.jit
def _kernel_gradient(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """Gradient [3, 3, c, d] of the kernel, from products of transformed tiles."""
    products = [
        jnp.einsum("itc,itd->icd", column, gradient_column)
        for column, gradient_column in zip(
            _input_columns(x), _output_columns(gradient), strict=True
        )
    ]
    columns = jnp.stack(_combine(_KERNEL.T, products), axis=1)
    return jnp.stack(_combine(_KERNEL.T, list(columns)))


def _output_columns(gradient: jax.Array) -> list[jax.Array]:
    """The transposed output transform; six arrays [6, tiles, d]."""
    batch, height, width, channels = gradient.shape
    high, wide = -(-height // _OUT), -(-width // _OUT)
    pad = ((0, 0), (0, high * _OUT - height), (0, wide * _OUT - width), (0, 0))
    tiles = jnp.pad(gradient, pad).reshape(batch, high, _OUT, wide, _OUT, channels)
    rows = _materialize(_combine(_OUTPUT.T, [tiles[:, :, i] for i in range(_OUT)]))
    columns = _combine(_OUTPUT.T, [rows[..., j, :] for j in range(_OUT)])
    return [
        jax.lax.optimization_barrier(column).reshape(_IN, -1, channels)
        for column in columns
    ]


_convolve.defvjp(_forward, _backward)
