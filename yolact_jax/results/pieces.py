"""Objects as tiles of a picture show them, and which of them are one."""

import collections
import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from yolact_jax.results.instances import Instances

_SAME_OBJECT_IOU = 0.5
Place = tuple[slice, slice]
"""Rows and columns of a picture."""


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
    window: Place
    mask: np.ndarray


def pieces_of(found: Instances, number: int, window: Place) -> Iterator[Piece]:
    """Cuts out what is found in a tile, and puts it in its place in the picture."""
    top, left = window[0].start, window[1].start
    shift = np.array([left, top, left, top], np.float32)
    for index, (y, x, mask) in enumerate(found.packed.parts()):
        rows, columns = (_extent(np.asarray(mask.any(axis))) for axis in (1, 0))
        yield Piece(
            found.boxes_px[index] + shift,
            float(found.scores[index]),
            int(found.labels[index]),
            frozenset([number]),
            (_moved(rows, top + y), _moved(columns, left + x)),
            mask[rows, columns].copy(),
        )


def _extent(used: np.ndarray) -> slice:
    """From the first to the last True; empty if there is none."""
    (places,) = np.nonzero(used)
    return slice(places[0], places[-1] + 1) if len(places) else slice(0, 0)


def _moved(span: slice, by: int) -> slice:
    return slice(int(span.start) + by, int(span.stop) + by)


def join(pieces: Sequence[Piece], windows: Sequence[Place]) -> list[Piece]:
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

    window: Place
    mask: np.ndarray
    area: int


def _within(pieces, indices, shared: Place) -> list[tuple[int, _Part]]:
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


def _part(piece: Piece | _Part, window: Place) -> np.ndarray:
    """The mask in a window of the picture that lies in its own."""
    (rows, columns), (top, left) = window, (s.start for s in piece.window)
    return piece.mask[_moved(rows, -top), _moved(columns, -left)]


def _common(one: Place, other: Place) -> Place | None:
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
