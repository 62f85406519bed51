"""The images of the golden numbers: photographs on file, and a generated one."""

from pathlib import Path

import cv2
import numpy as np

_NUM_SHAPES = 140
_NUM_LARGE_SHAPES = 30


def read_image(path: Path) -> np.ndarray:
    """Reads a photograph.

    Returns:
      [h, w, 3] uint8 RGB.

    Raises:
      ValueError: if the file is missing or not an image.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path} is missing or not an image.")
    return image[..., ::-1].copy()


def synthetic_image(height: int = 480, width: int = 640, seed: int = 0) -> np.ndarray:
    """Draws gradients, ellipses, boxes, stripes, triangles and noise.

    Everything is integer arithmetic, so the pixels are the same everywhere.

    Returns:
      [height, width, 3] uint8 RGB.
    """
    rng = np.random.default_rng(977 + seed)
    y, x = np.mgrid[:height, :width]
    image = np.empty((height, width, 3), np.int64)
    for channel in range(3):
        slope_x, slope_y = rng.integers(-60, 61, 2)
        image[..., channel] = 110 + slope_x * x // width + slope_y * y // height
    for index in range(_NUM_SHAPES):
        center_y = int(rng.integers(0, height))
        center_x = int(rng.integers(0, width))
        largest = 120 if index < _NUM_LARGE_SHAPES else 45
        radius_y, radius_x = (int(r) for r in rng.integers(6, largest, 2))
        pure = index % 3 == 0
        color = 255 * rng.integers(0, 2, 3) if pure else rng.integers(0, 256, 3)
        inside = _shape(rng, y - center_y, x - center_x, radius_y, radius_x, x + y)
        image[inside] = color
    image += rng.integers(-20, 21, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def _shape(rng, dy, dx, radius_y, radius_x, diagonal) -> np.ndarray:
    kind = int(rng.integers(0, 4))
    box = (abs(dy) <= radius_y) & (abs(dx) <= radius_x)
    if kind == 0:  # ellipse
        return (dy * radius_x) ** 2 + (dx * radius_y) ** 2 <= (radius_x * radius_y) ** 2
    if kind == 1:
        return box
    if kind == 2:  # stripes
        period = int(rng.integers(4, 20))
        return box & (diagonal // period % 2 == 0)
    height = dy + radius_y  # triangle, growing downwards
    return (abs(dy) <= radius_y) & (abs(dx) * 2 * radius_y <= radius_x * height)
