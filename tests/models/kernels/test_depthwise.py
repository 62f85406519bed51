"""Depthwise convolution against loops; both forms and their gradients agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolact_jax.models.kernels import depthwise

CASES = pytest.mark.parametrize(
    ("size", "stride", "pad", "shape"),
    [
        (3, 1, 1, (2, 7, 6, 4)),
        (3, 2, 1, (2, 7, 6, 4)),
        (5, 1, 2, (1, 6, 9, 3)),
        (5, 2, 2, (1, 6, 9, 3)),
        (5, 2, 2, (1, 2, 3, 3)),  # Smaller than the kernel.
        (3, 2, 0, (1, 8, 8, 2)),  # The last row and column meet nothing.
    ],
)


def example(size, shape):
    rng = np.random.default_rng(size)
    kernel = rng.normal(size=(size, size, 1, shape[-1]))
    return rng.normal(size=shape).astype(np.float32), kernel.astype(np.float32)


def loops(x, kernel, stride, pad):
    x = np.pad(x.astype(float), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    size = len(kernel)
    rows, columns = ((n - size) // stride + 1 for n in x.shape[1:3])
    result = np.zeros((len(x), rows, columns, x.shape[-1]))
    for place in np.ndindex(result.shape):
        b, i, j, c = place
        i, j = stride * i, stride * j
        result[place] = (x[b, i : i + size, j : j + size, c] * kernel[..., 0, c]).sum()
    return result


@CASES
def test_convolution_agrees_with_loops(size, stride, pad, shape):
    x, kernel = example(size, shape)
    expected = loops(x, kernel, stride, pad)
    for form in (depthwise.by_taps, depthwise.at_once, depthwise.depthwise_convolution):
        found = jax.jit(form, static_argnums=(2, 3))(x, kernel, stride, pad)
        np.testing.assert_allclose(found, expected, atol=2e-6)


@CASES
def test_gradients_are_those_that_jax_derives(size, stride, pad, shape):
    x, kernel = example(size, shape)
    weight = np.random.default_rng(1).normal(size=loops(x, kernel, stride, pad).shape)

    def cost_of(form):
        return lambda x, kernel: jnp.sum(form(x, kernel, stride, pad) * weight)

    def gradients(form):
        return jax.jit(jax.grad(cost_of(form), (0, 1)))(x, kernel)

    expected = gradients(depthwise.by_taps)
    at_once = jax.linear_transpose(  # What other devices compute.
        lambda k: depthwise.at_once(x, k, stride, pad), kernel
    )(weight.astype(np.float32))[0]
    np.testing.assert_allclose(at_once, expected[1], atol=1e-5)
    for found, wanted in zip(
        gradients(depthwise.depthwise_convolution), expected, strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_sums_of_a_short_type_are_taken_in_float32():
    x, kernel = example(5, (1, 9, 9, 8))
    x, kernel = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    found = depthwise.depthwise_convolution(x, kernel, 1, 2)
    assert found.dtype == jnp.bfloat16
    expected = loops(x.astype(np.float32), kernel.astype(np.float32), 1, 2)
    np.testing.assert_allclose(
        found.astype(np.float32), expected, rtol=2**-8, atol=1e-6
    )
