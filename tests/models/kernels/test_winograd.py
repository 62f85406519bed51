"""Winograd's algorithm agrees with the plain convolution, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from yolact_jax.models import layers
from yolact_jax.models.kernels import winograd
from yolact_jax.models.kernels.convolution import convolution


def arrays(height, width, batch=2, channels=5, features=7):
    rng = np.random.default_rng(0)
    shapes = (
        (batch, height, width, channels),
        (3, 3, channels, features),
        (batch, height, width, features),
    )
    return (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)


def loop_convolution(x, kernel):
    """Direct sum over kernel taps, in float64."""
    x = np.pad(np.asarray(x, np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernel = np.asarray(kernel, np.float64)
    height, width = x.shape[1] - 2, x.shape[2] - 2
    return sum(
        x[:, i : i + height, j : j + width] @ kernel[i, j]
        for i in range(3)
        for j in range(3)
    )


@pytest.mark.parametrize(("height", "width"), [(4, 4), (1, 1), (8, 9), (7, 6), (5, 10)])
def test_equals_loops(height, width):
    x, kernel, _ = arrays(height, width)
    got = jax.jit(winograd.winograd_convolution)(x, kernel)
    np.testing.assert_allclose(got, loop_convolution(x, kernel), atol=5e-5)


@pytest.mark.parametrize(("height", "width"), [(4, 8), (7, 6)])
def test_gradients_equal_those_of_the_plain_convolution(height, width):
    x, kernel, gradient = arrays(height, width)

    def gradients(conv):
        return jax.vjp(conv, x, kernel)[1](gradient)

    plain = gradients(lambda x, kernel: convolution(x, kernel, 1, 1))
    for got, expected in zip(
        jax.jit(lambda: gradients(winograd.winograd_convolution))(), plain, strict=True
    ):
        np.testing.assert_allclose(got, expected, atol=2e-4)


def test_error_is_that_of_rounding():
    x, kernel, _ = arrays(20, 20, batch=1, channels=64, features=64)
    exact = loop_convolution(x, kernel)
    error = winograd.winograd_convolution(x, kernel) - exact
    assert np.linalg.norm(error) < 1e-5 * np.linalg.norm(exact)


@pytest.fixture(scope="module")
def layer():
    module = layers.Conv(32, 3, winograd=True)
    x = jax.random.normal(jax.random.key(0), (2, 20, 18, 32))
    return module, module.init(jax.random.key(1), x), x


def test_layer_is_the_same_with_and_without(layer):
    module, variables, x = layer
    assert set(variables) == {"params"}
    plain = layers.Conv(32, 3).apply(variables, x)
    np.testing.assert_allclose(module.apply(variables, x), plain, atol=1e-4)
    assert np.any(module.apply(variables, x) != plain)


def test_layer_uses_kernels_transformed_before(layer):
    module, variables, x = layer
    expected, prepared = module.apply(variables, x, mutable=["prepared"])
    got = module.apply({**variables, **prepared}, x)
    np.testing.assert_array_equal(got, expected)
    zeros = jax.tree.map(jnp.zeros_like, prepared)
    np.testing.assert_array_equal(module.apply({**variables, **zeros}, x), 0)


def test_shared_layer_is_prepared_for_large_and_small_maps(layer):
    module, variables, x = layer
    small = x[:, :5, :5]

    def both(module, maps):
        return [module(each) for each in maps]

    apply = nn.apply(both, module, mutable=["prepared"])
    expected, prepared = apply(variables, [x, small])
    assert set(prepared["prepared"]) == {"kernel", "transformed_kernel", "bias"}
    got = nn.apply(both, module)({**variables, **prepared}, [x, small])
    jax.tree.map(np.testing.assert_array_equal, got, expected)
    plain = layers.Conv(32, 3).apply(variables, small)
    np.testing.assert_array_equal(got[1], plain)


@pytest.mark.parametrize("changed", [{"kernel_size": 5}, {"stride": 2}, {"padding": 0}])
def test_layer_takes_the_plain_way_with_any_other_geometry(changed, layer):
    _, _, x = layer
    options = {"kernel_size": 3} | changed
    variables = layers.Conv(32, **options).init(jax.random.key(1), x)
    plain = layers.Conv(32, **options).apply(variables, x)
    got = layers.Conv(32, **options, winograd=True).apply(variables, x)
    np.testing.assert_array_equal(got, plain)


def test_the_choice_does_not_depend_on_the_batch():
    large, small, thin = (32, 32, 64), (8, 8, 64), (32, 32, 8)
    for batch in (1, 64):
        assert winograd.is_worthwhile((batch, *large), 64)
        assert not winograd.is_worthwhile((batch, *small), 64)
        assert not winograd.is_worthwhile((batch, *thin), 64)
        assert not winograd.is_worthwhile((batch, *large), 12)
