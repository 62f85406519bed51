"""Mask assembly, crop and bilinear resize, by loops."""

import math

import numpy as np


def assemble(prototypes, coefficients):
    height, width, _ = prototypes.shape
    masks = np.zeros((len(coefficients), height, width))
    for d, row, column in np.ndindex(*masks.shape):
        pixel = prototypes[row, column].astype(float)
        logit = sum(p * c for p, c in zip(pixel, coefficients[d], strict=True))
        masks[d, row, column] = 1 / (1 + math.exp(-logit))
    return masks


def bounds(start, end, size, padding):
    low, high = sorted((float(start) * size, float(end) * size))
    return max(low - padding, 0), min(high + padding, size)


def crop(masks, boxes, padding=1):
    """Keeps the pixels whose index is at least the low and below the high bound."""
    cropped = np.zeros_like(masks)
    _, height, width = masks.shape
    for d, (x1, y1, x2, y2) in enumerate(boxes):
        left, right = bounds(x1, x2, width, padding)
        top, bottom = bounds(y1, y2, height, padding)
        for row in range(height):
            for column in range(width):
                if left <= column < right and top <= row < bottom:
                    cropped[d, row, column] = masks[d, row, column]
    return cropped


def taps(position, out_size, in_size):
    """Neighbouring input indices and the weight of the second; half-pixel centres."""
    source = max((position + 0.5) * in_size / out_size - 0.5, 0.0)
    low = min(math.floor(source), in_size - 1)
    return low, min(low + 1, in_size - 1), source - low


def resize(image, size):
    """Two taps per axis also when shrinking; image is [h, w]."""
    out = np.zeros(size)
    for row in range(size[0]):
        top, bottom, down = taps(row, size[0], image.shape[0])
        for column in range(size[1]):
            left, right, along = taps(column, size[1], image.shape[1])
            upper = image[top, left] * (1 - along) + image[top, right] * along
            lower = image[bottom, left] * (1 - along) + image[bottom, right] * along
            out[row, column] = upper * (1 - down) + lower * down
    return out
