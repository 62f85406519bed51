"""Masks that leave pixels to better ones, or leave out parts far from their object."""

import cv2
import numpy as np

from yolact_jax.structures import PackedMasks, Window


def disjoint(packed: PackedMasks) -> PackedMasks:
    """Gives each pixel to the first mask that has it, see `Instances.disjoint`."""
    free = np.ones(packed.size, bool)
    windows = []
    for top, left, part in packed.parts():
        window = free[top : top + part.shape[0], left : left + part.shape[1]]
        windows.append(_packed(top, left, part & window))
        window &= ~part
    return PackedMasks(packed.size, tuple(windows))


def connected(packed: PackedMasks, boxes_px: np.ndarray) -> PackedMasks:
    """Keeps parts in the middle of their boxes, see `Instances.connected`."""
    windows = (
        _packed(top, left, _central_parts(part, box - [left, top, left, top]))
        for (top, left, part), box in zip(packed.parts(), boxes_px, strict=True)
    )
    return PackedMasks(packed.size, tuple(windows))


def _packed(top: int, left: int, part: np.ndarray) -> Window:
    return Window(top, left, np.packbits(part, axis=-1))


def _central_parts(mask: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Keeps connected parts with a pixel in the middle of a box, or the largest one."""
    if not mask.any():
        return mask
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8))
    quarter = (box[2:] - box[:2]) / 4
    x1, y1 = np.maximum(np.floor(box[:2] + quarter), 0).astype(int)
    x2, y2 = np.maximum(np.ceil(box[2:] - quarter), 0).astype(int)
    central = np.setdiff1d(parts[y1:y2, x1:x2], [0])
    if not len(central):
        central = [1 + np.argmax(statistics[1:, cv2.CC_STAT_AREA])]
    return np.isin(parts, central)
