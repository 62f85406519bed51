"""Adaptive assignment against loops, on hand-made layouts and edge cases."""

import functools

import jax
import numpy as np
import pytest

from tests.helpers.transforms import assert_jit_and_vmap_agree
from tests.reference import atss as ref
from tests.reference import boxes as ref_boxes
from yolact_jax.ops import anchors as anchor_ops
from yolact_jax.ops import atss

SIZES = (8, 4, 2, 1, 1)
COUNTS = tuple(side**2 for side in SIZES)
SCALES = ((10.0,), (20.0,), (40.0,), (60.0,), (64.0,))
ANCHORS = anchor_ops.make_anchors(SIZES, SCALES, (1.0,), 64, True)
SLOTS, SIDE = 6, 16

match_atss = functools.partial(
    atss.match_atss,
    anchors_cxcywh=ANCHORS,
    level_cells=COUNTS,
    candidates=9,
    crowd_iou=0.7,
)
jitted = jax.jit(match_atss, static_argnames="every_object")


def scene(seed, count):
    """Random objects, the first two the same box, with an ellipse as their mask."""
    generator = np.random.default_rng(seed)
    low = generator.uniform(0, 0.6, (count, 2))
    boxes = np.concatenate([low, low + generator.uniform(0.1, 0.4, (count, 2))], 1)
    boxes[1:2] = boxes[:1]
    labels = generator.integers(0, 5, count)
    center = (np.arange(SIDE) + 0.5) / SIDE
    masks = np.zeros((count, SIDE, SIDE), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        u, v = (2 * center - x1 - x2) / (x2 - x1), (2 * center - y1 - y2) / (y2 - y1)
        mask[...] = u[None] ** 2 + v[:, None] ** 2 < 1
    return boxes.astype(np.float32), labels.astype(np.int32), masks


def padded(boxes, labels, masks, slots=SLOTS, crowds=0):
    """Slots: the objects, of which the last `crowds` are crowds, then padding."""
    count = len(boxes)

    def fill(values, shape):
        full = np.zeros((slots, *shape), np.asarray(values).dtype)
        full[:count] = values
        return full

    slot = np.arange(slots)
    is_crowd = (slot >= count - crowds) & (slot < count)
    boxes, labels = fill(boxes, (4,)), fill(labels, ())
    is_object = (slot < count) & ~is_crowd
    return boxes, labels, is_object, is_crowd, fill(masks, (SIDE, SIDE))


@pytest.mark.parametrize("every_object", [False, True])
@pytest.mark.parametrize("aware", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 6])
@pytest.mark.parametrize("seed", range(5))
def test_assignment_agrees_with_loops(seed, count, aware, every_object):
    boxes, labels, masks = scene(seed, count)
    # Sides of half as much lie between the centers of anchors now and then.
    boxes[:, 2:] -= every_object * 0.5 * (boxes[:, 2:] - boxes[:, :2])
    *image, all_masks = padded(boxes, labels, masks)
    matches = jitted(*image, all_masks if aware else None, every_object=every_object)
    expected, objects = ref.match(
        boxes.tolist(),
        labels,
        ANCHORS.tolist(),
        COUNTS,
        9,
        masks if aware else None,
        every_object=every_object,
    )
    np.testing.assert_array_equal(matches.class_target, expected)
    for found, wanted in zip(matches.object_index, objects, strict=True):
        assert wanted is None or found == wanted
    assert count == 0 or any(expected)


@pytest.mark.long
def test_more_objects_than_anchors_share_what_there_is():
    boxes, labels, masks = scene(0, 200)
    *image, _ = padded(boxes, labels, masks, slots=200)
    matches = match_atss(*image, None)
    expected, _ = ref.match(boxes.tolist(), labels, ANCHORS.tolist(), COUNTS, 9)
    np.testing.assert_array_equal(matches.class_target, expected)
    assert len(boxes) > len(ANCHORS)


def test_object_between_the_centers_of_anchors_has_none_unless_every_object_has():
    box = np.array([[0.07, 0.07, 0.12, 0.12]], np.float32)
    mask = np.zeros((1, SIDE, SIDE), np.uint8)
    image = padded(box, [3], mask)
    assert not np.any(jitted(*image).class_target)
    matches = jitted(*image, every_object=True)
    # The nearest center is that of the first cell of P3, at a sixteenth.
    assert np.flatnonzero(matches.class_target).tolist() == [0]
    assert matches.class_target[0] == 4
    assert matches.object_index[0] == 0


@pytest.mark.parametrize("sides", [(1, 1), (3, 4)])
def test_object_inside_many_anchors_claims_the_nearest(sides):
    """They all overlap it as much; the first of them would be up and left of it."""
    scales = tuple((4 * scale,) for (scale,) in SCALES)
    anchors = anchor_ops.make_anchors(SIZES, scales, (1.0,), 64, True)
    box = np.array([[0.52, 0.645, 0.54, 0.665]], np.float32)
    image = padded(box, [3], np.zeros((1, SIDE, SIDE), np.uint8))[:4]
    match = functools.partial(match_atss, anchors_cxcywh=anchors, sides=sides)
    assert not np.any(match(*image, None).class_target)
    targets = match(*image, None, every_object=True).class_target
    assert np.flatnonzero(targets).tolist() == [5 * SIZES[0] + 4]


@pytest.mark.parametrize("seed", range(20))
def test_every_object_has_an_anchor_and_none_loses_one(seed):
    generator = np.random.default_rng(seed)
    low = generator.uniform(0.4, 0.5, (SLOTS, 2))
    size = generator.choice([0.01, 0.03, 0.3], (SLOTS, 1))
    boxes = np.concatenate([low, low + size], 1).astype(np.float32)
    masks = np.zeros((SLOTS, SIDE, SIDE), np.uint8)
    *image, _ = padded(boxes, np.arange(SLOTS), masks)
    plain, every = (jitted(*image, None, every_object=e) for e in (False, True))
    assert set(np.asarray(every.class_target)) - {0} == set(range(1, SLOTS + 1))
    positive = np.asarray(plain.positive)
    for name in ("class_target", "object_index"):
        kept, before = (np.asarray(getattr(m, name))[positive] for m in (every, plain))
        np.testing.assert_array_equal(kept, before)


def test_objects_of_the_same_small_box_claim_an_anchor_each():
    boxes = np.array([[0.07, 0.07, 0.12, 0.12]] * 3, np.float32)
    masks = np.zeros((3, SIDE, SIDE), np.uint8)
    *image, _ = padded(boxes, [0, 1, 2], masks)
    targets = jitted(*image, None, every_object=True).class_target
    assert sorted(t for t in targets.tolist() if t) == [1, 2, 3]


def test_anchors_inside_a_crowd_are_neutral():
    boxes = np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]], np.float32)
    masks = np.zeros((2, SIDE, SIDE), np.uint8)
    *image, _ = padded(boxes, [1, 2], masks, crowds=1)
    targets = np.asarray(jitted(*image, None).class_target)
    grid = targets[:64].reshape(8, 8)
    assert np.all(grid[5:7, 5:7] == -1)
    assert np.all(grid[5:7, :4] >= 0)
    assert 2 in targets
    assert 3 not in targets


def test_mask_aware_overlap_of_an_object_with_its_own_box_is_one():
    box = np.array([[0.25, 0.25, 0.75, 0.75]], np.float32)
    mask = np.zeros((1, SIDE, SIDE), bool)
    mask[0, 5:9, 6:10] = True
    halves = [(0.25, 0.25, 0.75, 0.75), (0.25, 0.25, 0.5, 0.75), (0.8, 0.8, 1.5, 1.5)]
    found = atss.mask_aware_iou(box, mask, np.array([halves], np.float32))
    # The left half has half of the mask, and its union with the box is the box.
    np.testing.assert_allclose(found, [[1.0, 0.5, 0.0]], atol=1e-6)


def test_full_mask_is_the_plain_overlap_and_so_is_an_empty_one():
    box = np.array([[0.25, 0.25, 0.75, 0.75]] * 2, np.float32)
    masks = np.zeros((2, SIDE, SIDE), bool)
    masks[0, 4:12, 4:12] = True
    anchors = np.random.default_rng(0).uniform(0, 0.5, (2, 40, 4)).astype(np.float32)
    anchors[..., 2:] += anchors[..., :2]
    found = atss.mask_aware_iou(box, masks, anchors)
    expected = [
        [ref_boxes.iou(b, a) for a in group]
        for b, group in zip(box.tolist(), anchors.tolist(), strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_boxes_and_masks_without_area_give_finite_numbers():
    box = np.zeros((1, 4), np.float32)
    for mask in (np.zeros((1, 4, 4)), np.ones((1, 4, 4))):
        found = atss.mask_aware_iou(box, mask, np.zeros((1, 3, 4), np.float32))
        np.testing.assert_array_equal(found, 0)


@pytest.mark.long
def test_jit_and_vmap_change_nothing():
    images = [padded(*scene(seed, 4)) for seed in range(2)]
    assert_jit_and_vmap_agree(match_atss, *map(np.stack, zip(*images, strict=True)))
