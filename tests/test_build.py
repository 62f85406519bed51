"""What a config leaves to the device."""

import types

import jax
import jax.numpy as jnp
import pytest

from tests.zoo.test_pretrained import tiny_config
from yolact_jax import build
from yolact_jax.export import stablehlo
from yolact_jax.models import arithmetic

AUTO = tiny_config().replace({"model.compute_dtype": "auto"})


def device(platform, capability=None):
    there = {} if capability is None else {"compute_capability": capability}
    return types.SimpleNamespace(platform=platform, **there)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (device("cpu"), "float32"),
        (device("tpu"), "bfloat16"),
        (device("gpu", "7.5"), "float32"),
        (device("gpu", "8.0"), "bfloat16"),
        (device("gpu", "12.0"), "bfloat16"),
        (device("gpu", "gfx90a"), "float32"),
        (device("gpu"), "float32"),
    ],
)
def test_auto_computes_in_what_the_matrix_units_have(one, expected, monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [one])
    assert arithmetic.compute_dtype(AUTO) == expected
    assert build.make_model(AUTO, 3).dtype == jnp.dtype(expected)
    assert build.make_model(AUTO, 3).backbone.dtype == jnp.dtype(expected)
    for chosen in ("float32", "bfloat16"):
        config = AUTO.replace({"model.compute_dtype": chosen})
        assert arithmetic.compute_dtype(config) == chosen


def test_exported_programs_are_those_of_each_platform():
    groups = stablehlo._groups(AUTO, ("cpu", "cuda", "tpu"))
    types_of = {
        name: (there.model.compute_dtype, there.model.winograd)
        for names, there in groups.items()
        for name in names
    }
    assert types_of == {
        "cpu": ("float32", "yes"),
        "cuda": ("float32", "no"),
        "tpu": ("bfloat16", "no"),
    }
