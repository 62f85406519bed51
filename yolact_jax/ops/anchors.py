"""Anchor boxes (priors), computed once with NumPy as a constant of the program."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from yolact_jax.config import NUM_LEVELS, Anchors, Size, sides_of


def level_sizes(side: int, num_levels: int = NUM_LEVELS) -> tuple[int, ...]:
    """Returns the cells of the maps P3.. along an axis, finest first.

    Every stride-2 layer rounds up, so P3 is the input halved three times.

    Args:
      side: of the network input, pixels.
      num_levels: number of levels, starting at P3.
    """
    sizes = []
    for halving in range(2 + num_levels):
        side = (side + 1) // 2
        if halving >= 2:
            sizes.append(side)
    return tuple(sizes)


def level_shapes(size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Returns rows and columns of the maps P3.. of an input of (height, width)."""
    return tuple(zip(*map(level_sizes, size), strict=True))


def prototype_size(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the prototype masks for an input: twice those of P3."""
    rows, columns = level_shapes(size)[0]
    return 2 * rows, 2 * columns


def make_anchors(
    level_shapes: Sequence[Size],
    scales_px: Sequence[Sequence[float]],
    aspect_ratios: Sequence[float],
    input_size: Size,
    square: bool,
) -> np.ndarray:
    """Builds the anchors of all levels (YOLACT, Bolya et al. 2019).

    Rows run over level, map row, map column, scale, aspect ratio.  Centers are at
    ``(i + 0.5) / map_size``, boxes are not clipped.

    Args:
      level_shapes: rows and columns of each feature map, or the side of a square one.
      scales_px: per level, the anchor sides in pixels of the network input.
      aspect_ratios: width over height.
      input_size: height and width of the network input, pixels, or its side.
      square: use the anchor width as its height too, as the weights of all published
        YOLACT models except the Pascal one need.

    Returns:
      [A, 4] float32 ``(cx, cy, w, h)`` as fractions of the network input.

    Raises:
      ValueError: if ``scales_px`` does not have one entry per level.
    """
    if len(scales_px) != len(level_shapes):
        raise ValueError(
            f"`scales_px` has {len(scales_px)} entries; one per pyramid level "
            f"is needed, and there are {len(level_shapes)} levels."
        )
    levels = [
        _level_anchors(shape, scales, aspect_ratios, input_size, square)
        for shape, scales in zip(level_shapes, scales_px, strict=True)
    ]
    return np.concatenate(levels).astype(np.float32)


def smallest_side_px(config: Anchors) -> int:
    """Returns the longer side of the smallest anchor, pixels of the network input."""
    longer = [
        scale * math.sqrt(ratio if config.square else max(ratio, 1 / ratio))
        for scales in config.scales_px
        for scale, ratio in itertools.product(scales, config.aspect_ratios)
    ]
    return round(min(longer))


def _level_anchors(shape, scales_px, aspect_ratios, input_size, square) -> np.ndarray:
    (height, width), shapes = sides_of(input_size), []
    for scale, ratio in itertools.product(scales_px, aspect_ratios):
        across = scale * math.sqrt(ratio)
        down = across if square else scale / math.sqrt(ratio)
        shapes.append((across / width, down / height))
    rows, columns = sides_of(shape)
    cy, cx = np.meshgrid(_centers(rows), _centers(columns), indexing="ij")
    anchors = np.empty((rows, columns, len(shapes), 4))
    anchors[..., 0] = cx[..., None]
    anchors[..., 1] = cy[..., None]
    anchors[..., 2:] = shapes
    return anchors.reshape(-1, 4)


def _centers(count: int) -> np.ndarray:
    return (np.arange(count) + 0.5) / count
