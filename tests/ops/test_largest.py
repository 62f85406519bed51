"""The largest values of rows, against a stable sort in NumPy."""

import jax
import numpy as np
import pytest

from yolact_jax.ops.largest import largest


@pytest.mark.parametrize("count", [1, 5, 16, 17, 40])
@pytest.mark.parametrize("shape", [(40,), (3, 40), (2, 3, 40)])
def test_equals_a_stable_sort(shape, count):
    rng = np.random.default_rng(count)
    values = rng.integers(-3, 4, shape).astype(np.float32)  # Many are equal.
    order = np.argsort(-values, axis=-1, kind="stable")[..., :count]
    for find in (largest, jax.jit(largest, static_argnums=1)):
        found, index = find(values, count)
        np.testing.assert_array_equal(index, order)
        np.testing.assert_array_equal(found, np.take_along_axis(values, order, -1))
        assert index.dtype == np.int32
        assert found.dtype == np.float32


@pytest.mark.parametrize("count", [4, 20])
def test_rows_of_a_vmapped_call_are_independent(count):
    values = np.random.default_rng(0).normal(size=(5, 30)).astype(np.float32)
    together = jax.vmap(lambda row: largest(row, count))(values)
    for row, found, index in zip(values, *together, strict=True):
        alone = largest(row, count)
        np.testing.assert_array_equal(found, alone[0])
        np.testing.assert_array_equal(index, alone[1])
