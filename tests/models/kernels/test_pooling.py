"""Max pooling equals the windowed maximum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from yolact_jax.models.kernels.pooling import max_pool


@pytest.mark.parametrize(("height", "width"), [(8, 9), (7, 6)])
def test_max_pool_equals_the_windowed_maximum(height, width):
    x = jax.random.normal(jax.random.key(0), (2, height, width, 3))

    def windowed(x):
        return nn.max_pool(x, (3, 3), (2, 2), [(1, 1), (1, 1)])

    def loss(pool):
        return jax.jit(jax.grad(lambda x: jnp.sum(jnp.sin(pool(x)))))

    np.testing.assert_array_equal(max_pool(x), windowed(x))
    under_differentiation, _ = jax.vjp(max_pool, x)
    np.testing.assert_array_equal(under_differentiation, windowed(x))
    np.testing.assert_allclose(
        loss(max_pool)(x), loss(windowed)(x), rtol=1e-6, atol=1e-7
    )
