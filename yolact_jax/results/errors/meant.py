"""Which object a detection is meant for, by class and box."""

import numpy as np

from yolact_jax.results.errors.assembly import ImageParts, box_overlaps

NEAR_IOU = 0.1
"""Least overlap of a box with what it is taken to be meant for."""


def meant_for(parts: ImageParts) -> tuple[np.ndarray, np.ndarray]:
    """Finds the object that each detection is meant for.

    Returns:
      [D] int64, the object of its class that its box overlaps most, or -1; and [D]
      float64, that overlap.
    """
    overlaps = box_overlaps(parts.boxes, parts.truth_boxes)
    same = parts.labels[:, None] == parts.truth_labels[None]
    overlaps = np.pad(np.where(same & ~parts.crowd, overlaps, 0), ((0, 0), (0, 1)))
    best = overlaps.max(axis=1)
    return np.where(best >= NEAR_IOU, overlaps.argmax(axis=1), -1), best


def best_detections(
    targets: np.ndarray, nearness: np.ndarray, count: int, least: float = NEAR_IOU
) -> np.ndarray:
    """[G] int64, the detection with the nearest box meant for each object, or -1.

    Args:
      targets: [D] int64, from `meant_for`.
      nearness: [D] float64, from `meant_for`.
      count: G.
      least: overlap that a detection needs.
    """
    best = np.full(count, -1)
    for index in np.argsort(nearness, kind="stable"):
        if targets[index] >= 0 and nearness[index] >= least:
            best[targets[index]] = index
    return best
