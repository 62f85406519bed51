"""The first convolution, for RGB, becomes one for N channels."""

import numpy as np
import pytest

from tests.helpers.runs import tiny_config
from yolact_jax.weights.input_channels import inflated, with_input_of
from yolact_jax.zoo.pretrained import abstract_variables

KERNEL = np.random.default_rng(0).normal(size=(6, 3, 7, 7)).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 6, 9])
def test_inflated_kernels_repeat_rgb_and_keep_the_scale(channels):
    found = inflated(KERNEL, channels)
    assert found.shape == (6, channels, 7, 7)
    assert found.dtype == np.float32
    for channel in range(channels) if channels > 1 else ():
        wanted = KERNEL[:, channel % 3] * (3 / channels)
        np.testing.assert_allclose(found[:, channel], wanted, rtol=1e-6)
    if channels % 3 == 0 or channels == 1:
        # Gray in all channels has the response that it had.
        np.testing.assert_allclose(found.sum(1), KERNEL.sum(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("key", ["conv1.weight", "backbone.conv1.weight"])
def test_only_a_kernel_for_rgb_and_a_model_for_others_are_changed(tmp_path, key):
    def variables(channels):
        changes = {"data.channels": channels, "data.dataset": "coco"}
        return abstract_variables(tiny_config(tmp_path).replace(changes), 3)

    tensors = {key: KERNEL, "other": KERNEL}
    found = with_input_of(tensors, variables(5))
    np.testing.assert_array_equal(found[key], inflated(KERNEL, 5))
    assert found["other"] is KERNEL
    assert with_input_of(tensors, variables(3)) is tensors
    # A file of a model for five channels goes in as it is.
    five = {key: found[key]}
    assert with_input_of(five, variables(5)) is five


def test_darknets_first_kernel_is_known_too(tmp_path):
    changes = {"data.channels": 4, "data.dataset": "coco"}
    changes["model.backbone"] = "darknet53"
    variables = abstract_variables(tiny_config(tmp_path).replace(changes), 3)
    tensors = {"backbone._preconv.0.weight": KERNEL[..., :3, :3]}
    found = with_input_of(tensors, variables)["backbone._preconv.0.weight"]
    assert found.shape == (6, 4, 3, 3)
