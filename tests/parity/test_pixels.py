"""Whole pixels of boxes, as the original makes them."""

import numpy as np
import pytest

from parity.detections import whole_pixels
from tests.reference import boxes as ref


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        pytest.param((0.1, 0.2, 0.5, 0.6), (6, 9, 32, 28), id="truncated"),
        pytest.param((0.5, 0.6, 0.1, 0.2), (6, 9, 32, 28), id="swapped corners"),
        pytest.param((-0.3, -0.1, 1.5, 1.1), (0, 0, 64, 48), id="clipped"),
        pytest.param((1.25, 0.0, 1.5, 1.0), (80, 0, 64, 48), id="outside right"),
        pytest.param((-0.5, 0.0, -0.3, 1.0), (0, 0, -19, 48), id="outside left"),
        pytest.param((0.25, 0.25, 0.25, 0.25), (16, 12, 16, 12), id="point"),
    ],
)
def test_pixels_of_named_boxes(box, pixels):
    result = whole_pixels(np.array(box, np.float32), 48, 64)
    assert result.dtype == np.float32
    assert tuple(result.tolist()) == pixels
    assert ref.to_pixels(np.array(box, np.float32), 48, 64) == pixels


def test_pixels_agree_with_loops():
    boxes = np.random.default_rng(0).uniform(-0.5, 1.5, (200, 4)).astype(np.float32)
    expected = [ref.to_pixels(box, 479, 641) for box in boxes]
    np.testing.assert_array_equal(whole_pixels(boxes, 479, 641), expected)
