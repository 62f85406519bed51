"""Box conversion, overlap and coding against hand-made numbers and loops."""

import math

import numpy as np
import pytest

from tests.helpers.transforms import assert_jit_and_vmap_agree
from tests.reference import boxes as ref
from tests.reference import nms as ref_nms
from yolact_jax.ops import boxes as box_ops


def random_boxes(seed, *shape):
    """Boxes with corners in [-0.2, 1.2] and sides above 0.01."""
    generator = np.random.default_rng(seed)
    start = generator.uniform(-0.2, 0.9, (*shape, 2))
    end = start + generator.uniform(0.01, 0.5, (*shape, 2))
    return np.concatenate([start, end], -1).astype(np.float32)


def random_anchors(seed, *shape):
    generator = np.random.default_rng(seed)
    center = generator.uniform(0, 1, (*shape, 2))
    size = generator.uniform(0.03, 0.6, (*shape, 2))
    return np.concatenate([center, size], -1).astype(np.float32)


A, B, ANCHORS = random_boxes(0, 30), random_boxes(1, 40), random_anchors(2, 30)


def rows(function, *arrays):
    return [function(*row) for row in zip(*arrays, strict=True)]


def test_center_form_of_a_hand_made_box():
    box = np.array([0.25, 0.5, 0.75, 0.625], np.float32)
    center_form = np.array([0.5, 0.5625, 0.5, 0.125], np.float32)
    np.testing.assert_array_equal(box_ops.xyxy_to_cxcywh(box), center_form)
    np.testing.assert_array_equal(box_ops.cxcywh_to_xyxy(center_form), box)


def test_conversions_and_area_agree_with_loops():
    np.testing.assert_allclose(
        box_ops.xyxy_to_cxcywh(A), rows(ref.center_form, A), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        box_ops.cxcywh_to_xyxy(ANCHORS), rows(ref.corners, ANCHORS), atol=1e-6
    )
    np.testing.assert_allclose(box_ops.area(A), rows(ref.area, A), rtol=1e-5)


@pytest.mark.parametrize(
    ("a", "b", "iou", "covered"),
    [
        pytest.param((0, 0, 2, 2), (0, 0, 2, 2), 1.0, 1.0, id="identical"),
        pytest.param((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7, 1 / 4, id="quarter"),
        pytest.param((0, 0, 4, 4), (1, 1, 3, 3), 1 / 4, 1.0, id="b inside a"),
        pytest.param((1, 1, 3, 3), (0, 0, 4, 4), 1 / 4, 1 / 4, id="a inside b"),
        pytest.param((0, 0, 1, 1), (1, 0, 2, 1), 0.0, 0.0, id="common edge"),
        pytest.param((0, 0, 1, 1), (2, 2, 3, 3), 0.0, 0.0, id="apart on both axes"),
        pytest.param((1, 1, 1, 1), (0, 0, 2, 2), 0.0, 0.0, id="a is a point"),
        pytest.param((0, 0, 2, 2), (1, 1, 1, 1), 0.0, math.nan, id="b is a point"),
        pytest.param((1, 1, 1, 1), (1, 1, 1, 1), math.nan, math.nan, id="two points"),
        pytest.param((0, 1, 4, 1), (0, 2, 4, 2), math.nan, math.nan, id="two lines"),
    ],
)
def test_overlap_of_named_pairs(a, b, iou, covered):
    a, b = np.array([a], np.float32), np.array([b], np.float32)
    assert float(box_ops.pairwise_iou(a, b)[0, 0]) == pytest.approx(iou, nan_ok=True)
    coverage = float(box_ops.pairwise_coverage(a, b)[0, 0])
    assert coverage == pytest.approx(covered, nan_ok=True)


def test_pairwise_overlaps_agree_with_loops():
    iou = [[ref.iou(a, b) for b in B] for a in A]
    coverage = [[ref.coverage(a, b) for b in B] for a in A]
    assert np.count_nonzero(iou) > 100
    np.testing.assert_allclose(box_ops.pairwise_iou(A, B), iou, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        box_ops.pairwise_coverage(A, B), coverage, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    ("a", "b", "diou"),
    [
        pytest.param((0, 0, 2, 2), (0, 0, 2, 2), 1.0, id="identical"),
        pytest.param((0, 0, 1, 1), (1, 1, 2, 2), -1 / 4, id="common corner"),
        pytest.param((0, 0, 4, 4), (1, 1, 3, 3), 1 / 4, id="common center"),
        pytest.param((0, 0, 1, 1), (2, 0, 3, 1), -4 / 10, id="apart"),
        pytest.param((1, 1, 1, 1), (1, 1, 1, 1), math.nan, id="two points"),
    ],
)
def test_distance_iou_of_named_pairs(a, b, diou):
    a, b = np.array([a], np.float32), np.array([b], np.float32)
    assert float(box_ops.pairwise_diou(a, b)[0, 0]) == pytest.approx(diou, nan_ok=True)


def test_distance_iou_agrees_with_loops():
    expected = [[ref_nms.diou(a, b) for b in B] for a in A]
    np.testing.assert_allclose(box_ops.pairwise_diou(A, B), expected, atol=1e-6)


def test_no_boxes_give_empty_tables():
    none = np.zeros((0, 4), np.float32)
    assert box_ops.pairwise_iou(none, B).shape == (0, 40)
    assert box_ops.pairwise_iou(A, none).shape == (30, 0)
    assert box_ops.pairwise_diou(none, none).shape == (0, 0)
    assert box_ops.encode(none, none).shape == (0, 4)
    assert box_ops.decode(none, none).shape == (0, 4)


def test_encode_of_the_documented_example():
    anchor = np.array([0.5, 0.5, 0.2, 0.4], np.float32)
    box = np.array([0.45, 0.40, 0.70, 0.75], np.float32)
    np.testing.assert_allclose(
        box_ops.encode(box, anchor),
        [3.75, 1.875, 1.1157178, -0.6676570],
        rtol=2e-6,
    )


def test_coding_agrees_with_loops():
    deltas = np.random.default_rng(3).normal(0, 2, (30, 4)).astype(np.float32)
    np.testing.assert_allclose(
        box_ops.encode(A, ANCHORS), rows(ref.encode, A, ANCHORS), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        box_ops.decode(deltas, ANCHORS), rows(ref.decode, deltas, ANCHORS), atol=1e-5
    )


def test_decode_inverts_encode():
    decoded = box_ops.decode(box_ops.encode(A, ANCHORS), ANCHORS)
    np.testing.assert_allclose(decoded, A, atol=1e-5)


def test_box_without_extent_encodes_to_minus_infinity():
    box = np.array([0.5, 0.2, 0.5, 0.4], np.float32)
    deltas = box_ops.encode(box, np.array([0.5, 0.3, 0.2, 0.2], np.float32))
    assert deltas[2] == -np.inf
    assert np.isfinite(np.delete(deltas, 2)).all()


def test_jit_and_vmap_change_nothing():
    boxes, others = random_boxes(4, 3, 7), random_boxes(5, 3, 9)
    anchors = random_anchors(6, 3, 7)
    deltas = np.random.default_rng(7).normal(size=(3, 7, 4)).astype(np.float32)
    for function, *arrays in (
        (box_ops.xyxy_to_cxcywh, boxes),
        (box_ops.cxcywh_to_xyxy, anchors),
        (box_ops.area, boxes),
        (box_ops.pairwise_iou, boxes, others),
        (box_ops.pairwise_diou, boxes, others),
        (box_ops.pairwise_coverage, boxes, others),
        (box_ops.encode, boxes, anchors),
        (box_ops.decode, deltas, anchors),
    ):
        assert_jit_and_vmap_agree(function, *arrays, rtol=1e-5, atol=1e-5)
