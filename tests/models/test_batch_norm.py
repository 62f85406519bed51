"""Batch normalisation agrees with its definition."""

import jax
import numpy as np

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
