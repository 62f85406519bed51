"""Pictures much larger than the network: objects found tile by tile, and joined."""

import collections
import dataclasses
import itertools
import math
import numbers
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolact_jax.results.instances import Instances
from yolact_jax.structures import CroppedMasks

MOST_OVERLAP = 0.9
_SAME_OBJECT_IOU = 0.5
_Window = tuple[slice, slice]
_Find = Callable[[Iterator[tuple[np.ndarray, Path | None]]], Iterator[Instances]]


@dataclasses.dataclass(frozen=True)
class Piece:
    """An object as one tile shows it, or as several do.

    Attributes:
      box_px: [4] float32, in the picture.
      score: in [0, 1].
      label: of its class.
      tiles: numbers of the tiles.
      window: rows and columns of the picture that `mask` covers.
      mask: [h, w] bool.
    """

    box_px: np.ndarray
    score: float
    label: int
    tiles: frozenset[int]
    window: _Window
    mask: np.ndarray


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
    if not isinstance(overlap, numbers.Real) or not 0 <= overlap <= MOST_OVERLAP:
        raise ValueError(f"`overlap` is {overlap!r}; it must be from 0 to 0.9.")


def tile_windows(size: tuple[int, int], tile: int, overlap: float) -> list[_Window]:
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
      images: [h, w, 3] uint8 RGB pictures, and the file of each.
      tile: side of a tile, pixels.
      overlap: see `tile_windows`; objects are joined only if it is above 0.

    Yields:
      The objects of each picture, best first.
    """
    waiting: collections.deque[tuple[np.ndarray, Path | None, list[_Window]]]
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


def pieces_of(found: Instances, number: int, window: _Window) -> Iterator[Piece]:
    """Cuts out what is found in a tile, and puts it in its place in the picture."""
    top, left = window[0].start, window[1].start
    shift = np.array([left, top, left, top], np.float32)
    for index, mask in enumerate(found.packed):
        rows, columns = (_extent(mask.any(axis)) for axis in (1, 0))
        yield Piece(
            found.boxes_px[index] + shift,
            float(found.scores[index]),
            int(found.labels[index]),
            frozenset([number]),
            (_moved(rows, top), _moved(columns, left)),
            mask[rows, columns].copy(),
        )


def _extent(used: np.ndarray) -> slice:
    """From the first to the last True; empty if there is none."""
    (places,) = np.nonzero(used)
    return slice(places[0], places[-1] + 1) if len(places) else slice(0, 0)


def _moved(span: slice, by: int) -> slice:
    return slice(int(span.start) + by, int(span.stop) + by)


def join(pieces: Sequence[Piece], windows: Sequence[_Window]) -> list[Piece]:
    """Joins the pieces of the same object, see `in_tiles`; best first."""
    groups = {index: [index] for index in range(len(pieces))}
    group_of = list(range(len(pieces)))
    tiles = [set(piece.tiles) for piece in pieces]
    for _, _, first, second in sorted(_pairs(pieces, windows), reverse=True):
        one, other = group_of[first], group_of[second]
        if tiles[one] & tiles[other]:
            continue
        for member in groups[other]:
            group_of[member] = one
        groups[one] += groups.pop(other)
        tiles[one] |= tiles[other]
    joined = [_joined([pieces[m] for m in members]) for members in groups.values()]
    return sorted(joined, key=lambda piece: -piece.score)


def _pairs(pieces, windows) -> Iterator[tuple[bool, float, int, int]]:
    """Yields what may be one object: whether of one class, IoU, and which pieces."""
    by_tile: dict[int, list[int]] = collections.defaultdict(list)
    for index, piece in enumerate(pieces):
        by_tile[next(iter(piece.tiles))].append(index)
    for one, other in itertools.combinations(sorted(by_tile), 2):
        shared = _common(windows[one], windows[other])
        if shared is None:
            continue
        firsts, seconds = (_within(pieces, by_tile[n], shared) for n in (one, other))
        for (i, first), (j, second) in itertools.product(firsts, seconds):
            iou = _iou(first, second)
            if iou >= _SAME_OBJECT_IOU:
                yield pieces[i].label == pieces[j].label, iou, i, j


@dataclasses.dataclass(frozen=True)
class _Part:
    """What a part of the picture shows of a piece."""

    window: _Window
    mask: np.ndarray
    area: int


def _within(pieces, indices, shared: _Window) -> list[tuple[int, _Part]]:
    """The parts of pieces in a window, and which pieces; without the empty ones."""
    parts = []
    for index in indices:
        window = _common(pieces[index].window, shared)
        if window is not None:
            mask = _part(pieces[index], window)
            parts.append((index, _Part(window, mask, int(mask.sum()))))
    return [(index, part) for index, part in parts if part.area]


def _iou(one: _Part, other: _Part) -> float:
    """IoU of two masks, or 0 where their areas tell that it is below the least."""
    small, large = sorted((one.area, other.area))
    both = _common(one.window, other.window)
    if small < _SAME_OBJECT_IOU * large or both is None:
        return 0.0
    overlap = int((_part(one, both) & _part(other, both)).sum())
    return overlap / (small + large - overlap)


def _part(piece: Piece | _Part, window: _Window) -> np.ndarray:
    """The mask in a window of the picture that lies in its own."""
    (rows, columns), (top, left) = window, (s.start for s in piece.window)
    return piece.mask[_moved(rows, -top), _moved(columns, -left)]


def _common(one: _Window, other: _Window) -> _Window | None:
    """The window that two have in common."""
    spans = [
        slice(max(a.start, b.start), min(a.stop, b.stop))
        for a, b in zip(one, other, strict=True)
    ]
    if any(span.start >= span.stop for span in spans):
        return None
    return spans[0], spans[1]


def _joined(pieces: Sequence[Piece]) -> Piece:
    """Makes one of the pieces of an object."""
    if len(pieces) == 1:
        return pieces[0]
    best = max(pieces, key=lambda piece: piece.score)
    boxes = np.array([piece.box_px for piece in pieces])
    window = tuple(
        slice(min(s.start for s in spans), max(s.stop for s in spans))
        for spans in zip(*(piece.window for piece in pieces), strict=True)
    )
    mask = np.zeros([span.stop - span.start for span in window], bool)
    for piece in pieces:
        rows, columns = (
            _moved(s, -w.start) for s, w in zip(piece.window, window, strict=True)
        )
        mask[rows, columns] |= piece.mask
    box = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    tiles = frozenset().union(*(piece.tiles for piece in pieces))
    rows, columns = window
    return Piece(box, best.score, best.label, tiles, (rows, columns), mask)


def _instances(
    pieces: Sequence[Piece], like: Instances, image: np.ndarray, source: Path | None
) -> Instances:
    corners = [(p.window[0].start, p.window[1].start) for p in pieces]
    masks = CroppedMasks.pack([p.mask for p in pieces], corners, image.shape[:2])
    return Instances(
        np.array([p.box_px for p in pieces], np.float32).reshape(-1, 4),
        np.array([p.score for p in pieces], np.float32),
        np.array([p.label for p in pieces], np.int32),
        masks,
        class_names=like.class_names,
        category_ids=like.category_ids,
        image=image,
        source=source,
    )
