"""Batch normalisation agrees with its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolact_jax.models.batch_norm import BatchNorm


def test_batch_norm_keeps_running_statistics_as_pytorch_does():
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, 2.0, size=(2, 3, 5, 4)).astype(np.float32)
    module = BatchNorm()
    variables = module.init(jax.random.key(0), x)
    y, updates = module.apply(variables, x, mutable=["batch_stats"])
    flat = x.reshape(-1, 4)
    expected = (flat - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5)
    np.testing.assert_allclose(y.reshape(-1, 4), expected, atol=1e-5)
    stats = updates["batch_stats"]
    np.testing.assert_allclose(stats["mean"], 0.1 * flat.mean(0), rtol=1e-5)
    unbiased = flat.var(0, ddof=1)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * unbiased, rtol=1e-5)


@pytest.mark.parametrize("running_mean", [0.0, 3.0, 5.0])
def test_gradients_are_those_of_the_definition(running_mean):
    rng = np.random.default_rng(0)
    x, gradient = rng.normal(3.0, 2.0, size=(2, 2, 3, 5, 4)).astype(np.float32)
    module = BatchNorm()
    variables = module.init(jax.random.key(0), x)
    params = jax.tree.map(lambda p: p + rng.normal(size=p.shape), variables["params"])
    stats = jax.tree.map(jnp.copy, variables["batch_stats"])
    stats["mean"] += running_mean

    def layer(params, x):
        variables = {"params": params, "batch_stats": stats}
        return module.apply(variables, x, mutable=["batch_stats"])[0]

    def definition(params, x):
        mean, var = x.mean((0, 1, 2), keepdims=True), x.var((0, 1, 2), keepdims=True)
        scale, bias = (params[name][None, None, None] for name in ("scale", "bias"))
        return (x - mean) / jnp.sqrt(var + 1e-5) * scale + bias

    pull_backs = (jax.vjp(function, params, x)[1] for function in (layer, definition))
    gradients = (jax.tree.leaves(pull_back(gradient)) for pull_back in pull_backs)
    for got, expected in zip(*gradients, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


def test_a_mean_far_from_zero_leaves_the_variance_exact_once_it_is_known():
    x = np.random.default_rng(0).normal(1000.0, 1.0, size=(4, 8, 8, 3))
    x = x.astype(np.float32)
    module = BatchNorm(momentum=0.0)
    variables = module.init(jax.random.key(0), x)
    stats = variables["batch_stats"] | {"mean": jnp.full(3, 999.0)}
    _, updates = module.apply(
        variables | {"batch_stats": stats}, x, mutable=["batch_stats"]
    )
    expected = x.astype(np.float64).var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(updates["batch_stats"]["var"], expected, rtol=1e-5)
