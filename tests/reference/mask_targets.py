"""Mask targets as the original makes them: full-size masks, resized twice."""

import cv2
import numpy as np
from pycocotools import mask as coco_mask


def full_masks(rings_or_rle: list, height: int, width: int) -> np.ndarray:
    """[height, width] uint8 of a COCO segmentation: rings of numbers, or an RLE."""
    rle = coco_mask.frPyObjects(rings_or_rle, height, width)
    return coco_mask.decode(coco_mask.merge(rle) if isinstance(rle, list) else rle)


def view_of(mask: np.ndarray, view) -> np.ndarray:
    """Cuts, pads and mirrors a mask [h, w] as a `View` says."""
    height, width = mask.shape
    seen = np.zeros((view.height, view.width), mask.dtype)
    rows = [r for r in range(view.height) if 0 <= r + view.top < height]
    columns = [c for c in range(view.width) if 0 <= c + view.left < width]
    if rows and columns:
        ys, xs = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        seen[ys, xs] = (
            mask[view.top :, view.left :]
            if False
            else mask[
                ys.start + view.top : ys.stop + view.top,
                xs.start + view.left : xs.stop + view.left,
            ]
        )
    seen = seen[:, ::-1] if view.flip_x else seen
    return seen[::-1] if view.flip_y else seen


def resized_target(seen: np.ndarray, input_size: int, size: int) -> np.ndarray:
    """[size, size] uint8: bytes to the input size, floats from there, above half."""
    seen = np.ascontiguousarray(seen, np.uint8)
    square = cv2.resize(seen, (input_size, input_size)).astype(np.float32)
    # Two taps an axis, half-pixel centres, clamped: PyTorch's bilinear.
    scale = np.float32(input_size / size)
    at = scale * (np.arange(size, dtype=np.float32) + np.float32(0.5))
    at = np.maximum(at - np.float32(0.5), 0)
    low = at.astype(int)
    high = np.minimum(low + 1, input_size - 1)
    weight = (at - low).astype(np.float32)
    rows = square[low] * (1 - weight)[:, None] + square[high] * weight[:, None]
    cells = rows[:, low] * (1 - weight) + rows[:, high] * weight
    return (cells > 0.5).astype(np.uint8)
