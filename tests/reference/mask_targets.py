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


def resized_target(
    seen: np.ndarray,
    input_size: tuple[int, int],
    size: tuple[int, int],
    used: tuple[int, int] | None = None,
) -> np.ndarray:
    """[*size] uint8: as bytes to the input size, then as float; above half.

    With `used` the mask fills so many rows and columns of the input, and 0 the rest.
    """
    return (resized_cells(seen, input_size, size, used) > 0.5).astype(np.uint8)


def resized_cells(
    seen: np.ndarray,
    input_size: tuple[int, int],
    size: tuple[int, int],
    used: tuple[int, int] | None = None,
) -> np.ndarray:
    """[*size] float32, what `resized_target` compares with half."""
    seen = np.ascontiguousarray(seen, np.uint8)
    rows, columns = used or input_size
    picture = np.zeros(input_size, np.float32)
    picture[:rows, :columns] = cv2.resize(seen, (columns, rows))
    (top, bottom, down), (left, right, across) = map(_taps, input_size, size)
    cells = picture[top] * (1 - down)[:, None] + picture[bottom] * down[:, None]
    return cells[:, left] * (1 - across) + cells[:, right] * across


def _taps(length: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # Two taps an axis, half-pixel centers, clamped: PyTorch's bilinear.
    scale = np.float32(length / count)
    at = scale * (np.arange(count, dtype=np.float32) + np.float32(0.5))
    at = np.maximum(at - np.float32(0.5), 0)
    low = np.minimum(at.astype(int), length - 1)
    return low, np.minimum(low + 1, length - 1), (at - low).astype(np.float32)
