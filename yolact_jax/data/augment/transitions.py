"""Where the columns of an annotation's mask turn from background to object and back.

Polygons are drawn as pycocotools draws them, to the bit, but only in the columns that
are asked for, and without a mask: a transition (column, row) inverts all pixels of the
column from that row on.  Every part has an even number of them in every column.
"""

from collections.abc import Iterator

import numpy as np

from yolact_jax.data import rle
from yolact_jax.data.example import Segmentations

# pycocotools draws outlines on a grid this many times finer.
_FINER = 5
_MIDDLE = _FINER // 2
_ROUNDING = 1e-9


def transitions(
    segmentations: Segmentations, selected: np.ndarray, needed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the transitions of some annotations.

    Args:
      segmentations: of all n annotations of the image.
      selected: [m] int64, indices of the annotations wanted, each at most once.
      needed: [width] bool, the columns wanted.

    Returns:
      [t] int64, column times m plus slot in `selected`, and [t] int64, row in
      0..height.  Both ascend by place, in it by part, a ring or a run-length mask,
      and then by row.
    """
    height, _ = segmentations.size
    parts = len(segmentations.ring_sizes) + len(segmentations.rle_counts)
    found = [
        ((column * len(selected) + slot) * parts + part) * (height + 1) + row
        for slot, part, column, row in (
            *_ring_transitions(segmentations, selected, needed),
            *_run_transitions(segmentations, selected, needed),
        )
    ]
    key = np.concatenate([*found, np.zeros(0, np.int64)])
    key.sort()
    place = key // (height + 1)
    return place // max(parts, 1), key - place * (height + 1)


def _slots(owner: np.ndarray, selected: np.ndarray) -> np.ndarray:
    """[r] int64, the place in `selected` of the owner of each part, or -1."""
    slots = {index: slot for slot, index in enumerate(selected.tolist())}
    return np.array([slots.get(index, -1) for index in owner.tolist()], np.int64)


def _ring_transitions(
    segmentations: Segmentations, selected: np.ndarray, needed: np.ndarray
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields [t] int64 slots, parts, columns and rows of rings, if there are any."""
    sizes = segmentations.ring_sizes
    if not len(sizes):
        return
    slot = _slots(segmentations.ring_owner, selected)
    ring = np.arange(len(sizes)).repeat(sizes)
    following = np.arange(1, len(ring) + 1)
    following[sizes.cumsum() - 1] -= sizes
    start = np.trunc(_FINER * segmentations.points_px.T + 0.5)
    stop = start.take(following, axis=1)
    edge, column = _crossed(start[0], following, slot[ring] >= 0, needed)
    row = _crossing_y(start, stop, edge, column)
    row = np.floor((row + _MIDDLE) / _FINER)
    row = np.minimum(np.maximum(row, 0), segmentations.size[0]).astype(np.int64)
    part = ring[edge]
    yield slot[part], part, column, row


def _crossed(
    x: np.ndarray, following: np.ndarray, wanted: np.ndarray, needed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The needed columns whose middle each edge crosses.

    Args:
      x: [e] float64, where the edges start, on the finer grid.
      following: [e] int64, the edge that each leads to.
      wanted: [e] bool, the edges that matter.
      needed: [width] bool.

    Returns:
      [c] int64 edges and [c] int64 columns.
    """
    columns = np.flatnonzero(needed)
    # How many of the columns have their middle left of x, and so at most x - 1.
    left = np.zeros(len(needed) + 1, np.int64)
    np.cumsum(needed, out=left[1:])
    passed = np.floor((x + _MIDDLE) / _FINER)
    passed = np.minimum(np.maximum(passed, 0), len(needed))
    first = left[passed.astype(np.int64)]
    last = first[following]
    count = np.abs(last - first) * wanted
    edge = np.arange(len(x)).repeat(count)
    start = np.minimum(first, last) - (count.cumsum() - count)
    return edge, columns[np.arange(len(edge)) + start[edge]]


def _crossing_y(
    start: np.ndarray, stop: np.ndarray, edge: np.ndarray, column: np.ndarray
) -> np.ndarray:
    """The upper of the two points of the finer grid between which an edge crosses.

    pycocotools walks an edge in steps of its longer extent, rightwards or downwards,
    and rounds the other coordinate at each step.  The numbers are rounded as there.

    Args:
      start: [2, e] float64, x and y of the edges' starts on the finer grid.
      stop: [2, e] float64, of their ends.
      edge: [c] int64, the edges that cross a column.
      column: [c] int64, the columns crossed.

    Returns:
      [c] float64.
    """
    way = stop - start
    extent = np.abs(way)
    is_flat = extent[0] >= extent[1]
    along, aside = np.where(is_flat, way, way[::-1])
    # An edge without any extent crosses nothing.
    slope = np.divide(aside, along, out=np.zeros_like(along), where=along != 0)
    x, y = np.where(along < 0, stop, start).take(edge, axis=1)
    slope, is_flat = slope[edge], is_flat[edge]
    middle = column * float(_FINER) + _MIDDLE
    # The upper point of a flat edge is the one left of the crossing if it falls.
    result = np.floor(y + slope * (middle - x + (slope < 0)) + 0.5)
    steep = np.flatnonzero(~is_flat)
    x, middle, slope = x[steep], middle[steep], slope[steep]
    # The first step beyond the middle, or the one before it, as rounding has it.
    step = np.ceil((middle + 0.5 - x) / slope - _ROUNDING)
    is_beyond = (np.floor(x + slope * step + 0.5) > middle) == (slope > 0)
    result[steep] = y[steep] + step - is_beyond
    return result


def _run_transitions(
    segmentations: Segmentations, selected: np.ndarray, needed: np.ndarray
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields [t] int64 slots, parts, columns and rows of run-length masks, if any."""
    if not len(segmentations.rle_owner):
        return
    slot = _slots(segmentations.rle_owner, selected)
    wanted = np.flatnonzero(slot >= 0)
    if not len(wanted) or not needed.any():
        return
    height, width = segmentations.size
    counts, lengths = rle.counts_from_strings(
        [segmentations.rle_counts[i] for i in wanted]
    )
    used = np.arange(counts.shape[1]) < lengths[:, None]
    part = np.repeat(np.arange(len(wanted)), lengths)
    # Runs go down the columns; here, one mask follows another.
    position = np.cumsum(counts, axis=1)[used]
    is_inside = position < height * width
    part = part[is_inside]
    position = position[is_inside] + part * height * width
    before = np.searchsorted(part, np.arange(len(wanted)))
    found = [np.stack(np.divmod(position, height))]
    # A run that goes on in the next column ends here, and starts again there.
    columns = np.arange(width) + width * np.arange(len(wanted))[:, None]
    for row, side in ((0, columns), (height, columns + 1)):
        passed = np.searchsorted(position, side * height) - before[:, None]
        odd = columns[passed % 2 == 1]
        found.append(np.stack([odd, np.full(len(odd), row)]))
    column, row = np.concatenate(found, axis=1)
    part, column = np.divmod(column, width)
    kept = needed[column]
    part, column, row = wanted[part[kept]], column[kept], row[kept]
    yield slot[part], part + len(segmentations.ring_sizes), column, row
