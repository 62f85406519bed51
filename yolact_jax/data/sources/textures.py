"""Random backgrounds and surfaces for pictures of shapes."""

import cv2
import numpy as np


def background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draws a pattern between two colors, and smooth noise.

    Returns:
      [size, size, 3] float32 RGB in about [0, 255].
    """
    first, second = rng.uniform(40, 215, (2, 3)).astype(np.float32)
    # Weak patterns keep objects easy to see.
    second = first + 0.45 * (second - first)
    shape = (size, size)
    pattern = _PATTERNS[int(rng.integers(len(_PATTERNS)))](rng, shape)[..., None]
    noise = smooth_noise(rng, shape, cells=int(rng.integers(4, 24)))[..., None]
    return first + pattern * (second - first) + 14.0 * (noise - 0.5)


def surface(
    rng: np.random.Generator, shape: tuple[int, int], color: np.ndarray
) -> np.ndarray:
    """Draws the surface of an object: an RGB color, shaded across and a bit uneven.

    Returns:
      [height, width, 3] float32 RGB.
    """
    shade = 0.85 + 0.3 * _gradient(rng, shape)
    noise = smooth_noise(rng, shape, cells=int(rng.integers(3, 16)))
    return (shade + 0.12 * (noise - 0.5))[..., None] * color


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], *, cells: int
) -> np.ndarray:
    """Interpolates random numbers on a coarse grid of `cells` per side.

    Returns:
      [height, width] float32 in about [0, 1].
    """
    grid = rng.random((cells, cells), dtype=np.float32)
    return cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC)


def _gradient(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """[height, width] float32 from 0 to 1 in a random direction."""
    along = _along(rng, shape)
    low, high = along.min(), along.max()
    return (along - low) / max(high - low, np.float32(1e-6))


def _stripes(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """[height, width] float32, waves in a random direction."""
    return 0.5 + 0.5 * np.sin(_along(rng, shape) * np.float32(rng.uniform(15, 70)))


def _checkers(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """[height, width] float32 of 0 and 1, a board along the axes."""
    cells, start = rng.uniform(3, 12), rng.random()
    down, across = (np.floor(np.arange(n) * cells / n + start) for n in shape)
    return ((down[:, None] + across[None, :]) % 2).astype(np.float32)


def _clouds(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """[height, width] float32, smooth noise of two scales."""
    coarse = smooth_noise(rng, shape, cells=int(rng.integers(3, 7)))
    return 0.7 * coarse + 0.3 * smooth_noise(rng, shape, cells=20)


def _along(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """[height, width] float32, position along a random direction, in sides."""
    angle = rng.uniform(0, 2 * np.pi)
    down, across = (np.arange(n, dtype=np.float32) / n for n in shape)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * across[None, :] + sin * down[:, None]


_PATTERNS = (_gradient, _stripes, _checkers, _clouds)
