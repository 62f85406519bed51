"""The network in ONNX against the network of the library."""

import jax
import numpy as np
import onnx
import onnx.numpy_helper
import pytest

from tests.export.onnx.test_operators import run
from tests.helpers import lively
from yolact_jax import build
from yolact_jax.export.onnx import layers, network
from yolact_jax.export.onnx.file import export_onnx

SIZE = (97, 65)  # Odd sides on every level.


def both(family, dtype=np.float32, **changes):
    """Outputs of both, and the names of fields."""
    lively_run = lively.run_of(
        family, **{"model.mask_iou": False, "data.input_size": SIZE, **changes}
    )
    variables = lively.variables_of(lively_run)
    model = build.make_model(lively_run.config, 3)
    images = np.random.default_rng(1).normal(size=(2, *SIZE, 3))
    images = images.astype(np.float32)
    wanted = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, images)
    weights = layers.Weights(variables["params"], variables["batch_stats"], dtype)

    def write(x):
        found = network.predict(x, SIZE, weights)
        return [*found[:3], found.prototypes.value]

    *rows, prototypes = run(write, images.transpose(0, 3, 1, 2))
    found = [*rows, prototypes.transpose(0, 2, 3, 1)]
    fields = ("box_deltas", "class_logits", "coefficients", "prototypes")
    return found, [np.asarray(getattr(wanted, field)) for field in fields]


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("resnet", {}),
        ("darknet", {}),
        ("mobilenet", {}),
        ("plus", {"model.backbone": "resnet50"}),
    ],
)
def test_network_computes_the_same(family, changes):
    for found, wanted in zip(*both(family, **changes), strict=True):
        size = np.abs(wanted).max()
        assert size > 0.01
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * size)


def test_float16_computes_nearly_the_same():
    for found, wanted in zip(*both("resnet", np.float16), strict=True):
        size = np.abs(wanted).max()
        error = np.abs(found - wanted).max()
        assert 1e-6 * size < error < 4e-2 * size


def with_norm(**stats):
    """A model with a channel of other statistics: 0.6 / sqrt(1e-5) is 190."""
    lively_run = lively.run_of()
    variables = jax.tree.map(np.copy, lively.variables_of(lively_run))
    norm = variables["batch_stats"]["backbone"]["bn1"]
    variables["params"]["backbone"]["bn1"]["scale"][0] = 0.6
    for name, value in stats.items():
        norm[name][0] = value
    return lively_run, variables


def test_float16_refuses_what_folds_to_more_than_it_holds(tmp_path):
    """The bias of the channel is 1000 * 190, though no weight is above 65504."""
    large = with_norm(mean=-1000.0, var=0.0)
    with pytest.raises(
        ValueError, match=r"^backbone/conv1 .*65504, the largest float16"
    ):
        export_onnx(*large, tmp_path / "m.onnx", dtype="float16")
    assert not list(tmp_path.iterdir())
    export_onnx(*large, tmp_path / "m.onnx")


def test_float16_takes_large_weights_that_fold_to_small_ones(tmp_path):
    """A variance of 1e12 makes the gain 6e-7, and the file without infinities."""
    small = with_norm(var=1e12)
    small[1]["params"]["backbone"]["conv1"]["kernel"][..., 0] = 1e5
    export_onnx(*small, tmp_path / "m.onnx", dtype="float16")
    model = onnx.load(tmp_path / "m.onnx")
    arrays = [onnx.numpy_helper.to_array(x) for x in model.graph.initializer]
    halves = [x for x in arrays if x.dtype == np.float16]
    assert len(halves) > 50
    assert all(np.isfinite(x).all() for x in halves)


def test_masks_are_scored_the_same():
    lively_run = lively.run_of("plus")
    variables = lively.variables_of(lively_run)
    model = build.make_model(lively_run.config, 3)
    soft = np.random.default_rng(2).uniform(size=(4, 72, 64)).astype(np.float32)
    wanted = model.apply(variables, soft, method="mask_ious")
    weights = layers.Weights(variables["params"], {}, np.float32)
    (found,) = run(lambda x: network.mask_ious(x, (72, 64), weights), soft[:, None])
    assert np.abs(wanted).max() > 0.01
    np.testing.assert_allclose(found, wanted, atol=1e-5)
