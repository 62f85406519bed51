"""Convolutions of [B, h, w, c] maps, with fast gradients.

XLA has one convolution and derives its gradients from it.  On a CPU some of these take
many times as long as the same sums as matrix products, and on a GPU some products take
longer than others with the same result (`benchmarks/layers.py`): here they are written
out.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp


@partial(jax.jit, static_argnums=(2, 3))
def convolution(x: jax.Array, kernel: jax.Array, stride: int, pad: int) -> jax.Array:
    """Convolves [B, h, w, c] with [k, k, c, d] to [B, h', w', d], all of one type.

    Puts `pad` zeros, fewer than k, on every side; `stride` is the step of the kernel.
    """
    # Jitted so that JAX traces each shape once and not at every layer.
    return _convolve(x, kernel, stride, pad)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x: jax.Array, kernel: jax.Array, stride: int, pad: int) -> jax.Array:
    if not _is_stem(x, kernel, stride):
        return plain_convolution(x, kernel, stride, pad)
    return jax.lax.platform_dependent(
        x,
        kernel,
        cpu=partial(plain_convolution, stride=stride, pad=pad),
        default=partial(space_to_depth_convolution, pad=pad),
    )


def _forward(x, kernel, stride, pad):
    return _convolve(x, kernel, stride, pad), (x, kernel)


def _backward(stride, pad, residuals, gradient):
    x, kernel = residuals
    x_gradient = jax.linear_transpose(
        lambda x: plain_convolution(x, kernel, stride, pad), x
    )(gradient)
    kernel_gradient = jax.lax.platform_dependent(
        x,
        gradient,
        cpu=partial(_kernel_gradient_on_cpu, kernel.shape, stride, pad),
        default=partial(_kernel_gradient_at_once, kernel.shape, stride, pad),
    )
    return *x_gradient, kernel_gradient


_convolve.defvjp(_forward, _backward)


def plain_convolution(
    x: jax.Array, kernel: jax.Array, stride: int, pad: int
) -> jax.Array:
    """Convolves as `convolution` does, in XLA's own form."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(pad, pad), (pad, pad)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _is_stem(x: jax.Array, kernel: Any, stride: int) -> bool:
    return stride == 2 and kernel.shape[0] % 2 == 1 and x.shape[-1] <= 4


def space_to_depth_convolution(x: jax.Array, kernel: jax.Array, pad: int) -> jax.Array:
    """Convolves with stride 2, as stride 1 after moving 2x2 pixels to channels.

    Matrix units are made for many channels; three channels leave most of a unit idle.

    Args:
      x: [B, h, w, c] float.
      kernel: [k, k, c, d], k odd; a row and a column of zeros make its side even.
      pad: zeros on every side.

    Returns:
      [B, h', w', d], as `convolution` with stride 2.
    """
    size = kernel.shape[0] + 1
    x = _pad_to_fit(x, size, 2, pad + 1, [_steps(n, size - 1, 2, pad) for n in x.shape])
    kernel = jnp.pad(kernel, ((1, 0), (1, 0), (0, 0), (0, 0)))
    batch, height, width, channels = x.shape
    blocks = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    blocks = blocks.transpose(0, 1, 3, 2, 4, 5)
    blocks = blocks.reshape(batch, height // 2, width // 2, 4 * channels)
    kernel = kernel.reshape(size // 2, 2, size // 2, 2, channels, -1)
    kernel = kernel.transpose(0, 2, 1, 3, 4, 5)
    kernel = kernel.reshape(size // 2, size // 2, 4 * channels, -1)
    return plain_convolution(blocks, kernel, 1, 0)


def _steps(length: int, size: int, stride: int, pad: int) -> int:
    """How many places a kernel of a size has on an axis."""
    return (length + 2 * pad - size) // stride + 1


def _pad_to_fit(x, size: int, stride: int, first: int, steps) -> jax.Array:
    """Pads [B, h, w, c] with zeros, so that the last step ends at the end.

    At the end that can be fewer than `first`, or negative, where steps leave some over.
    """
    widths = [(0, 0, 0)] * 4
    for axis in (1, 2):
        end = stride * (steps[axis] - 1) + size
        widths[axis] = (first, end - x.shape[axis] - first, 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), widths)


def _kernel_gradient_at_once(kernel_shape, stride: int, pad: int, x, gradient):
    kernel = jax.ShapeDtypeStruct(kernel_shape, x.dtype)
    form = partial(plain_convolution, stride=stride, pad=pad)
    if _is_stem(x, kernel, stride):
        form = partial(space_to_depth_convolution, pad=pad)
    return jax.linear_transpose(partial(form, x), kernel)(gradient)[0]


# Below them XLA's own form is no slower: of the result, in channels and positions.
_MIN_FEATURES, _MIN_CELLS = 32, 300


def _kernel_gradient_on_cpu(kernel_shape, stride: int, pad: int, x, gradient):
    size, _, channels, features = kernel_shape
    cells = gradient.shape[1] * gradient.shape[2]
    if channels < size:
        form = _kernel_gradient_by_rows
    elif features < _MIN_FEATURES or cells < _MIN_CELLS:
        return _kernel_gradient_at_once(kernel_shape, stride, pad, x, gradient)
    else:
        form = _kernel_gradient_by_taps
    x = _pad_to_fit(x, size, stride, pad, gradient.shape)
    return form(size, stride, x, gradient).reshape(kernel_shape).astype(x.dtype)


def _kernel_gradient_by_taps(size: int, stride: int, x, gradient) -> jax.Array:
    """Computes a matrix product for every element of the kernel's square."""
    taps = _taps(size, stride, x, gradient.shape[1:3])
    return jnp.stack(
        [_matrix_gradient(jax.lax.optimization_barrier(tap), gradient) for tap in taps]
    )


def _kernel_gradient_by_rows(size: int, stride: int, x, gradient) -> jax.Array:
    """Adds up a matrix product for every row of the result, where channels are few.

    The input of one row fits into the cache; the whole map does not.
    """
    batch, height, width, features = gradient.shape

    def add_row(total, row):
        rows = jax.lax.dynamic_slice_in_dim(x, stride * row, size, axis=1)
        taps = jnp.concatenate(_taps(size, stride, rows, (1, width)), axis=-1)
        taps = jax.lax.optimization_barrier(taps[:, 0])
        of_row = jax.lax.dynamic_index_in_dim(gradient, row, axis=1, keepdims=False)
        product = jnp.einsum(
            "bwt,bwd->btd", taps, of_row, preferred_element_type=jnp.float32
        )
        return total + product, None

    # For each image, or else devices that share a batch would meet at every row.
    total = jnp.zeros((batch, size * size * x.shape[-1], features))
    total, _ = jax.lax.scan(add_row, total, jnp.arange(height))
    return jnp.sum(total, axis=0)


def _taps(size: int, stride: int, x: jax.Array, shape) -> list[jax.Array]:
    """What each element of the kernel's square meets, row by row: [B, *shape, c]."""
    high, wide = (stride * (count - 1) + 1 for count in shape)
    return [
        x[:, i : i + high : stride, j : j + wide : stride]
        for i in range(size)
        for j in range(size)
    ]


@partial(jax.jit, static_argnums=2)
def pointwise_convolution(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolves [B, h, w, c] with [1, 1, c, d] as a matrix product."""
    if stride > 1:
        x = x[:, ::stride, ::stride]
    return _multiply(x, kernel[0, 0])


@jax.custom_vjp
def _multiply(x: jax.Array, matrix: jax.Array) -> jax.Array:
    return jnp.einsum("bhwc,cd->bhwd", x, matrix)


def _multiply_forward(x, matrix):
    return _multiply(x, matrix), (x, matrix)


def _multiply_backward(residuals, gradient):
    x, matrix = residuals
    x_gradient = jnp.einsum("bhwd,cd->bhwc", gradient, matrix)
    return x_gradient, _matrix_gradient(x, gradient).astype(matrix.dtype)


_multiply.defvjp(_multiply_forward, _multiply_backward)

# Positions of a map that enter one product, at least and at most.
_FEW, _MANY = 800, 3200


def _matrix_gradient(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """Multiplies two maps over all positions, [c, d], as a sum over parts of the maps.

    A single product over many positions is slow: to split it, XLA pads copies of the
    maps on a GPU, and on a CPU it transposes its first factor, the smaller one here.
    """
    if x.shape[-1] > gradient.shape[-1]:
        return _matrix_gradient(gradient, x).T
    batch, height, width, _ = x.shape
    if height * width < _FEW:
        return jnp.einsum("bhwc,bhwd->cd", x, gradient)
    parts = _parts(height, width)
    x, gradient = (m.reshape(batch, parts, -1, m.shape[-1]) for m in (x, gradient))
    products = jnp.einsum(
        "bpkc,bpkd->bpcd", x, gradient, preferred_element_type=jnp.float32
    )
    # Or else XLA would make one product of them again.
    return jnp.sum(jax.lax.optimization_barrier(products), axis=(0, 1))


def _parts(height: int, width: int) -> int:
    """In how many groups of rows to split a map; 1 where no number suits."""
    for parts in range(1, height + 1):
        positions = height // parts * width
        if height % parts == 0 and _FEW <= positions <= _MANY:
            return parts
    return 1
