"""Whole published models against recorded outputs of the original.

Subsets of the records, on one generated image; python -m parity compares all.
"""

import functools
import pathlib

import jax
import numpy as np
import pytest

from parity import detections, network, training
from parity.manifest import read_manifest
from parity.models import NAMES
from tests.helpers.published import MATCHING
from yolact_jax import build
from yolact_jax.ops import matching

_FOLDER = pathlib.Path(__file__).parents[1] / "golden"
_MANIFEST = read_manifest(_FOLDER)
# It has everything but the other backbone and non-square anchors.
_QUICK = ("yolact_plus_resnet50",)


def load(name):
    with np.load(_FOLDER / f"{name}.npz") as archive:
        return dict(archive)


@pytest.fixture(autouse=True)
def full_precision():
    with jax.default_matmul_precision("highest"):
        yield


def assert_ok(rows):
    wrong = [str(row) for row in rows if not row.ok]
    assert rows
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", NAMES)
def test_priors(name):
    assert_ok(network.check_priors(_MANIFEST.model(name), load(name)))


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [n if n in _QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES],
)
def test_inference(name):
    model, golden = _MANIFEST.model(name), load(name)
    variables = jax.device_put(model.variables())
    image = _MANIFEST.image("synthetic")
    rows, predictions = network.check_network(model, variables, golden, "img0/", image)
    rows += detections.check_detections(
        model, variables, predictions, golden, "img0/", image.shape[:2]
    )
    assert_ok(rows)
    stages = {row.stage for row in rows}
    assert {"input", "C3", "P7", "proto", "segm", "loc", "mask"} <= stages
    assert {"fast: set", "cross: set", "trad: set", "fast: large masks"} <= stages
    assert ("maskiou_out" in stages) == ("plus" in name)


def test_matching_of_many_objects():
    # 120 objects: overlaps that nearly tie, which other roundings decide otherwise.
    golden = load("golden_losses_yolact_resnet50")
    anchors = build.make_anchors(_MANIFEST.model("yolact_resnet50").config)
    boxes, labels = golden["B/gt0_boxes"], golden["B/gt0_labels"].astype(np.int32)
    is_object = np.ones(len(boxes), bool)
    matches = jax.jit(functools.partial(matching.match_anchors, **MATCHING))(
        boxes, labels, is_object, ~is_object, anchors
    )
    np.testing.assert_array_equal(matches.class_target, golden["B/conf_t"][0])
    index = np.where(matches.positive, matches.object_index, -1)
    np.testing.assert_array_equal(index, golden["B/idx_t"][0])


@pytest.mark.slow
def test_training_step():
    model = _MANIFEST.model("yolact_resnet50")
    golden = load("golden_losses_yolact_resnet50")
    variables = jax.device_put(model.variables())
    rows = []
    for check in (training.check_training_step, training.check_unlimited_masks):
        rows += check(model, variables, golden, "B_frozen", _MANIFEST)
    assert_ok(rows)
    stages = {row.stage for row in rows}
    assert {"B: matching", "B: hard negatives", "B_frozen: gradient l2"} <= stages


def test_a_missing_image_is_named():
    with pytest.raises(ValueError, match=r"nothing\.png is missing"):
        _MANIFEST.image("nothing.png")
