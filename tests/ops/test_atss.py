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
    level_shapes=tuple((side, side) for side in SIZES),
    candidates=9,
    crowd_iou=0.7,
)
jitted = jax.jit(match_atss)


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


@pytest.mark.parametrize("aware", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 6])
@pytest.mark.parametrize("seed", range(5))
def test_assignment_agrees_with_loops(seed, count, aware):
    boxes, labels, masks = scene(seed, count)
    *image, all_masks = padded(boxes, labels, masks)
    matches = jitted(*image, all_masks if aware else None)
    expected, objects = ref.match(
        boxes.tolist(), labels, ANCHORS.tolist(), COUNTS, 9, masks if aware else None
    )
    np.testing.assert_array_equal(matches.class_target, expected)
    for found, wanted in zip(matches.object_index, objects, strict=True):
        assert wanted is None or found == wanted
    assert count == 0 or any(expected)


@pytest.mark.parametrize("count", [1, 2, 9, 20, 1000])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1), (6, 11), (20, 20)])
def test_nearest_cells_are_those_of_a_sort_of_all(shape, count):
    generator = np.random.default_rng(count)
    rows, columns = shape
    centers = [
        ((x + 0.5) / columns, (y + 0.5) / rows, 1.0, 1.0) for y, x in np.ndindex(shape)
    ]
    points = generator.uniform(0, 1, (30, 2))
    points[:5] = generator.integers(0, 3, (5, 2)) / 2  # Corners, sides and the middle.
    boxes = np.concatenate([points - 0.125, points + 0.125], 1).astype(np.float32)
    found = atss.nearest_anchors(boxes, np.float32(centers), [shape], count)
    distances = np.square(points[:, None] - np.array(centers)[None, :, :2]).sum(-1)
    nearest = np.sort(distances)[:, :count]
    assert found.shape == nearest.shape
    assert all(len(set(row)) == len(row) for row in found.tolist())
    of_found = np.take_along_axis(distances, np.asarray(found), axis=1)
    np.testing.assert_allclose(of_found, nearest, atol=1e-6)


def test_of_equally_near_cells_the_first_come_first():
    centers = [(x + 0.5, y + 0.5, 1, 1) for y, x in np.ndindex(4, 4)]
    middle = np.float32([[1, 1, 3, 3]])
    found = atss.nearest_anchors(middle, np.float32(centers), [(4, 4)], 8)
    assert found.tolist() == [[5, 6, 9, 10, 1, 2, 4, 7]]


@pytest.mark.long
def test_more_objects_than_anchors_share_what_there_is():
    boxes, labels, masks = scene(0, 200)
    *image, _ = padded(boxes, labels, masks, slots=200)
    matches = match_atss(*image, None)
    expected, _ = ref.match(boxes.tolist(), labels, ANCHORS.tolist(), COUNTS, 9)
    np.testing.assert_array_equal(matches.class_target, expected)
    assert len(boxes) > len(ANCHORS)


def test_object_between_the_centers_of_anchors_has_none():
    box = np.array([[0.07, 0.07, 0.12, 0.12]], np.float32)
    mask = np.zeros((1, SIDE, SIDE), np.uint8)
    matches = jitted(*padded(box, [3], mask))
    assert not np.any(matches.class_target)


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


def test_mask_of_less_than_a_cell_counts_as_a_whole_one():
    box = np.array([[0.25, 0.25, 0.5, 0.5]], np.float32)
    mask = np.zeros((1, SIDE, SIDE), np.float32)
    mask[0, 5, 5] = 0.25
    found = atss.mask_aware_iou(box, mask, box[None])
    np.testing.assert_allclose(found, [[1.0]], atol=1e-6)


def test_boxes_and_masks_without_area_give_finite_numbers():
    box = np.zeros((1, 4), np.float32)
    for mask in (np.zeros((1, 4, 4)), np.ones((1, 4, 4))):
        found = atss.mask_aware_iou(box, mask, np.zeros((1, 3, 4), np.float32))
        np.testing.assert_array_equal(found, 0)


@pytest.mark.long
def test_jit_and_vmap_change_nothing():
    images = [padded(*scene(seed, 4)) for seed in range(2)]
    assert_jit_and_vmap_agree(match_atss, *map(np.stack, zip(*images, strict=True)))
