"""What every operation promises: jit changes nothing, vmap is a loop."""

import jax
import numpy as np


def assert_jit_and_vmap_agree(function, *batched, rtol=1e-6, atol=1e-7):
    """Compares jit and vmap with plain calls on every element of the leading axis."""
    count = len(batched[0])
    assert count > 1
    plain = [function(*(array[i] for array in batched)) for i in range(count)]
    jitted = jax.jit(function)
    mapped = jax.jit(jax.vmap(function))(*batched)
    for i in range(count):
        one = jitted(*(array[i] for array in batched))
        assert_trees_close(one, plain[i], rtol, atol)
        row = jax.tree.map(lambda leaf, i=i: leaf[i], mapped)
        assert_trees_close(row, plain[i], rtol, atol)


def assert_trees_close(actual, expected, rtol=1e-6, atol=1e-7):
    jax.tree.map(
        lambda a, e: np.testing.assert_allclose(a, e, rtol=rtol, atol=atol),
        actual,
        expected,
    )
