"""Letterboxed images, one pixel at a time, with exact fractions."""

import math
from fractions import Fraction

import numpy as np


def used_of(frame, size):
    """(rows, columns) that an image of (height, width) fills."""
    scale = min(
        Fraction(side, length) for side, length in zip(frame, size, strict=True)
    )
    half = Fraction(1, 2)
    return tuple(max(math.floor(scale * length + half), 1) for length in size)


def resized(image, size):
    """Bilinear with half-pixel centers, [*size, c] float64 of [h, w, c]."""
    for axis, length in enumerate(size):
        count = image.shape[axis]
        at = np.clip((np.arange(length) + 0.5) * count / length - 0.5, 0, count - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, count - 1)
        shape = [1] * image.ndim
        shape[axis] = length
        weight = (at - low).reshape(shape)
        image = image.take(low, axis) * (1 - weight) + image.take(high, axis) * weight
    return image


def letterboxed(image, frame, padding):
    """[*frame, c] float64 of an image [h, w, c]."""
    rows, columns = used_of(frame, image.shape[:2])
    result = np.empty((*frame, image.shape[2]))
    result[:] = padding
    result[:rows, :columns] = resized(image, (rows, columns))
    return result
