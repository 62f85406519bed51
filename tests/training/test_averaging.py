"""The moving average by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from yolact_jax.training.optimizer import update_average


@pytest.mark.parametrize(
    ("step", "share"), [(0, 0.1), (1, 2 / 11), (8, 0.5), (98, 0.9), (10**6, 0.9)]
)
def test_average_moves_by_the_share_of_the_step(step, share):
    average = {"a": jnp.array([1.0, -2.0]), "b": {"c": jnp.array(4.0)}}
    variables = {"a": jnp.array([3.0, 0.0]), "b": {"c": jnp.array(0.0)}}
    moved = update_average(average, variables, jnp.int32(step), 0.9)
    expected = share * np.array([1.0, -2.0]) + (1 - share) * np.array([3.0, 0.0])
    np.testing.assert_allclose(moved["a"], expected, rtol=1e-6)
    np.testing.assert_allclose(moved["b"]["c"], share * 4.0, rtol=1e-6)
