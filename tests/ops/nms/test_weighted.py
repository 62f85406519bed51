"""Means of suppressed boxes against loops, and what they leave alone."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from tests.reference import boxes as ref
from yolact_jax.ops.nms.variants import run_nms
from yolact_jax.ops.nms.weighted import weighted_boxes

LEAST = 0.1
nms = jax.jit(
    functools.partial(
        run_nms,
        "cluster",
        score_threshold=LEAST,
        iou_threshold=0.5,
        top_k=40,
        max_detections=20,
        input_size=64,
    )
)


def crowded(seed):
    """Forty boxes in six clusters, three classes, some anchors below the threshold."""
    rng = np.random.default_rng(seed)
    corner = np.repeat(rng.uniform(0, 0.6, (6, 2)), 7, axis=0)[:40]
    boxes = np.concatenate([corner, corner + 0.3], 1) + rng.uniform(0, 0.03, (40, 4))
    scores = rng.permutation(120).reshape(40, 3) / 120
    scores[::5] *= 0.05
    return boxes.astype(np.float32), scores.astype(np.float32)


def mean_box(anchor, label, boxes, scores):
    total, weight = np.zeros(4), 0.0
    for box, row in zip(boxes.astype(float), scores.astype(float), strict=True):
        overlap = ref.iou(boxes[anchor].astype(float), box)
        enters = max(row) > LEAST and row[label] <= scores[anchor, label]
        if enters and overlap > 0.8:
            total += row[label] * overlap * box
            weight += row[label] * overlap
    return total / weight


@pytest.mark.parametrize("seed", range(4))
def test_means_agree_with_loops_under_jit_too(seed):
    boxes, scores = crowded(seed)
    kept = nms(boxes, scores)
    found = weighted_boxes(kept, boxes, scores, LEAST)
    jitted = jax.jit(weighted_boxes)(kept, boxes, scores, LEAST)
    np.testing.assert_allclose(jitted, found, atol=1e-6)
    moved = 0
    for slot in range(int(kept.valid.sum())):
        anchor, label = int(kept.anchor_index[slot]), int(kept.labels[slot])
        expected = mean_box(anchor, label, boxes, scores)
        np.testing.assert_allclose(found[slot], expected, atol=1e-6)
        moved += not np.allclose(expected, boxes[anchor], atol=1e-4)
    assert moved > 3


def test_box_alone_points_and_copies_keep_their_bits():
    boxes = np.array([[0.1, 0.2, 0.3, 0.7], [0.9] * 4, [0.1, 0.2, 0.3, 0.7]])
    boxes = boxes.astype(np.float32)
    scores = np.array([[0.9], [0.8], [0.7]], np.float32)
    kept = nms(boxes, scores)
    assert kept.valid.sum() == 2
    found = weighted_boxes(kept, boxes, scores, LEAST)
    np.testing.assert_array_equal(found[:2], boxes[:2])
    empty = dataclasses.replace(kept, valid=kept.valid & False)
    assert np.isfinite(weighted_boxes(empty, boxes, scores, LEAST)).all()


def test_better_box_that_was_suppressed_itself_moves_nothing():
    # b goes under a and overlaps c by 0.89; a and c overlap by 0.48, so c stays.
    starts = np.array([0.0, 2.9, 3.5])
    boxes = np.stack([starts, 0 * starts, starts + 10, 0 * starts + 10], 1) / 20
    scores = np.array([[0.9], [0.8], [0.7]], np.float32)
    kept = nms(boxes.astype(np.float32), scores)
    assert kept.anchor_index[:2].tolist() == [0, 2]
    found = weighted_boxes(kept, boxes.astype(np.float32), scores, LEAST)
    np.testing.assert_array_equal(found[1], boxes[2].astype(np.float32))
