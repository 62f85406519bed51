"""The made-up inputs behind numbers recorded from the original implementation."""

import numpy as np


def uniform(stream, *shape):
    """Deterministic float64 values in [0, 1), from a 32-bit integer hash."""
    index = np.arange(np.prod(shape, dtype=np.int64), dtype=np.uint64)
    mixed = index * 2654435761 + np.uint64(stream * 2246822519 + 374761393)
    x = mixed.astype(np.uint32)
    x ^= x >> np.uint32(15)
    x *= np.uint32(2246822519)
    x ^= x >> np.uint32(13)
    x *= np.uint32(3266489917)
    x ^= x >> np.uint32(16)
    return (x / 2.0**32).reshape(shape)


def signed(stream, *shape):
    """Values in [-1, 1)."""
    return 2 * uniform(stream, *shape) - 1


def ellipse(box, side):
    """[side, side] bool, the ellipse inscribed in a box, at pixel centres."""
    x1, y1, x2, y2 = box
    center = (np.arange(side) + 0.5) / side
    x = (center - (x1 + x2) / 2) / ((x2 - x1) / 2)
    y = (center - (y1 + y2) / 2) / ((y2 - y1) / 2)
    return x[None, :] ** 2 + y[:, None] ** 2 < 1
