"""Where images lie on the network input: on the host, on the device, and back."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.reference.letterbox import letterboxed, used_of
from yolact_jax.config import PADDING_RGB, InputFrame, sides_of
from yolact_jax.inference.masks import full_size_masks
from yolact_jax.ops import boxes as box_ops
from yolact_jax.ops import letterbox
from yolact_jax.ops.resize import resize_valid
from yolact_jax.structures import Detections

RNG = np.random.default_rng(0)
FRAMES = [(64, 64), (48, 96), (97, 65), (550, 550), (33, 700)]
SIZES = [(1, 1), (1, 900), (900, 1), (480, 640), (640, 480), (50, 100), (333, 17)]


@pytest.mark.parametrize("frame", FRAMES)
def test_the_used_part_has_the_aspect_ratio_of_the_image(frame):
    boxed = InputFrame(*frame, letterbox=True)
    for height, width in [*SIZES, *RNG.integers(1, 2000, (200, 2)).tolist()]:
        rows, columns = boxed.used(height, width)
        assert (rows, columns) == used_of(frame, (height, width))
        assert rows == frame[0] or columns == frame[1]
        assert min(rows, columns) >= 1
        scale = min(frame[0] / height, frame[1] / width)
        assert abs(rows - scale * height) <= 0.5 or rows == 1
        assert abs(columns - scale * width) <= 0.5 or columns == 1
        on_device = letterbox.used_size(np.array([height, width], np.int32), boxed)
        assert tuple(np.asarray(on_device)) == (rows, columns)
        assert InputFrame(*frame).used(height, width) == frame


@pytest.mark.parametrize("frame", FRAMES)
def test_boxes_come_back(frame):
    boxed = InputFrame(*frame, letterbox=True)
    there = jax.jit(lambda b, size: letterbox.to_frame(b, size, boxed))
    back = jax.jit(lambda b, size: letterbox.to_image(b, size, boxed))
    for size in SIZES:
        boxes = np.sort(RNG.uniform(0, 1, (9, 2, 2)), axis=1).reshape(9, 4)
        boxes = boxes.astype(np.float32)
        sides = jnp.array(size)
        inside = there(boxes, sides)
        rows, columns = boxed.used(*size)
        pixels = np.array([columns, rows] * 2) / np.array([frame[1], frame[0]] * 2)
        np.testing.assert_allclose(inside, boxes * pixels[None], rtol=1e-6)
        np.testing.assert_allclose(back(inside, sides), boxes, rtol=1e-6)


def test_stretched_boxes_stay_to_the_last_bit():
    boxes = RNG.uniform(-1, 2, (9, 4)).astype(np.float32)
    for convert in (letterbox.to_frame, letterbox.to_image):
        assert convert(boxes, np.array([3, 7]), InputFrame(5, 6)) is boxes


@pytest.mark.parametrize("frame", [(24, 30), (32, 32), (20, 64)])
@pytest.mark.parametrize("size", [(31, 47), (64, 20), (5, 9), (64, 64)])
def test_images_are_resized_and_padded(frame, size):
    image = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    canvas = np.full((64, 64, 3), 255, np.uint8)
    canvas[: size[0], : size[1]] = image
    resize = jax.jit(resize_valid, static_argnums=2)
    found = resize(canvas, jnp.array(size), InputFrame(*frame, letterbox=True))
    expected = letterboxed(image.astype(np.float64), frame, PADDING_RGB)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def detections_of(boxes, coefficients):
    count = len(boxes)
    return Detections(
        boxes=np.array(boxes, np.float32),
        scores=np.ones(count, np.float32),
        labels=np.zeros(count, np.int32),
        coefficients=np.array(coefficients, np.float32),
        anchor_index=np.zeros(count, np.int32),
        valid=np.ones(count, bool),
    )


@pytest.mark.parametrize("frame", [(64, 64), (48, 96)])
@pytest.mark.parametrize("size", [(37, 74), (80, 40), (40, 40), (33, 71)])
def test_masks_are_enlarged_from_the_used_part(frame, size):
    """Against loops over the pixels of the image, in float64."""
    cells = (frame[0] // 4, frame[1] // 4)
    prototypes = RNG.normal(size=(*cells, 3)).astype(np.float32)
    # What is behind the image must not matter.
    rows, columns = used_of(frame, size)
    used = math.ceil(rows / 4), math.ceil(columns / 4)
    prototypes[used[0] :] = np.nan
    prototypes[:, used[1] :] = np.nan
    boxes = [[0.1, 0.2, 0.8, 0.9], [-0.2, 0.0, 1.0, 1.3], [0.5, 0.1, 0.6, 0.3]]
    coefficients = RNG.normal(size=(3, 3))
    masks = jax.jit(full_size_masks, static_argnums=(3, 4))
    packed = masks(
        detections_of(boxes, coefficients),
        prototypes,
        jnp.array(size),
        (80, 80),
        InputFrame(*frame, letterbox=True),
    )
    found = np.unpackbits(np.asarray(packed), axis=-1)
    assert not found[:, size[0] :].any()
    assert not found[:, :, size[1] :].any()
    for box, weights, mask in zip(boxes, coefficients, found, strict=True):
        soft = 1 / (1 + np.exp(-prototypes.astype(float) @ weights))
        expected, unclear = enlarged(soft, box, (rows / 4, columns / 4), size)
        assert np.all((mask[: size[0], : size[1]] == expected) | unclear)
        assert 0 < expected.sum() < expected.size


def enlarged(soft, box, shown, size):
    """Masks of the pixels of an image, and which of them are at the threshold."""
    x1, y1, x2, y2 = np.array(box) * np.array([shown[1], shown[0]] * 2)
    result, unclear = np.zeros(size, bool), np.zeros(size, bool)

    def value(row, column):
        inside = y1 - 1 <= row < y2 + 1 and x1 - 1 <= column < x2 + 1
        return soft[row, column] if inside else 0.0

    for y, x in np.ndindex(size):
        row, top, down = tap(y, size[0], shown[0])
        column, left, across = tap(x, size[1], shown[1])
        total = 0.0
        for r, weight_r in ((row, 1 - down), (top, down)):
            for c, weight_c in ((column, 1 - across), (left, across)):
                total += weight_r * weight_c * value(r, c) if weight_r * weight_c else 0
        result[y, x], unclear[y, x] = total > 0.5, abs(total - 0.5) < 1e-4
    return result, unclear


def tap(index, pixels, shown):
    last = math.ceil(shown) - 1
    at = min(max((index + 0.5) * shown / pixels - 0.5, 0), last)
    low = math.floor(at)
    return low, min(low + 1, last), at - low


def test_distances_count_alike_across_and_down():
    boxes = RNG.uniform(0, 1, (4, 4)).astype(np.float32)
    assert box_ops.in_squares(boxes, (7, 7)) is boxes
    pixels = boxes * np.array([[20, 10, 20, 10]])
    np.testing.assert_allclose(box_ops.in_squares(boxes, (10, 20)) * 20, pixels, 1e-6)


def test_a_number_is_the_side_of_a_square():
    assert sides_of(5) == sides_of([5, 5]) == sides_of((5, 5)) == (5, 5)
    frame = dataclasses.replace(InputFrame(8, 16), letterbox=True)
    assert frame.share(4, 4) == (0.5, 1.0)
    assert frame.used_cells(4, 4, (3, 5)) == (3.0, 2.5)
