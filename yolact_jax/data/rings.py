"""Clips polygon rings, before pycocotools visits every pixel of their edges."""

from collections.abc import Sequence

import numpy as np

_NOTHING = [0.0] * 6


def clipped(
    rings: Sequence[Sequence[float]], size: tuple[int, int]
) -> Sequence[Sequence[float]]:
    """Cuts off parts of polygons that are more than an image side away from the image.

    pycocotools needs memory in proportion to the length of an outline, and crashes
    where there is not enough.  Pixels of the image stay the same, up to the rounding of
    edges that are cut; rings that do not reach so far stay as they are.

    Args:
      rings: of one annotation, x and y in turn, pixels.
      size: (height, width) of the image, pixels.

    Returns:
      Rings in the same form, at least one.

    Raises:
      ValueError: if a coordinate is not finite.
    """
    low, high = -float(max(size)), 2.0 * max(size)
    if all(low <= value <= high for ring in rings for value in ring):
        return rings
    cut = [_clipped_ring(np.array(ring, np.float64), low, high) for ring in rings]
    return [ring for ring in cut if ring] or [_NOTHING]


def _clipped_ring(values: np.ndarray, low: float, high: float) -> list[float]:
    """Clips a ring to a square (Sutherland-Hodgman); empty if all of it is outside."""
    if not np.isfinite(values).all():
        raise ValueError("a polygon has a coordinate that is not a finite number.")
    points = values.reshape(-1, 2)
    for axis in (0, 1):
        points = _half(points, axis, low)
        points = -_half(-points, axis, -high)
    return np.clip(points, low, high).ravel().tolist()  # Rounding may overshoot.


def _half(points: np.ndarray, axis: int, low: float) -> np.ndarray:
    """The part of a ring, [n, 2], whose coordinate along an axis is at least `low`."""
    following = np.roll(points, -1, axis=0)
    start, end = points[:, axis], following[:, axis]
    inside = start >= low
    crosses = inside != (end >= low)
    # Divided first: the difference of two huge numbers may overflow.
    along = (low / 2 - start / 2)[crosses] / (end / 2 - start / 2)[crosses]
    cuts = points.copy()
    part = along[:, None]
    cuts[crosses] = (1 - part) * points[crosses] + part * following[crosses]
    cuts[crosses, axis] = low
    both = np.stack([points, cuts], axis=1)
    return both[np.stack([inside, crosses], axis=1)]
