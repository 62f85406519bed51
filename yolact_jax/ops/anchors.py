"""Anchor boxes (priors), computed once with NumPy as a constant of the program."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from yolact_jax.config import NUM_LEVELS


def level_sizes(input_size: int, num_levels: int = NUM_LEVELS) -> tuple[int, ...]:
    """Returns the sides in cells of the maps P3.. of a square input, finest first.

    Every stride-2 layer rounds up, so P3 is the input halved three times.

    Args:
      input_size: side of the network input, pixels.
      num_levels: number of levels, starting at P3.
    """
    sizes, side = [], input_size
    for halving in range(2 + num_levels):
        side = (side + 1) // 2
        if halving >= 2:
            sizes.append(side)
    return tuple(sizes)


def prototype_side(input_size: int) -> int:
    """Side of the prototype masks for a square input, both in pixels: twice P3's."""
    return 2 * level_sizes(input_size)[0]


def make_anchors(
    level_sizes: Sequence[int],
    scales_px: Sequence[Sequence[float]],
    aspect_ratios: Sequence[float],
    input_size: int,
    square: bool,
) -> np.ndarray:
    """Builds the anchors of all levels (YOLACT, Bolya et al. 2019).

    Rows run over level, map row, map column, scale, aspect ratio.  Centers are at
    ``(i + 0.5) / map_size``, boxes are not clipped.

    Args:
      level_sizes: side of each square feature map, in cells.
      scales_px: per level, the anchor sides in pixels of the network input.
      aspect_ratios: width over height.
      input_size: side of the network input, pixels.
      square: use the anchor width as its height too, as the weights of all published
        YOLACT models except the Pascal one need.

    Returns:
      [A, 4] float32 ``(cx, cy, w, h)`` as fractions of the image.

    Raises:
      ValueError: if ``scales_px`` does not have one entry per level.
    """
    if len(scales_px) != len(level_sizes):
        raise ValueError(
            f"`scales_px` has {len(scales_px)} entries; one per pyramid level "
            f"is needed, and there are {len(level_sizes)} levels."
        )
    levels = [
        _level_anchors(side, scales, aspect_ratios, input_size, square)
        for side, scales in zip(level_sizes, scales_px, strict=True)
    ]
    return np.concatenate(levels).astype(np.float32)


def _level_anchors(side, scales_px, aspect_ratios, input_size, square) -> np.ndarray:
    shapes = []
    for scale, ratio in itertools.product(scales_px, aspect_ratios):
        width = scale * math.sqrt(ratio) / input_size
        height = width if square else scale / math.sqrt(ratio) / input_size
        shapes.append((width, height))
    centers = (np.arange(side) + 0.5) / side
    cy, cx = np.meshgrid(centers, centers, indexing="ij")
    anchors = np.empty((side, side, len(shapes), 4))
    anchors[..., 0] = cx[..., None]
    anchors[..., 1] = cy[..., None]
    anchors[..., 2:] = shapes
    return anchors.reshape(-1, 4)
