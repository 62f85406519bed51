"""A process of float64 computes all of a model in it."""

import subprocess

import jax
import jax.numpy as jnp
import pytest

from benchmarks import float64
from yolact_jax import build
from yolact_jax.zoo.specs import spec


@pytest.mark.long
def test_no_product_of_a_model_is_of_another_type():
    float64.call("tests.benchmarks.test_float64", "check", "yolact_resnet50")
    with pytest.raises(subprocess.CalledProcessError):
        float64.call("tests.benchmarks.test_float64", "check", "unknown")


def check(words):
    """In the process: raises an error unless all convolutions are of float64."""
    (name,) = words
    config = spec(name).replace({"data.input_size": 128})
    model = build.make_model(config, 3)
    images = jnp.zeros((1, 128, 128, 3), jnp.float64)
    variables = jax.eval_shape(
        lambda: model.init(jax.random.key(0), images, train=True)
    )

    def apply(variables, images):
        return model.apply(variables, images, train=True, mutable=["batch_stats"])

    text = str(jax.make_jaxpr(apply)(variables, images))
    products = [line for line in text.splitlines() if "= conv_general" in line]
    products += [line for line in text.splitlines() if "= dot_general" in line]
    assert products
    assert all(":f64[" in line.partition("=")[0] for line in products)
