"""One mask as rings or a cut-out."""

from collections.abc import Sequence

import cv2
import numpy as np


def check_tolerance(tolerance_px: float) -> None:
    """Refuses a tolerance that is negative or not finite, with a ValueError."""
    if not 0 <= tolerance_px < np.inf:
        raise ValueError(
            f"`tolerance_px` is {tolerance_px}; it must be a number of at least 0."
        )


def rings(mask: np.ndarray, tolerance_px: float = 0.0) -> list[np.ndarray]:
    """Outlines a [height, width] bool mask along the edges of its pixels; fills holes.

    Args:
      mask: what to outline.
      tolerance_px: how far a ring may be from the edges of the pixels, to have fewer
        corners; a ring that would lose its area stays as it is.

    Returns:
      For each connected part [m, 2] float32 x and y of the corners, pixels.

    Raises:
      ValueError: if the tolerance is negative or not finite.
    """
    check_tolerance(tolerance_px)
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    part = mask[y : y + height, x : x + width].view(np.uint8)
    # OpenCV's outlines run through the middle of pixels.  At twice the size even
    # places are left and upper halves of pixels, odd ones right and lower halves, so
    # rounding half a place up gives the edges.
    double = part.repeat(2, axis=0).repeat(2, axis=1)
    found, _ = cv2.findContours(double, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    edges = (_corners((ring[:, 0] + 1) // 2) + (x, y) for ring in found)
    return [_smoothed(ring.astype(np.float32), tolerance_px) for ring in edges]


def area(rings: Sequence[np.ndarray]) -> float:
    """Adds up what [m, 2] float32 rings enclose, square pixels."""
    return float(sum(cv2.contourArea(ring) for ring in rings))


def _smoothed(ring: np.ndarray, tolerance_px: float) -> np.ndarray:
    if not tolerance_px:
        return ring
    smooth = cv2.approxPolyDP(ring, tolerance_px, closed=True)[:, 0]
    return smooth if cv2.contourArea(smooth) > 0 else ring


def _corners(points: np.ndarray) -> np.ndarray:
    """Leaves out points between neighbors on one line."""
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    step = points - np.roll(points, 1, axis=0)
    following = np.roll(step, -1, axis=0)
    turns = step[:, 0] * following[:, 1] != step[:, 1] * following[:, 0]
    return points[turns]


def cut_out(
    image: np.ndarray, box_px: np.ndarray, mask: np.ndarray, background: bool
) -> np.ndarray:
    """Cuts out a box, or a mask, which then becomes the alpha channel.

    A box without area gives at least a pixel.
    """
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    if background or not width:
        last = mask.shape[1] - 1, mask.shape[0] - 1
        x, y = np.minimum(np.floor(box_px[:2]).astype(int), last)
        width, height = np.maximum(np.ceil(box_px[2:]).astype(int) - (x, y), 1)
    window = slice(y, y + height), slice(x, x + width)
    if background:
        return image[window].copy()
    return np.dstack([image[window], mask[window].view(np.uint8) * 255])
