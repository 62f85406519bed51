"""Each step of YOLACT broken in a scene of its own: only its oracle repairs it."""

import dataclasses

import numpy as np
import pytest

from yolact_jax.results.errors import bounds, mask_oracles, meant, neighbors
from yolact_jax.results.errors.assembly import ImageParts

SIDE, CELLS = 160, 40
LEFT, RIGHT = (20, 40, 60, 100), (60, 40, 100, 100)  # They touch.
LOGIT = 8.0


def indicator(*boxes):
    """[CELLS, CELLS] float32, 1 inside of boxes in pixels and -1 outside."""
    grid = np.full((CELLS, CELLS), -1.0, np.float32)
    for x1, y1, x2, y2 in np.array(boxes) // (SIDE // CELLS):
        grid[y1:y2, x1:x2] = 1
    return grid


def scene(truths, prototypes, found, *, labels=None, crowd=None):
    """`found` are (box, coefficients)."""
    masks = np.zeros((len(truths), SIDE, SIDE), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, truths, strict=True):
        mask[y1:y2, x1:x2] = True
    boxes = np.array(truths, float).reshape(-1, 4)
    labels = np.zeros(len(truths), int) if labels is None else np.array(labels)
    return ImageParts(
        image_id=1,
        prototypes=np.stack(prototypes, axis=-1),
        boxes=np.array([b for b, _ in found], np.float32).reshape(-1, 4) / SIDE,
        labels=np.zeros(len(found), int),
        scores=np.linspace(0.9, 0.5, len(found)),
        coefficients=LOGIT
        * np.array([c for _, c in found], np.float32).reshape(-1, len(prototypes)),
        truth_masks=masks,
        truth_boxes=boxes / SIDE,
        truth_labels=labels,
        truth_areas=masks.sum(axis=(1, 2)).astype(float),
        crowd=np.zeros(len(truths), bool) if crowd is None else np.array(crowd),
    )


def precisions(parts, num_classes=1):
    return mask_oracles.mask_budget(
        [mask_oracles.redo(parts)], num_classes, max_detections=100
    )


BOTH = [indicator(LEFT), indicator(RIGHT)]
APART = (120, 120, 152, 152)
PERFECT = scene([LEFT, RIGHT], BOTH, [(LEFT, (1, 0)), (RIGHT, (0, 1))])


def repaired_only_by(parts, names, before):
    found = precisions(parts)
    for name in mask_oracles.VARIANTS:
        if name in names:
            assert found[name] == pytest.approx(1.0), name
        else:
            assert found[name] == pytest.approx(before), name
    return found


def test_perfect_masks_need_no_repair():
    found = repaired_only_by(PERFECT, mask_oracles.VARIANTS, None)
    assert found["leaked"] == 0.0


def test_a_box_too_small_is_repaired_by_the_crop():
    # With a padding of a cell it has 32 of 40 columns, less rounded corners:
    # just below IoU 0.8, at 6 of 10 thresholds.
    small = (32, 40, 64, 100)
    parts = scene([LEFT], [indicator(LEFT)], [(small, (1,))])
    repaired_only_by(parts, ["crop"], 0.6)


def test_noise_apart_from_the_object_is_repaired_by_its_parts():
    # Half of the object again, inside a box that is too large: IoU 2 / 3.
    blob = (72, 40, 92, 100)
    parts = scene([LEFT], [indicator(LEFT, blob)], [((20, 40, 92, 100), (1,))])
    found = precisions(parts)
    assert found["as it is"] == pytest.approx(0.4)
    assert found["leakage"] == pytest.approx(1.0)
    assert found["crop"] == pytest.approx(1.0)
    assert found["localization failure"] == pytest.approx(0.4)


def test_a_mask_over_two_neighbors_is_repaired_by_taking_them_apart():
    # One prototype for both; the box of the first reaches into the second.
    wide = (20, 40, 80, 100)
    second = indicator(RIGHT)
    found = [(wide, (1, 0)), (RIGHT, (0, 1))]
    parts = scene([LEFT, RIGHT], [indicator(LEFT, RIGHT), second], found)
    found = precisions(parts)
    # The wide mask has 64 columns of which 40 are right: IoU 0.625, 3 thresholds.  At
    # the others the second is found at precision 1/2.
    assert found["as it is"] == pytest.approx(0.3 + 0.7 * 0.5 * 51 / 101)
    assert found["localization failure"] == pytest.approx(1.0)
    assert found["leakage"] == found["as it is"]
    # The neighbor has 24 columns of the 64 + 40 of both masks.
    assert found["leaked"] == pytest.approx(24 / 104, rel=1e-3)
    (pair,) = neighbors.find_pairs(parts)
    assert pair.failed
    assert pair.crowding == 2
    # Centers 40 pixels apart, sides sqrt(40 * 60).
    assert pair.distance == pytest.approx(40 / np.sqrt(2400))
    assert pair.coefficient_distance == pytest.approx(LOGIT * np.sqrt(2))


def test_wrong_coefficients_are_repaired_by_the_best_ones():
    parts = scene([LEFT], [indicator(LEFT), indicator(APART)], [(LEFT, (0, 1))])
    repaired_only_by(parts, ["assembly"], 0.0)


def test_crowds_and_other_classes_are_left_alone():
    parts = scene(
        [LEFT, RIGHT, APART],
        [indicator(LEFT, RIGHT)],
        [(LEFT, (1,)), (RIGHT, (1,))],
        labels=[0, 1, 0],
        crowd=[0, 0, 1],
    )
    assert neighbors.find_pairs(parts) == []
    targets, _ = meant.meant_for(parts)
    assert targets.tolist() == [0, -1]
    # The padding has 4 columns of the other: IoU 40 / 44, for one class of two.
    assert precisions(parts, 2)["as it is"] == pytest.approx(0.9 / 2)


def test_far_apart_objects_are_no_neighbors():
    parts = scene([LEFT, APART], [*BOTH[:1], indicator(APART)], [])
    small = (0, 0, 8, 8)
    far = scene([small, APART], [indicator(small), indicator(APART)], [(small, (1, 0))])
    assert neighbors.find_pairs(parts) == []  # Nothing is found.
    assert neighbors.find_pairs(far) == []
    assert not neighbors.find_pairs(PERFECT)[0].failed


def test_one_detection_of_two_objects_is_no_pair():
    inner = (24, 44, 60, 100)
    parts = scene([LEFT, inner], [indicator(LEFT)], [(LEFT, (1,))])
    assert neighbors.find_pairs(parts) == []
    twice = scene([LEFT, inner], [indicator(LEFT)], [(LEFT, (1,)), (inner, (1,))])
    (pair,) = neighbors.find_pairs(twice)
    assert pair.failed
    assert pair.coefficient_distance == 0


def test_rates_by_distance_and_crowding():
    pairs = [
        neighbors.Pair(0.4, 2, 1.0, True),
        neighbors.Pair(0.6, 2, 3.0, False),
        neighbors.Pair(2.0, 9, 5.0, False),
    ]
    rows = neighbors.failure_rates(pairs, "distance", (0.0, 1.0, 1.5))
    assert [r["pairs"] for r in rows] == [2, 0, 1]
    assert rows[0]["failed"] == 0.5
    assert rows[0]["coefficient_distance"] == 2.0
    assert np.isnan(rows[1]["failed"])
    crowded = neighbors.failure_rates(pairs, "crowding", (2, 5))
    assert [r["failed"] for r in crowded] == [0.5, 0.0]


def test_bounds_of_large_and_tiny_objects():
    # 96 x 96 pixels on cell borders survive; 2 x 2 of a 4 x 4 cell are less than half.
    large, tiny = (20, 20, 120, 120), (140, 140, 142, 142)
    parts = scene([large, tiny], [indicator(large), indicator(tiny)], [])
    found = bounds.bound_precision([bounds.bound_scenes(parts)], 1)
    for name in bounds.BOUNDS:
        assert found[name]["l"] == pytest.approx(1.0)
        assert found[name]["s"] == 0.0
        assert np.isnan(found[name]["m"])
        # Half of the objects are found, at precision 1 or 1/2 by the order of equals.
        assert 0.25 < found[name]["all"] < 0.51
    # Prototypes that know nothing of an object bound it, not the resolution.
    ones = np.ones((CELLS, CELLS, 1), np.float32)
    blind = dataclasses.replace(parts, prototypes=ones)
    found = bounds.bound_precision([bounds.bound_scenes(blind)], 1)
    assert found["resolution"]["l"] == pytest.approx(1.0)
    assert found["linear"]["l"] == pytest.approx(0.9, abs=0.11)


def test_images_without_objects_or_detections():
    nothing = scene([], BOTH, [])
    only_found = scene([], BOTH, [(LEFT, (1, 0))])
    for parts in (nothing, only_found, scene([LEFT], BOTH, [])):
        table = precisions(parts)
        assert np.isnan(table["leaked"])
        bounds.bound_precision([bounds.bound_scenes(parts)], 1)
        assert neighbors.find_pairs(parts) == []
