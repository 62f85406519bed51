"""Operations counted by hand."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from yolact_jax.tools.flops import count_flops


def test_matrix_product():
    left, right = jnp.ones((3, 5)), jax.ShapeDtypeStruct((5, 7), jnp.float32)
    assert count_flops(jnp.matmul, left, right) == 2 * 3 * 5 * 7


def test_convolution():
    def convolve(x, kernel):
        dimensions = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            x, kernel, (1, 1), "VALID", dimension_numbers=dimensions
        )

    images = jax.ShapeDtypeStruct((2, 6, 8, 4), jnp.bfloat16)
    kernel = jax.ShapeDtypeStruct((3, 3, 4, 5), jnp.bfloat16)
    counted = count_flops(convolve, images, kernel)
    assert counted == 2 * (2 * 4 * 6) * (3 * 3 * 4) * 5


def test_a_batch_over_several_devices_is_counted_whole():
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    rows = jax.ShapeDtypeStruct((8, 5), jnp.float32, sharding=sharding)
    assert count_flops(jnp.matmul, {"x": rows}["x"], jnp.ones((5, 7))) == 2 * 8 * 5 * 7


def test_without_the_cpu_the_message_says_what_to_set(monkeypatch):
    def refuse(backend):
        raise RuntimeError(f"Unknown backend {backend}")

    monkeypatch.setattr(jax, "local_devices", refuse)
    with pytest.raises(ValueError, match="JAX_PLATFORMS"):
        count_flops(jnp.matmul, jnp.ones((1, 1)), jnp.ones((1, 1)))
