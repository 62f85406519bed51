"""Shares of cells: exact areas of rectangles, dense masks of anything else."""

import numpy as np
import pytest

from tests.data.augment.test_rasterize import encode, segmentations
from yolact_jax.data.augment import rasterize
from yolact_jax.data.augment.coverage import cell_coverage
from yolact_jax.data.augment.view import View, whole


def rectangles(count, side):
    corners = np.random.default_rng(0).uniform(0, side, (count, 2, 2))
    return np.sort(corners, axis=1)


def test_rectangles_cover_what_they_should():
    """The share of a cell is exact across, and to half a line of four down."""
    side, cells = 80, 10
    corners = rectangles(30, side)
    rings = [[(x1, y1), (x2, y1), (x2, y2), (x1, y2)] for (x1, y1), (x2, y2) in corners]
    outlines = segmentations((side, side), rings, range(len(rings)))
    found = cell_coverage(outlines, np.arange(len(rings)), whole(side, side), cells)
    edges = np.arange(cells + 1) * side / cells
    low, high = corners[:, 0, :, None], corners[:, 1, :, None]
    inside = np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1])
    across, down = np.moveaxis(np.clip(inside, 0, None) / (side / cells), 1, 0)
    exact = down[:, :, None] * across[:, None, :]
    assert found.dtype == np.float16
    assert found.min() == 0
    assert found.max() == 1
    # Both edges of a small rectangle may be off.
    assert np.abs(found - exact).max() <= 0.25 + 1e-3
    full = (down == 1)[:, :, None] & (across > 0)[:, None, :]
    np.testing.assert_allclose(found[full], exact[full], atol=1e-3)
    assert abs(found.mean(dtype=np.float64) - exact.mean()) < 2e-3


VIEWS = [
    whole(48, 64),
    View(top=-7, left=5, height=40, width=48, flip_x=True, flip_y=False),
    View(top=9, left=-6, height=60, width=50, flip_x=False, flip_y=True),
]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("seed", range(6))
def test_any_polygon_agrees_with_many_samples(view, seed):
    """Also those that cross themselves, several to an annotation, and cut by views."""
    rng = np.random.default_rng(seed)
    rings = [rng.uniform((-8, -8), (72, 56), (n, 2)) for n in (3, 4, 7, 12)]
    outlines = segmentations((48, 64), rings, [0, 1, 2, 2])
    chosen, cells, samples = np.arange(3), 12, 24
    found = cell_coverage(outlines, chosen, view, cells)
    dense = rasterize.object_masks(outlines, chosen, view, cells * samples)
    dense = dense.reshape(-1, cells, samples, cells, samples).mean((2, 4))
    assert np.abs(found - dense).max() < 0.17
    assert np.abs(found - dense).mean() < 0.01


def test_polygons_of_one_annotation_are_united():
    """Twice the same, one inside of another, side by side, and a part shared."""

    def box(x1, x2):
        return [(x1, 0), (x2, 0), (x2, 4), (x1, 4)]

    pairs = [(0, 6), (0, 6)], [(0, 12), (1, 3)], [(0, 5), (5, 6)], [(1, 6), (3, 9)]
    rings = [box(*span) for pair in pairs for span in pair]
    outlines = segmentations((4, 12), rings, np.repeat(np.arange(len(pairs)), 2))
    found = cell_coverage(outlines, np.arange(len(pairs)), whole(4, 12), (1, 3))
    expected = [[1, 0.5, 0], [1, 1, 1], [1, 0.5, 0], [0.75, 1, 0.25]]
    np.testing.assert_allclose(found[:, 0], expected)


@pytest.mark.parametrize("share", [(11 / 32, 1.0), (1.0, 21 / 32)])
def test_nothing_is_covered_beyond_the_shown_part(share):
    """An object that goes on beyond a view ends with it, in the middle of a cell."""
    view = View(0, 0, 20, 20, share=share)
    ring = [(-30, -30), (50, -30), (50, 50), (-30, 50)]
    mask = encode(np.ones((40, 40), np.uint8))
    outlines = segmentations((40, 40), [ring], [0], [mask], [1])
    found = cell_coverage(outlines, np.arange(2), view, 8)
    across, down = (np.clip(part * 8 - np.arange(8), 0, 1) for part in share)
    np.testing.assert_allclose(found[0], np.outer(down, across))
    np.testing.assert_allclose(found[1], np.outer(down, across))


def test_coverage_of_run_lengths_is_a_mean_of_pixels():
    rng = np.random.default_rng(1)
    mask = rng.integers(0, 2, (40, 40), np.uint8)
    outlines = segmentations((40, 40), rles=[encode(mask)], rle_owners=[0])
    found = cell_coverage(outlines, np.array([0]), whole(40, 40), 10)
    expected = mask.reshape(10, 4, 10, 4).mean((1, 3))
    np.testing.assert_array_equal(found[0], expected.astype(np.float16))


def test_coverage_of_no_objects_is_empty():
    outlines = segmentations((20, 20), [[(1, 1), (9, 1), (9, 9)]], [0])
    found = cell_coverage(outlines, np.zeros(0, np.int64), whole(20, 20), (6, 8))
    assert found.shape == (0, 6, 8)
