"""Mask targets as the original makes them: full-size masks, resized twice."""

from collections.abc import Sequence

import cv2
import numpy as np
from pycocotools import mask as coco_mask


def full_mask(rings: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """[height, width] uint8, united from rings [k, 2]."""
    parts = coco_mask.frPyObjects([r.ravel().tolist() for r in rings], height, width)
    return coco_mask.decode(coco_mask.merge(parts))


def view_of(mask: np.ndarray, view) -> np.ndarray:
    """Cuts, pads and mirrors a mask [h, w] as a `View` says."""
    height, width = mask.shape
    y, x = np.arange(view.height) + view.top, np.arange(view.width) + view.left
    rows, columns = (y >= 0) & (y < height), (x >= 0) & (x < width)
    seen = np.zeros((view.height, view.width), mask.dtype)
    seen[np.ix_(rows, columns)] = mask[np.ix_(y[rows], x[columns])]
    seen = seen[:, ::-1] if view.flip_x else seen
    return seen[::-1] if view.flip_y else seen


def resized_target(seen: np.ndarray, input_size: int, size: int) -> np.ndarray:
    """[size, size] uint8: as bytes to the input size, then as float; above half."""
    seen = np.ascontiguousarray(seen, np.uint8)
    square = cv2.resize(seen, (input_size, input_size)).astype(np.float32)
    # Two taps an axis, half-pixel centers, clamped: PyTorch's bilinear.
    scale = np.float32(input_size / size)
    at = scale * (np.arange(size, dtype=np.float32) + np.float32(0.5))
    at = np.maximum(at - np.float32(0.5), 0)
    low = np.minimum(at.astype(int), input_size - 1)
    high = np.minimum(low + 1, input_size - 1)
    weight = (at - low).astype(np.float32)
    rows = square[low] * (1 - weight)[:, None] + square[high] * weight[:, None]
    cells = rows[:, low] * (1 - weight) + rows[:, high] * weight
    return (cells > 0.5).astype(np.uint8)
