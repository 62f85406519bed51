"""Pictures much larger than the network: objects found tile by tile, and joined."""

import collections
import itertools
import math
import numbers
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolact_jax.data.pixels import shown
from yolact_jax.results.instances import Instances
from yolact_jax.results.pieces import Piece, Place, join, pieces_of
from yolact_jax.structures import PackedMasks, Window

MOST_OVERLAP = 0.9
_Find = Callable[[Iterator[tuple[np.ndarray, Path | None]]], Iterator[Instances]]


def check_tiling(tile: Any, overlap: Any, least_tile: int) -> None:
    """Checks the arguments of `in_tiles`.

    Raises:
      ValueError: if `tile` is no whole number of pixels or smaller than `least_tile`,
        the smallest anchor of the model, or `overlap` is not from 0 to 0.9.
    """
    if not isinstance(tile, numbers.Integral) or isinstance(tile, bool) or tile < 1:
        raise ValueError(f"`tile` is {tile!r}; it must be a whole number of pixels.")
    if tile < least_tile:
        raise ValueError(
            f"`tile` is {tile} pixels, smaller than the smallest anchor of the model; "
            f"it must be at least {least_tile}."
        )
    is_real = isinstance(overlap, numbers.Real)
    if not is_real or not 0 <= float(overlap) <= MOST_OVERLAP:
        raise ValueError(f"`overlap` is {overlap!r}; it must be from 0 to 0.9.")


def tile_windows(size: tuple[int, int], tile: int, overlap: float) -> list[Place]:
    """Covers a picture with tiles, row by row.

    Args:
      size: height and width of the picture, pixels.
      tile: side of a tile, pixels.
      overlap: least share of a tile that its neighbor shows too.

    Returns:
      Rows and columns of each.  All have the same size, `tile` or less where the
      picture is smaller; they are spread evenly.
    """
    starts = [_starts(side, tile, overlap) for side in size]
    return [
        (slice(y, min(y + tile, size[0])), slice(x, min(x + tile, size[1])))
        for y, x in itertools.product(*starts)
    ]


def _starts(side: int, tile: int, overlap: float) -> list[int]:
    if side <= tile:
        return [0]
    step = max(1, math.floor(tile * (1 - overlap)))
    count = math.ceil((side - tile) / step) + 1
    return [round(n * (side - tile) / (count - 1)) for n in range(count)]


def in_tiles(
    find: _Find,
    images: Iterable[tuple[np.ndarray, Path | None]],
    tile: int,
    overlap: float,
) -> Iterator[Instances]:
    """Finds the objects of pictures in tiles, and joins what tiles show of one object.

    Two tiles show the same object where their masks agree in the part of the picture
    that both show, with an IoU of at least 0.5 there; of several such pairs the ones of
    the same class and the highest IoU count first, and no two objects of one tile
    become one.  The joined object has the best score and its class, all the masks and
    all the boxes.  One picture and the cut-out masks found in it are in memory.

    Args:
      find: finds the objects of many images, in batches.
      images: [h, w, N] uint8 pictures, and the file of each.
      tile: side of a tile, pixels.
      overlap: see `tile_windows`; objects are joined only if it is above 0.

    Yields:
      The objects of each picture, best first.
    """
    waiting: collections.deque[tuple[np.ndarray, Path | None, list[Place]]]
    waiting = collections.deque()

    def tiles() -> Iterator[tuple[np.ndarray, None]]:
        for image, source in images:
            windows = tile_windows(image.shape[:2], tile, overlap)
            waiting.append((image, source, windows))
            yield from ((image[window], None) for window in windows)

    pieces: list[Piece] = []
    number = 0
    for found in find(tiles()):
        image, source, windows = waiting[0]
        pieces += pieces_of(found, number, windows[number])
        number += 1
        if number == len(windows):
            joined = join(pieces, windows)
            yield _instances(joined, found, image, source)
            waiting.popleft()
            pieces, number = [], 0


def _instances(
    pieces: Sequence[Piece], like: Instances, image: np.ndarray, source: Path | None
) -> Instances:
    height, width = image.shape[:2]
    masks = PackedMasks((height, width), tuple(map(_packed, pieces)))
    return Instances(
        np.array([p.box_px for p in pieces], np.float32).reshape(-1, 4),
        np.array([p.score for p in pieces], np.float32),
        np.array([p.label for p in pieces], np.int32),
        masks,
        class_names=like.class_names,
        category_ids=like.category_ids,
        image=shown(image),
        source=source,
    )


def _packed(piece: Piece) -> Window:
    top, left = (span.start for span in piece.window)
    mask = np.pad(piece.mask, ((0, 0), (left % 8, 0)))
    return Window(top, left - left % 8, np.packbits(mask, axis=-1))
