"""Matching against hand-made layouts and the loop oracle."""

import functools

import jax
import numpy as np
import pytest

from tests.helpers.published import MATCHING
from tests.helpers.transforms import assert_jit_and_vmap_agree
from tests.reference import boxes as ref_boxes
from tests.reference import matching as ref
from yolact_jax.ops import matching

SLOTS = 32
GRID = np.array(
    [
        ((i + 0.5) / 8, (j + 0.5) / 8, side, side)
        for j in range(8)
        for i in range(8)
        for side in (0.125, 0.25, 0.5)
    ],
    np.float32,
)


match_anchors = functools.partial(matching.match_anchors, **MATCHING)
jitted_match = jax.jit(match_anchors)


def match(boxes, labels, anchors=GRID, crowds=(), **thresholds):
    """Matches objects and crowds; padded to few shapes, to compile seldom."""
    rows = np.zeros((SLOTS, 4), np.float32)
    rows[: len(boxes) + len(crowds)] = [*boxes, *crowds] or np.zeros((0, 4))
    slot = np.arange(SLOTS)
    is_object = slot < len(boxes)
    is_crowd = ~is_object & (slot < len(boxes) + len(crowds))
    all_labels = np.zeros(SLOTS, np.int32)
    all_labels[: len(boxes)] = labels
    far = np.array([9, 9, 0.1, 0.1], np.float32)  # last, so never anyone's favourite
    padding = np.tile(far, (-len(anchors) % 8, 1))
    matches = jitted_match(
        rows,
        all_labels,
        is_object,
        is_crowd,
        np.concatenate([anchors, padding]),
        **thresholds,
    )
    count = len(anchors)
    outputs = (matches.class_target, matches.object_index)
    return tuple(np.asarray(output)[:count] for output in outputs)


def anchors_of(*corner_boxes):
    return np.array([ref_boxes.center_form(b) for b in corner_boxes], np.float32)


FAR = (0.9375, 0.9375, 1.0, 1.0)


def test_exact_thresholds_positive_at_high_neutral_at_low():
    # The object is 16 x 8 sixty-fourths; each anchor shares its corner. The last
    # anchor is the object itself and takes the forced match.
    unit = 1 / 64
    shapes = [(16, 4), (8, 8), (16, 3), (6, 8), (16, 8)]
    overlaps = [1 / 2, 1 / 2, 3 / 8, 3 / 8, 1]
    anchors = anchors_of(*((0, 0, w * unit, h * unit) for w, h in shapes))
    box = (0, 0, 16 * unit, 8 * unit)
    ious = [ref_boxes.iou(box, ref_boxes.corners(a)) for a in anchors]
    assert ious == overlaps
    # 3/8 is a float32, so equality with the lower threshold is exact as well.
    targets, _ = match([box], [6], anchors, negative_iou=3 / 8)
    assert targets.tolist() == [7, 7, -1, -1, 7]
    targets, _ = match([box], [6], anchors, positive_iou=0.5001, negative_iou=0.376)
    assert targets.tolist() == [-1, -1, 0, 0, 7]


def test_object_far_from_all_anchors_still_gets_one():
    anchors = anchors_of((0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1))
    targets, objects = match([(0.95, 0.95, 0.96, 0.96)], [4], anchors)
    assert targets.tolist() == [0, 5]
    assert objects[1] == 0


def test_object_without_any_overlap_takes_the_first_anchor():
    anchors = anchors_of((0, 0, 0.5, 0.5), (0.0, 0.5, 0.5, 1))
    targets, _ = match([FAR], [4], anchors)
    assert targets.tolist() == [5, 0]


def test_higher_overlap_claims_a_shared_favorite():
    # Both objects prefer anchor 0; object 1 overlaps it more, object 0 gets anchor 1
    # although that overlap (1/8) is far below both thresholds.
    anchors = anchors_of((0, 0, 0.5, 0.5), (0, 0, 0.125, 0.125))
    boxes = [(0, 0, 0.25, 0.5), (0, 0, 0.5, 0.4375)]
    targets, objects = match(boxes, [10, 20], anchors)
    assert targets.tolist() == [21, 11]
    assert objects.tolist() == [1, 0]


def test_claims_run_over_all_pairs_not_object_by_object():
    # Overlaps  object 0: 0.9375, 0.5; object 1: 1, 0.5; object 2: -, 0.46..
    # Object 1 takes anchor 0 and object 0 anchor 1, so object 2 gets the far one.
    anchors = anchors_of((0, 0, 0.5, 0.5), (0, 0, 0.5, 0.25), FAR)
    boxes = [(0, 0, 0.5, 0.46875), (0, 0, 0.5, 0.5), (0, 0, 0.25, 0.1875)]
    targets, objects = match(boxes, [0, 1, 2], anchors)
    assert targets.tolist() == [2, 1, 3]
    assert objects.tolist() == [1, 0, 2]


def test_equal_overlaps_go_to_the_first_anchor_and_first_object():
    anchors = anchors_of((0, 0, 0.5, 0.5), (0, 0, 0.5, 0.5), (0, 0, 0.5, 0.5))
    box = (0, 0, 0.5, 0.5)
    targets, objects = match([box, box], [3, 8], anchors)
    # Object 0 claims anchor 0, object 1 anchor 1; anchor 2 ties and goes to object 0.
    assert targets.tolist() == [4, 9, 4]
    assert objects.tolist() == [0, 1, 0]


def test_crowd_makes_covered_background_neutral():
    inside, edge = (0.5, 0.5, 0.625, 0.625), (0.5, 0, 1, 1)
    anchors = anchors_of((0, 0, 0.25, 0.25), inside, edge, (0, 0.5, 0.125, 0.625))
    object_box, crowd = (0, 0, 0.25, 0.25), (0.5, 0.25, 1, 1)
    targets, _ = match([object_box], [0], anchors, crowds=[crowd], crowd_iou=0.7)
    assert targets.tolist() == [1, -1, -1, 0]
    # Anchor 2 is covered by exactly 3/4: equality leaves it background.
    targets, _ = match([object_box], [0], anchors, crowds=[crowd], crowd_iou=0.75)
    assert targets.tolist() == [1, -1, 0, 0]


def test_crowd_does_not_touch_positives():
    anchors = anchors_of((0, 0, 0.25, 0.25), (0.5, 0.5, 1, 1))
    targets, _ = match([(0, 0, 0.25, 0.25)], [5], anchors, crowds=[(0, 0, 1, 1)])
    assert targets.tolist() == [6, -1]


def test_several_crowds_do_not_add_up():
    anchors = anchors_of((0.5, 0.5, 1, 1), (0, 0, 0.125, 0.125))
    crowds = [(0.5, 0.5, 0.75, 1), (0.75, 0.5, 1, 1)]  # each covers half of anchor 0
    targets, _ = match([(0, 0, 0.125, 0.125)], [0], anchors, crowds=crowds)
    assert targets.tolist() == [0, 1]


def test_no_objects_leave_background_and_crowd():
    targets, _ = match([], [], crowds=[(0, 0, 0.5, 0.5)])
    expected, _ = ref.match([], [], [(0, 0, 0.5, 0.5)], GRID)
    assert set(targets) == {0, -1}
    np.testing.assert_array_equal(targets, expected)
    targets, _ = match([(0.1, 0.1, 0.3, 0.3)] * 0, [], crowds=[FAR] * 0 + [(0,) * 4])
    assert (targets == 0).all()


def random_objects(generator, count):
    start = generator.uniform(0, 0.85, (count, 2))
    side = generator.choice([0.05, 0.15, 0.3], (count, 1))
    end = np.minimum(start + side * generator.uniform(0.6, 1.4, (count, 2)), 1)
    return np.concatenate([start, end], 1).astype(np.float32)


@pytest.mark.parametrize("count", [1, 2, 5, 12, 30])
@pytest.mark.parametrize("crowd_count", [0, 2])
def test_agrees_with_loops(count, crowd_count):
    generator = np.random.default_rng(100 * count + crowd_count)
    boxes = random_objects(generator, count)
    crowds = random_objects(generator, crowd_count)
    labels = generator.integers(0, 80, count).tolist()
    # Irregular anchors: on a grid, rounding would decide between tied overlaps.
    anchors = GRID + generator.normal(0, 0.01, GRID.shape).astype(np.float32)
    expected_targets, expected_objects = ref.match(boxes, labels, crowds, anchors)
    targets, objects = match(boxes, labels, anchors, crowds)
    assert len(set(expected_targets)) > 1
    np.testing.assert_array_equal(targets, expected_targets)
    positive = targets > 0
    assert positive.sum() >= count
    np.testing.assert_array_equal(
        objects[positive], np.array(expected_objects)[positive]
    )


def padded(boxes, labels, crowds, slots, size):
    """Spreads objects and crowds over slots; the rest holds rubbish."""
    generator = np.random.default_rng(9)
    rows = random_objects(generator, size)
    rows[::3] = 0  # what padding usually looks like
    all_labels = generator.integers(0, 80, size).astype(np.int32)
    flags = np.zeros((2, size), bool)
    for number, (slot, box) in enumerate(zip(slots, [*boxes, *crowds], strict=True)):
        rows[slot] = box
        is_crowd = number >= len(boxes)
        flags[int(is_crowd), slot] = True
        if not is_crowd:
            all_labels[slot] = labels[number]
    return rows, all_labels, flags[0], flags[1]


@pytest.mark.parametrize("slots", [(0, 1, 2, 3), (2, 5, 7, 11), (3, 9, 10, 4)])
def test_padding_may_be_anywhere(slots):
    generator = np.random.default_rng(1)
    boxes, labels = random_objects(generator, 3), [7, 8, 9]
    crowds = random_objects(generator, 1)
    expected, objects = match(boxes, labels, crowds=crowds)
    matches = jitted_match(*padded(boxes, labels, crowds, slots, SLOTS), GRID)
    np.testing.assert_array_equal(matches.class_target, expected)
    positive = expected > 0
    np.testing.assert_array_equal(
        np.asarray(matches.object_index)[positive], np.array(slots)[objects[positive]]
    )


def test_jit_and_vmap_change_nothing():
    generator = np.random.default_rng(2)
    images = []
    for objects, crowds in ((3, 1), (0, 0), (0, 2), (9, 3)):
        slots = generator.permutation(12)[: objects + crowds]
        labels = generator.integers(0, 80, objects)
        boxes = random_objects(generator, objects), random_objects(generator, crowds)
        images.append(padded(boxes[0], labels, boxes[1], slots, 12))
    batched = [np.stack(arrays) for arrays in zip(*images, strict=True)]
    assert_jit_and_vmap_agree(lambda *image: match_anchors(*image, GRID), *batched)
