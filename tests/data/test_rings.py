import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from yolact_jax.data import rings

SIZE = (30, 40)


def pixels(outlines, size=SIZE):
    encoded = coco_mask.frPyObjects(outlines, *size)
    return coco_mask.decode(coco_mask.merge(encoded))


def drawn_by_winding(ring, size=SIZE):
    """Pixels whose center is inside by the even-odd rule, one by one."""
    points = list(zip(ring[::2], ring[1::2], strict=True))
    inside = np.zeros(size, bool)
    for y in range(size[0]):
        for x in range(size[1]):
            for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
                if (ay <= y + 0.5) != (by <= y + 0.5):
                    at = ax + (y + 0.5 - ay) / (by - ay) * (bx - ax)
                    inside[y, x] ^= at > x + 0.5
    return inside


def on_an_edge(ring, size=SIZE):
    """Pixels whose center an edge passes so closely that rounding decides."""
    points = np.reshape(ring, (-1, 2))
    centers = np.stack(np.mgrid[: size[0], : size[1]][::-1], axis=-1) + 0.5
    near = np.zeros(size, bool)
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        along = end - start
        length = max(along @ along, 1e-300)
        part = np.clip((centers - start) @ along / length, 0, 1)[..., None]
        near |= np.linalg.norm(start + part * along - centers, axis=-1) < 1e-6
    return near


def test_rings_near_the_image_are_the_same_objects():
    outline = [[-40, -40, 80.0, 3, 80, 80], [1, 2, 3, 4, 5, 6]]
    assert rings.clipped(outline, SIZE) is outline


@pytest.mark.parametrize("far", [1e3, 1e9, 2.0**31, 1e300, 1.7e308])
def test_a_far_rectangle_covers_what_it_covered(far):
    (cut,) = rings.clipped([[-far, 10, far, 10, far, 20, -far, 20]], SIZE)
    expected = np.zeros(SIZE, np.uint8)
    expected[10:20] = 1
    np.testing.assert_array_equal(pixels([cut]), expected)
    assert np.abs(cut).max() <= 80


coordinate = st.one_of(st.floats(-100, 140), st.floats(-1e4, 1e4))


@given(st.lists(coordinate, min_size=6, max_size=16).filter(lambda v: len(v) % 2 == 0))
def test_the_part_of_a_polygon_in_the_image_stays(ring):
    cut = rings.clipped([ring], SIZE)
    for outline in cut:
        assert len(outline) >= 6
        assert -40 <= min(outline) <= max(outline) <= 80
    kept = np.zeros(SIZE, bool)
    for outline in cut:
        kept ^= drawn_by_winding(outline)
    different = kept != drawn_by_winding(ring)
    assert not different[~on_an_edge(ring)].any()
    pixels(cut)


def test_a_ring_far_outside_leaves_no_pixel():
    cut = rings.clipped([[1e9, 1e9, 2e9, 1e9, 2e9, 2e9]], SIZE)
    assert pixels(cut).sum() == 0
    both = rings.clipped([[1e9, 1e9, 2e9, 1e9, 2e9, 2e9], [1, 1, 9, 1, 9, 9]], SIZE)
    assert pixels(both).sum() == pixels([[1, 1, 9, 1, 9, 9]]).sum() > 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_is_refused(value):
    with pytest.raises(ValueError, match="not a finite number"):
        rings.clipped([[1, 2, value, 4, 5, 6]], SIZE)
