"""Polygons of masks: how near they are, and what they enclose."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from yolact_jax.results.instances import Instances


def filled(mask):
    """A mask with all that is not connected to the border by sides."""
    outside = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, parts = cv2.connectedComponents(outside, connectivity=4)
    return (parts != parts[0, 0])[1:-1, 1:-1]


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.floats(0.05, 0.95))
def test_the_area_of_polygons_is_that_of_what_they_fill(seed, share):
    masks = np.random.default_rng(seed).random((1, 12, 15)) < share
    masks[0, 4, 4] = True
    box = np.array([[0, 0, 15, 12]], np.float32)
    found = Instances(box, np.ones(1), np.zeros(1, int), masks)
    (entry,) = found.to_coco(segmentation="polygons")
    assert entry["area"] == filled(masks[0]).sum()
    (entry,) = found.to_coco()
    assert entry["area"] == masks.sum()


def test_the_area_of_smooth_polygons_is_that_of_what_they_enclose():
    masks = np.zeros((1, 90, 110), np.uint8)
    cv2.ellipse(masks[0], (50, 45), (40, 25), 30, 0, 360, 1, -1)
    cv2.circle(masks[0], (50, 45), 9, 0, -1)
    box = np.array([[0, 0, 110, 90]], np.float32)
    found = Instances(box, np.ones(1), np.zeros(1, int), masks.astype(bool))
    (entry,) = found.to_coco(segmentation="polygons", tolerance_px=3)
    drawn = coco_mask.frPyObjects(entry["segmentation"], 90, 110)
    assert entry["area"] == pytest.approx(coco_mask.area(drawn).sum(), rel=0.01)
    assert entry["area"] != pytest.approx(filled(masks[0] > 0).sum(), rel=1e-4)


@pytest.mark.parametrize("tolerance_px", [0.5, 1.5, 4.0])
def test_smooth_polygons_stay_near_the_mask(tolerance_px):
    mask = np.zeros((1, 90, 110), np.uint8)
    cv2.ellipse(mask[0], (50, 45), (40, 25), 30, 0, 360, 1, -1)
    mask[0, 2, 2] = 1  # would vanish
    found = Instances(np.zeros((1, 4)), np.ones(1), np.zeros(1, int), mask.astype(bool))
    exact, smooth = (found.polygons(t)[0] for t in (0, tolerance_px))
    assert [len(ring) for ring in smooth if len(ring) == 4] == [4]
    assert max(map(len, smooth)) < 0.8 * max(map(len, exact))
    outline = max(exact, key=len)
    for corner in outline:
        distance = cv2.pointPolygonTest(max(smooth, key=len), corner.tolist(), True)
        assert abs(distance) <= tolerance_px + 1e-3
