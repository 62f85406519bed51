"""Random backgrounds and surfaces for pictures of shapes."""

import cv2
import numpy as np


def background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draws a background: a pattern between two colours, and smooth noise.

    Args:
      rng: source of randomness.
      size: height and width, pixels.

    Returns:
      [size, size, 3] float32 RGB in about [0, 255].
    """
    first, second = rng.uniform(40, 215, (2, 3)).astype(np.float32)
    # Weak patterns keep objects easy to see.
    second = first + 0.45 * (second - first)
    pattern = _PATTERNS[int(rng.integers(len(_PATTERNS)))](rng, size)[..., None]
    noise = smooth_noise(rng, size, cells=int(rng.integers(4, 24)))[..., None]
    return first + pattern * (second - first) + 14.0 * (noise - 0.5)


def surface(rng: np.random.Generator, size: int, colour: np.ndarray) -> np.ndarray:
    """Draws the surface of an object: a colour, shaded across and a bit uneven.

    Args:
      rng: source of randomness.
      size: height and width, pixels.
      colour: [3] float32 RGB.

    Returns:
      [size, size, 3] float32 RGB.
    """
    shade = 0.85 + 0.3 * _gradient(rng, size)
    noise = smooth_noise(rng, size, cells=int(rng.integers(6, 32)))
    return (shade + 0.12 * (noise - 0.5))[..., None] * colour


def smooth_noise(rng: np.random.Generator, size: int, *, cells: int) -> np.ndarray:
    """Interpolates random numbers on a coarse grid.

    Args:
      rng: source of randomness.
      size: height and width, pixels.
      cells: of the grid, per side.

    Returns:
      [size, size] float32 in about [0, 1].
    """
    grid = rng.random((cells, cells), dtype=np.float32)
    return cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)


def _gradient(rng: np.random.Generator, size: int) -> np.ndarray:
    """[size, size] float32 from 0 to 1 in a random direction."""
    along = _along(rng, size)
    return (along - along.min()) / (along.max() - along.min())


def _stripes(rng: np.random.Generator, size: int) -> np.ndarray:
    """[size, size] float32, waves in a random direction."""
    return 0.5 + 0.5 * np.sin(_along(rng, size) * np.float32(rng.uniform(15, 70)))


def _checkers(rng: np.random.Generator, size: int) -> np.ndarray:
    """[size, size] float32 of 0 and 1, a board along the axes."""
    cells = rng.uniform(3, 12)
    place = np.floor(np.arange(size) * cells / size + rng.random())
    return ((place[:, None] + place[None, :]) % 2).astype(np.float32)


def _clouds(rng: np.random.Generator, size: int) -> np.ndarray:
    """[size, size] float32, smooth noise of two scales."""
    coarse = smooth_noise(rng, size, cells=int(rng.integers(3, 7)))
    return 0.7 * coarse + 0.3 * smooth_noise(rng, size, cells=20)


def _along(rng: np.random.Generator, size: int) -> np.ndarray:
    """[size, size] float32, position along a random direction, sides of the picture."""
    angle = rng.uniform(0, 2 * np.pi)
    place = np.arange(size, dtype=np.float32) / size
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * place[None, :] + sin * place[:, None]


_PATTERNS = (_gradient, _stripes, _checkers, _clouds)
