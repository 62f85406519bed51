"""Convolutions and their gradients equal direct sums, in the form of every platform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolact_jax.models.kernels import convolution


@pytest.fixture(params=["cpu", "default"])
def platform(request, monkeypatch):
    """Takes the form for CPUs or that for accelerators, which run on CPUs too."""

    def choose(*inputs, **forms):
        return forms[request.param](*inputs)

    monkeypatch.setattr(jax.lax, "platform_dependent", choose)


def arrays(*shapes):
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)


def sums(x, kernel, gradient, stride, pad):
    """Result, map gradient and kernel gradient: sums over places, in float64."""
    x, kernel, gradient = (a.astype(np.float64) for a in (x, kernel, gradient))
    size = len(kernel)
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    result, x_gradient = np.zeros_like(gradient), np.zeros_like(padded)
    kernel_gradient = np.zeros_like(kernel)
    for row in range(gradient.shape[1]):
        for column in range(gradient.shape[2]):
            top, left = row * stride, column * stride
            window = np.s_[:, top : top + size, left : left + size]
            here = gradient[:, row, column]
            result[:, row, column] = np.einsum("bijc,ijcd->bd", padded[window], kernel)
            x_gradient[window] += np.einsum("bd,ijcd->bijc", here, kernel)
            kernel_gradient += np.einsum("bijc,bd->ijcd", padded[window], here)
    inside = slice(pad, -pad or None)
    return result, x_gradient[:, inside, inside], kernel_gradient


def check(function, x, kernel, gradient, stride, pad):
    result, pull_back = jax.vjp(function, x, kernel)
    expected = sums(x, kernel, gradient, stride, pad)
    for got, wanted in zip((result, *pull_back(gradient)), expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize(("channels", "features"), [(3, 4), (9, 33)])
@pytest.mark.parametrize(
    ("size", "stride", "pad", "height", "width"),
    [(7, 2, 3, height, width) for height in (8, 9) for width in (10, 13)]
    + [(3, 2, 1, 39, 41), (3, 2, 1, 7, 6), (3, 1, 1, 5, 4)]
    + [(3, 2, 0, 8, 9), (5, 3, 2, 9, 7)],
)
def test_convolution_equals_sums(size, stride, pad, height, width, channels, features):
    rows, columns = ((n + 2 * pad - size) // stride + 1 for n in (height, width))
    inputs = arrays(
        (2, height, width, channels),
        (size, size, channels, features),
        (2, rows, columns, features),
    )
    check(
        lambda x, kernel: convolution.convolution(x, kernel, stride, pad),
        *inputs,
        stride,
        pad,
    )


# One product, one for each image, and several parts of rows; a prime number of rows
# has no parts.
@pytest.mark.parametrize(
    ("height", "width"), [(4, 5), (40, 30), (60, 70), (127, 31), (28, 200)]
)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("channels", "features"), [(2, 3), (3, 2)])
def test_pointwise_convolution_equals_sums(height, width, stride, channels, features):
    rows, columns = -(-height // stride), -(-width // stride)
    inputs = arrays(
        (2, height, width, channels),
        (1, 1, channels, features),
        (2, rows, columns, features),
    )
    check(
        lambda x, kernel: convolution.pointwise_convolution(x, kernel, stride),
        *inputs,
        stride,
        0,
    )


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize(
    ("function", "size"),
    [
        (lambda x, kernel: convolution.convolution(x, kernel, 2, 3), 7),
        (lambda x, kernel: convolution.pointwise_convolution(x, kernel, 1), 1),
    ],
    ids=["7x7", "1x1"],
)
def test_gradients_have_the_types_of_the_inputs(function, size):
    x = jnp.ones((1, 30, 40, 3), jnp.bfloat16)
    kernel = jnp.ones((size, size, 3, 4), jnp.bfloat16)
    result, pull_back = jax.vjp(function, x, kernel)
    x_gradient, kernel_gradient = pull_back(result)
    assert x_gradient.dtype == kernel_gradient.dtype == result.dtype == jnp.bfloat16
    # Sums of 300 and more products: bfloat16 could not count them one by one.
    exact = jax.vjp(function, *(a.astype(jnp.float32) for a in (x, kernel)))[1]
    expected = exact(result.astype(jnp.float32))[1]
    np.testing.assert_allclose(kernel_gradient.astype(np.float32), expected, rtol=2**-8)
