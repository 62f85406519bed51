"""Masks that share no pixel, and masks without parts far away."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.results.test_takeaway import SIZE, squares
from yolact_jax.results.instances import Instances

places = st.tuples(*[st.integers(0, 20)] * 2, st.integers(0, 12))


@settings(max_examples=30)
@given(st.lists(places, max_size=6))
def test_disjoint_masks_give_each_pixel_to_the_best(drawn):
    found = squares(*drawn)
    masks = found.disjoint().masks
    assert (masks.sum(axis=0) <= 1).all()
    for y, x in np.argwhere(found.masks.any(axis=0)):
        assert masks[np.flatnonzero(found.masks[:, y, x])[0], y, x]
    assert not (masks & ~found.masks).any()
    ids = found.to_id_map()
    for number, mask in enumerate(masks, start=1):
        np.testing.assert_array_equal(ids == number, mask)


@pytest.mark.parametrize("size", [SIZE, (900, 1100)])
def test_only_parts_in_the_middle_of_the_box_stay(size):
    masks = np.zeros((4, *size), bool)
    masks[:, 20:30, 20:30] = True  # in the middle of the first box
    masks[:, 30, 30] = True  # touches its corner
    masks[:, 2:12, 50:60] = True  # elsewhere, as large
    masks[:, 16, 16] = True  # at the rim of the first box
    masks[3] = False
    boxes = np.array([[15, 15, 35, 35], [45, 0, 65, 20], [0, 30, 9, 44], [0, 0, 9, 9]])
    zeros = np.zeros(4)
    found = Instances(boxes.astype(np.float32), zeros, zeros.astype(int), masks)
    kept = found.connected().masks
    middle, other = masks.copy(), masks.copy()
    middle[:, :, 45:], other[:, :, :45] = False, False
    middle[:, 16, 16] = False
    np.testing.assert_array_equal(kept[0], middle[0])
    np.testing.assert_array_equal(kept[1], other[1])
    np.testing.assert_array_equal(kept[2], middle[2])  # 101 pixels against 100
    assert not kept[3].any()
