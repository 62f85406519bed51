import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from tests.reference.letterbox import used_of
from yolact_jax.config import InputFrame
from yolact_jax.data.augment import rasterize
from yolact_jax.data.augment.view import View, whole
from yolact_jax.data.example import Segmentations


def slow_fill(polygon, height, width):
    """Counts, pixel by pixel, the edges that a ray to the left crosses."""
    filled = np.zeros((height, width), np.uint8)
    for row in range(height):
        for column in range(width):
            x, y, inside = column + 0.5, row + 0.5, False
            for (x1, y1), (x2, y2) in zip(
                polygon, np.roll(polygon, -1, 0), strict=True
            ):
                if (y1 <= y < y2) or (y2 <= y < y1):
                    inside ^= x1 + (y - y1) * (x2 - x1) / (y2 - y1) <= x
            filled[row, column] = inside
    return filled


def segmentations(size, rings=(), owners=(), rles=(), rle_owners=()):
    points = [np.array(ring, float).reshape(-1, 2) for ring in rings]
    return Segmentations(
        size=size,
        points_px=np.concatenate(points) if points else np.zeros((0, 2)),
        ring_sizes=np.array([len(ring) for ring in points], np.int64),
        ring_owner=np.array(owners, np.int64),
        rle_owner=np.array(rle_owners, np.int64),
        rle_counts=tuple(rles),
        rle_was_compressed=np.ones(len(rles), bool),
    )


def encode(mask):
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"]


coordinates = st.floats(-4, 20, width=32) | st.integers(-8, 40).map(lambda i: i / 2)
polygons = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=9)


@settings(max_examples=80)
@given(st.lists(polygons, min_size=1, max_size=4))
def test_fill_equals_slow_point_in_polygon(rings):
    rings = [np.array(ring, np.float64) for ring in rings]
    sizes = np.array([len(ring) for ring in rings])
    filled = rasterize.fill_rings(np.concatenate(rings), sizes, 14, 17)
    for ring, mask in zip(rings, filled, strict=True):
        np.testing.assert_array_equal(mask, slow_fill(ring, 14, 17))


def test_fill_has_no_half_pixel_bias():
    square = np.array([[2, 3], [6, 3], [6, 5], [2, 5]], np.float64)
    (mask,) = rasterize.fill_rings(square, np.array([4]), 8, 8)
    expected = np.zeros((8, 8), np.uint8)
    expected[3:5, 2:6] = 1
    np.testing.assert_array_equal(mask, expected)


def test_keyhole_stays_a_hole():
    outer = [[1, 1], [9, 1], [9, 9], [1, 9], [1, 1]]
    inner = [[3, 3], [3, 7], [7, 7], [7, 3], [3, 3]]
    keyhole = np.array(outer + inner, np.float64)
    (mask,) = rasterize.fill_rings(keyhole, np.array([10]), 10, 10)
    assert mask[5, 5] == 0
    assert mask[2, 5] == 1
    assert mask.sum() == 64 - 16


def test_polygons_of_one_annotation_are_united():
    square = [[1, 1], [7, 1], [7, 7], [1, 7]]
    other = [[4, 4], [9, 4], [9, 9], [4, 9]]
    both = segmentations((10, 10), [square, other, square], [0, 0, 2])
    masks = rasterize.object_masks(both, np.array([2, 0]), whole(10, 10), 10)
    assert masks[0].sum() == 36
    assert masks[1].sum() == 36 + 25 - 9
    assert masks[1][5, 5] == 1


def test_areas_agree_with_pycocotools():
    rng = np.random.default_rng(0)
    for _ in range(20):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 24))
        radii = rng.uniform(30, 70, 24)
        ring = 80 + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
        (mask,) = rasterize.fill_rings(ring, np.array([24]), 160, 160)
        reference = coco_mask.frPyObjects([ring.ravel().tolist()], 160, 160)
        difference = mask != coco_mask.decode(reference)[..., 0]
        # They round vertices to fifths of pixels, so the border differs here and there.
        assert difference.sum() < 0.02 * mask.sum()
        signed = mask.sum() - float(coco_mask.area(reference)[0])
        assert abs(signed) < 0.01 * mask.sum()


views = st.builds(
    View,
    left=st.integers(-15, 10),
    top=st.integers(-15, 10),
    width=st.integers(5, 60),
    height=st.integers(5, 60),
    flip_x=st.booleans(),
    flip_y=st.booleans(),
)


frames = st.builds(
    InputFrame, st.integers(3, 25), st.integers(3, 25), letterbox=st.booleans()
)


@settings(max_examples=100)
@given(views, st.integers(0, 1000), frames)
def test_runs_are_the_pixels_under_the_mapped_centers(view, seed, frame):
    height, width = 20, 30
    rows, columns = frame.size
    if frame.letterbox:
        rows, columns = used_of(frame.size, (view.height, view.width))
    rng = np.random.default_rng(seed)
    full = rng.random((2, height, width)) < rng.random((2, 1, 1))
    runs = segmentations(
        (height, width), rles=[encode(m) for m in full], rle_owners=[0, 1]
    )
    put = view.put_on(frame)
    masks = rasterize.object_masks(runs, np.array([1, 0]), put, frame.size)
    assert not masks[:, rows:].any()
    assert not masks[:, :, columns:].any()
    for row in range(rows):
        for column in range(columns):
            x, y = (column + 0.5) / columns, (row + 0.5) / rows
            x = view.left + view.width * (1 - x if view.flip_x else x)
            y = view.top + view.height * (1 - y if view.flip_y else y)
            # Centres on the border of two pixels may go either way.
            if min(x % 1, y % 1) < 1e-9 or max(x % 1, y % 1) > 1 - 1e-9:
                continue
            inside = 0 <= x < width and 0 <= y < height
            expected = full[:, int(y), int(x)] if inside else np.zeros(2)
            np.testing.assert_array_equal(masks[::-1, row, column], expected)


@settings(max_examples=60)
@given(views, st.integers(0, 1000))
def test_polygon_and_its_run_length_mask_agree_within_a_pixel(view, seed):
    """Mapping vertices and then drawing is mapping what was drawn."""
    rng = np.random.default_rng(seed)
    angles = 2 * np.pi * (np.arange(20) + rng.random()) / 20
    middle, radius = rng.uniform(12, 20, 2), rng.uniform(6, 11)
    ring = middle + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    (full,) = rasterize.fill_rings(ring, np.array([20]), 32, 32)
    size = 24
    polygon = segmentations((32, 32), [ring], [0])
    runs = segmentations((32, 32), rles=[encode(full)], rle_owners=[0])
    (drawn,) = rasterize.object_masks(polygon, np.array([0]), view, size)
    (sampled,) = rasterize.object_masks(runs, np.array([0]), view, size)
    # Half a source pixel is this many result pixels; one more for their own grid.
    reach = int(np.ceil(max(size / view.width, size / view.height) / 2)) + 1
    grown, shrunk = dilated(drawn, reach), 1 - dilated(1 - drawn, reach)
    # At the border of the view, the nearest pixel that agrees may be out of view.
    middle = slice(reach, size - reach)
    assert (sampled <= grown)[middle, middle].all()
    assert (sampled >= shrunk)[middle, middle].all()


def dilated(mask, reach):
    padded = np.pad(mask, reach, mode="edge")
    height, width = mask.shape
    shifts = range(2 * reach + 1)
    return np.max(
        [padded[dy : dy + height, dx : dx + width] for dy in shifts for dx in shifts],
        axis=0,
    )


@pytest.mark.parametrize(("flip_x", "flip_y"), [(1, 0), (0, 1), (1, 1)])
def test_flipped_masks_are_flipped(flip_x, flip_y):
    full = np.random.default_rng(3).random((1, 16, 16)) < 0.5
    ring = [[2.2, 1.1], [14.3, 6.6], [5.1, 15.2]]
    both = segmentations((16, 16), [ring], [0], [encode(full[0])], [1])
    plain = rasterize.object_masks(both, np.arange(2), View(1, 2, 13, 11), 19)
    view = View(1, 2, 13, 11, bool(flip_x), bool(flip_y))
    flipped = rasterize.object_masks(both, np.arange(2), view, 19)
    flipped = flipped[:, :: -1 if flip_y else 1, :: -1 if flip_x else 1]
    np.testing.assert_array_equal(plain, flipped)


def test_no_objects_and_unwanted_objects_give_no_masks():
    none = segmentations((10, 10))
    empty = np.zeros(0, np.int64)
    assert rasterize.object_masks(none, empty, whole(10, 10), 5).shape == (0, 5, 5)
    square = [[1, 1], [7, 1], [7, 7], [1, 7]]
    some = segmentations((10, 10), [square], [0], [encode(np.ones((10, 10)))], [1])
    assert rasterize.object_masks(some, empty, whole(10, 10), 5).shape == (0, 5, 5)
    (only,) = rasterize.object_masks(some, np.array([0]), whole(10, 10), 10)
    assert only.sum() == 36


def test_view_beside_the_image_shows_nothing():
    runs = segmentations((10, 10), rles=[encode(np.ones((10, 10)))], rle_owners=[0])
    masks = rasterize.object_masks(runs, np.array([0]), View(20, 0, 5, 5), 5)
    assert not masks.any()


@pytest.mark.parametrize("length", [1, 63, 64, 65, 138, 400])
def test_parity_is_the_lowest_bit_of_the_running_sum(length):
    toggles = rasterize._toggles(3, 2, length)
    rng = np.random.default_rng(length)
    toggles[:] = rng.integers(0, 4, toggles.shape) * (rng.random(toggles.shape) < 0.1)
    expected = np.cumsum(toggles, axis=-1, dtype=np.int64)[..., :length] % 2
    np.testing.assert_array_equal(rasterize._parity(toggles, length), expected)
