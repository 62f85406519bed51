"""Layers agree with plain definitions and with each other's gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from yolact_jax.models import layers
from yolact_jax.models.batch_norm import FrozenBatchNorm
from yolact_jax.models.deform_conv import DeformConv


def loop_convolution(x, kernel, stride, pad):
    """Direct sum over kernel taps, in float64."""
    x = np.pad(x.astype(np.float64), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    size = kernel.shape[0]
    rows = (x.shape[1] - size) // stride + 1
    columns = (x.shape[2] - size) // stride + 1
    out = np.zeros((x.shape[0], rows, columns, kernel.shape[3]))
    for i in range(rows):
        for j in range(columns):
            patch = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
            out[:, i, j] = np.einsum("bijc,ijcd->bd", patch, kernel)
    return out


@pytest.mark.parametrize(
    ("kernel_size", "stride", "height", "width"),
    [(1, 1, 5, 7), (1, 2, 5, 8), (3, 1, 6, 5), (3, 2, 7, 6)]
    + [(7, 2, height, width) for height in (8, 9) for width in (10, 13)],
)
def test_conv_equals_loops(kernel_size, stride, height, width):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, height, width, 3)).astype(np.float32)
    module = layers.Conv(4, kernel_size, stride, use_bias=False)
    variables = module.init(jax.random.key(0), x)
    kernel = np.asarray(variables["params"]["kernel"])
    expected = loop_convolution(x, kernel, stride, kernel_size // 2)
    np.testing.assert_allclose(module.apply(variables, x), expected, atol=1e-5)


class ConvNorm(nn.Module):
    conv: nn.Module
    norm: nn.Module

    def __call__(self, x):
        return layers.conv_norm(self.conv, self.norm, x)


CONVOLUTIONS = {
    "conv": layers.Conv(5, 3, 2, use_bias=False),
    "pointwise": layers.Conv(5, 1),
    "winograd": layers.Conv(32, 3, winograd=True),
    "deformable": DeformConv(5),
}


@pytest.mark.parametrize("conv", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_frozen_batch_norm_normalizes_by_the_stored_statistics(conv):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 20, 20, 32)).astype(np.float32)
    module = ConvNorm(conv, FrozenBatchNorm())
    variables = jax.jit(module.init)(jax.random.key(0), x)
    params, stats = variables["params"], variables["batch_stats"]
    for name, low, tree in [
        ("scale", -1, params["norm"]),
        ("bias", -1, params["norm"]),
        ("mean", -1, stats["norm"]),
        ("var", 0.1, stats["norm"]),
    ]:
        tree[name] = rng.uniform(low, 2, tree[name].shape).astype(np.float32)
    y, updates = module.apply(variables, x, mutable=["batch_stats"])
    plain = np.asarray(conv.apply({"params": params["conv"]}, x), np.float64)
    mean, var = (
        np.asarray(stats["norm"][name], np.float64) for name in ("mean", "var")
    )
    scale, bias = params["norm"]["scale"], params["norm"]["bias"]
    expected = (plain - mean) / np.sqrt(var + 1e-5) * scale + bias
    np.testing.assert_allclose(y, expected, atol=2e-5 * np.abs(expected).max())
    jax.tree.map(np.testing.assert_array_equal, updates["batch_stats"], stats)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_prepared_layers_give_the_same_bits_without_their_parameters(dtype):
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 4)).astype(np.float32)
    module = ConvNorm(layers.Conv(5, 3, dtype=dtype), FrozenBatchNorm())
    variables = module.init(jax.random.key(0), x)
    scale = jnp.linspace(-1.0, 2.0, 5)
    variables["params"]["norm"]["scale"] = scale
    expected, prepared = module.apply(variables, x, mutable=["prepared"])
    forgotten = jax.tree.map(jnp.zeros_like, variables)
    assert np.any(expected)
    got = module.apply({**forgotten, **prepared}, x)
    np.testing.assert_array_equal(got, expected)
    assert {leaf.dtype for leaf in jax.tree.leaves(prepared)} == {jnp.dtype(dtype)}


def test_frozen_batch_norm_is_not_trained_but_what_is_before_it_is():
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 2)).astype(np.float32)
    module = ConvNorm(layers.Conv(3, 1, use_bias=False), FrozenBatchNorm())
    variables = module.init(jax.random.key(0), x)
    variables["params"]["norm"]["scale"] = jnp.array([1.0, 2.0, -3.0])

    def loss(params):
        return jnp.sum(module.apply(variables | {"params": params}, x))

    gradient = jax.grad(loss)(variables["params"])
    assert not np.any(gradient["norm"]["scale"])
    assert not np.any(gradient["norm"]["bias"])
    expected = np.sum(x, axis=(0, 1, 2))[:, None] * np.array([1.0, 2.0, -3.0])
    expected /= np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(gradient["conv"]["kernel"][0, 0], expected, rtol=1e-5)
