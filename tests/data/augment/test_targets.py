"""Mask targets against the original's way: full-size masks, resized twice."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.data.augment.test_rasterize import encode, segmentations
from tests.reference.letterbox import used_of
from tests.reference.mask_targets import (
    full_mask,
    resized_cells,
    resized_target,
    view_of,
)
from yolact_jax.config import InputFrame
from yolact_jax.data.augment.targets import original_masks
from yolact_jax.data.augment.view import View, whole

_POLYGONS = 600


def random_ring(rng, height, width):
    """A star-shaped or tangled ring, often beyond the image or with round numbers."""
    count = rng.integers(3, 12)
    angles = rng.uniform(0, 2 * np.pi, count)
    angles = np.sort(angles) if rng.random() < 0.8 else angles
    turned = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    radius = rng.uniform(1, rng.choice([4, 15, 60]), (count, 1))
    ring = rng.uniform(0, [width, height]) + radius * turned
    ring = np.clip(ring, 0, [width, height]) if rng.random() < 0.7 else ring
    return np.round(2 * ring) / 2 if rng.random() < 0.3 else ring


def random_mask(rng, height, width):
    """Noise, or large blocks that reach the borders."""
    block = rng.choice([1, 8])
    coarse = rng.random((height // block + 1, width // block + 1)) < 0.5
    return np.kron(coarse, np.ones((block, block)))[:height, :width].astype(np.uint8)


def random_view(rng):
    left, top = rng.integers(-40, 30, 2).tolist()
    width, height = rng.integers(5, 260, 2).tolist()
    return View(left, top, width, height, *(rng.random(2) < (0.5, 0.3)).tolist())


def random_frame(rng):
    """A square, stretched to; or any rectangle, letterboxed in two of three cases."""
    height, width = (int(side) for side in rng.choice([64, 96, 110, 138, 256], 2))
    if rng.random() < 0.5:
        return InputFrame(height, height)
    return InputFrame(height, width, letterbox=bool(rng.random() < 0.67))


def random_case(rng, objects):
    """Annotations of one or two rings, and two run-length ones; and their masks."""
    height, width = rng.integers(20, 200, 2).tolist()
    owners = np.repeat(np.arange(objects), rng.integers(1, 3, objects)).tolist()
    rings = [random_ring(rng, height, width) for _ in owners]
    runs = [random_mask(rng, height, width) for _ in range(2)]
    masks = [
        full_mask(
            [r for r, o in zip(rings, owners, strict=True) if o == i], height, width
        )
        for i in range(objects)
    ]
    outlines = segmentations(
        (height, width),
        rings,
        owners,
        [encode(run) for run in runs],
        [objects, objects + 1],
    )
    return outlines, masks + runs


@pytest.mark.parametrize("seed", range(_POLYGONS // 60))
def test_every_pixel_is_the_originals(seed):
    rng = np.random.default_rng(seed)
    for _ in range(10):
        outlines, masks = random_case(rng, objects=4)
        chosen = rng.permutation(len(masks))[: rng.integers(1, len(masks) + 1)]
        view, frame = random_view(rng), random_frame(rng)
        used = frame.letterbox and used_of(frame.size, (view.height, view.width))
        halves = tuple(-(-side // 8) for side in frame.size)
        sizes = (tuple(2 * side for side in halves), halves)
        put = view.put_on(frame)
        drawn = original_masks(outlines, chosen, put, frame.size, sizes)
        for size, found in zip(sizes, drawn, strict=True):
            expected = [
                resized_target(view_of(masks[i], view), frame.size, size, used)
                for i in chosen
            ]
            np.testing.assert_array_equal(found, expected)


@settings(max_examples=40)
@example(seed=13974141, input_size=126, size=15, width=162, height=38)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(16, 160),
    st.integers(1, 150),
    st.integers(1, 400),
    st.integers(1, 400),
)
def test_any_ratio_of_sizes(seed, input_size, size, width, height):
    rng = np.random.default_rng(seed)
    outlines, masks = random_case(rng, objects=2)
    view = View(-3, 2, width, height, flip_x=bool(seed % 2))
    chosen, size = np.arange(len(masks)), min(size, input_size)
    (drawn,) = original_masks(outlines, chosen, view, input_size, (size,))
    sizes = (input_size, input_size), (size, size)
    cells = np.stack([resized_cells(view_of(m, view), *sizes) for m in masks])
    differs = drawn != (cells > 0.5)
    # Half of a cell to the last bit of float32: the order of the sums decides.
    assert np.all(np.abs(cells[differs] - 0.5) < 1e-6)
    assert differs.sum() <= 2


@pytest.mark.parametrize(
    ("input_size", "image"), [(550, (480, 640)), (700, (640, 427))]
)
def test_published_sizes_and_a_picture_of_many_objects(input_size, image):
    rng = np.random.default_rng(input_size)
    rings = [random_ring(rng, *image) for _ in range(40)]
    outlines = segmentations(image, rings, range(40))
    sizes = (2 * -(-input_size // 8), -(-input_size // 8))
    drawn = original_masks(outlines, np.arange(40), whole(*image), input_size, sizes)
    for size, found in zip(sizes, drawn, strict=True):
        for ring, mask in zip(rings, found, strict=True):
            sides = (input_size, input_size), (size, size)
            expected = resized_target(full_mask([ring], *image), *sides)
            np.testing.assert_array_equal(mask, expected)


def test_ring_far_outside_costs_nothing_and_shows_nothing():
    far = [[1e6, 1e6], [2e6, 1e6], [2e6, 2e6]]
    outlines = segmentations((30, 40), [far], [0])
    (drawn,) = original_masks(outlines, np.array([0]), whole(30, 40), 64, (16,))
    assert drawn.shape == (1, 16, 16)
    assert not drawn.any()


def test_run_length_mask_may_end_with_an_empty_run():
    """Such a run is the start of the next mask, for one who counts pixels."""
    first = b"".join([encode(np.tri(9, 7, dtype=np.uint8)), b"0"])
    second = encode(np.zeros((9, 7)))
    outlines = segmentations((9, 7), rles=[first, second], rle_owners=[0, 1])
    (drawn,) = original_masks(outlines, np.arange(2), whole(9, 7), 32, (8,))
    assert not drawn[1].any()


def test_nothing_selected():
    outlines = segmentations((10, 10), [[[1, 1], [7, 1], [7, 7]]], [0])
    none = np.zeros(0, np.int64)
    large, small = original_masks(outlines, none, whole(10, 10), 32, (8, 4))
    assert large.shape == (0, 8, 8)
    assert small.shape == (0, 4, 4)
