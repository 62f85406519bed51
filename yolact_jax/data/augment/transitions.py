"""Where the columns of an annotation's mask turn from background to object and back.

Polygons are drawn as pycocotools draws them, to the bit, but only in the columns that
are asked for, and without a mask: a transition (column, row) inverts all pixels of the
column from that row on.  Every part has an even number of them in every column.
"""

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
      [t] int64, slot in `selected` times (width + 1) plus column, and [t] int64, row
      in 0..height.  Both ascend by place, in it by part, a ring or a run-length mask,
      and then by row.
    """
    height, width = segmentations.size
    found = [
        _ring_transitions(segmentations, selected, needed),
        _run_transitions(segmentations, selected, needed),
    ]
    slot, part, column, row = np.concatenate(
        [f for f in found if f is not None] or [np.zeros((4, 0), np.int64)], axis=1
    )
    parts = len(segmentations.ring_sizes) + len(segmentations.rle_counts)
    key = ((slot * (width + 1) + column) * parts + part) * (height + 1) + row
    key.sort()
    return key // (parts * (height + 1) or 1), key % (height + 1)


def _slots(owner: np.ndarray, selected: np.ndarray) -> np.ndarray:
    """[r] int64, the place in `selected` of the owner of each part, or -1."""
    slots = np.full(max(owner.max(initial=-1), selected.max(initial=-1)) + 1, -1)
    slots[selected] = np.arange(len(selected))
    return slots[owner]


def _ring_transitions(
    segmentations: Segmentations, selected: np.ndarray, needed: np.ndarray
) -> tuple[np.ndarray, ...] | None:
    """[t] int64 slots, parts, columns and rows of rings, if there are any."""
    slot = _slots(segmentations.ring_owner, selected)
    if not (slot >= 0).any() or not needed.any():
        return None
    sizes = segmentations.ring_sizes
    ring = np.repeat(np.arange(len(sizes)), sizes)
    following = np.arange(1, len(ring) + 1)
    following[np.cumsum(sizes) - 1] -= sizes
    x, y = np.trunc(_FINER * segmentations.points_px.T + 0.5)
    if (slot < 0).any():
        wanted = slot[ring] >= 0
        following = following[wanted]
    else:
        wanted = slice(None)
    edge, column = _crossed(x[wanted], x[following], needed)
    row = _crossing_y(x[wanted], y[wanted], x[following], y[following], edge, column)
    row = (row + _MIDDLE) // _FINER
    row = np.minimum(np.maximum(row, 0), segmentations.size[0]).astype(np.int64)
    part = ring[wanted][edge]
    return slot[part], part, column, row


def _crossed(
    x1: np.ndarray, x2: np.ndarray, needed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The needed columns whose middle each edge crosses.

    Args:
      x1: [e] float64, where the edges start, on the finer grid.
      x2: [e] float64, where they end.
      needed: [width] bool.

    Returns:
      [c] int64 edges and [c] int64 columns.
    """
    columns = np.flatnonzero(needed)
    # How many of the columns have their middle left of x, and so at most x - 1.
    left = np.concatenate([[0], np.cumsum(needed)])

    def passed(x: np.ndarray) -> np.ndarray:
        return left[np.clip((x + _MIDDLE) // _FINER, 0, len(needed)).astype(np.int64)]

    first, last = passed(x1), passed(x2)
    count = np.abs(last - first)
    edge = np.repeat(np.arange(len(x1)), count)
    start = np.minimum(first, last) - (np.cumsum(count) - count)
    return edge, columns[np.arange(len(edge)) + start[edge]]


def _crossing_y(x1, y1, x2, y2, edge: np.ndarray, column: np.ndarray) -> np.ndarray:
    """The upper of the two points of the finer grid between which an edge crosses.

    pycocotools walks an edge in steps of its longer extent, rightwards or downwards,
    and rounds the other coordinate at each step.  The numbers are rounded as there.

    Args:
      x1: [e] float64, starts of the edges on the finer grid; so are y1, x2, y2.
      y1: see `x1`.
      x2: see `x1`.
      y2: see `x1`.
      edge: [c] int64, the edges that cross a column.
      column: [c] int64, the columns crossed.

    Returns:
      [c] float64.
    """
    is_flat = np.abs(x2 - x1) >= np.abs(y2 - y1)
    swap = np.where(is_flat, x1 > x2, y1 > y2)
    x, y = np.where(swap, x2, x1), np.where(swap, y2, y1)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(is_flat, (y2 - y1) / (x2 - x1), (x2 - x1) / (y2 - y1))
    x, y, slope, is_flat = x[edge], y[edge], slope[edge], is_flat[edge]
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
) -> tuple[np.ndarray, ...] | None:
    """[t] int64 slots, parts, columns and rows of run-length masks, if any."""
    slot = _slots(segmentations.rle_owner, selected)
    wanted = np.flatnonzero(slot >= 0)
    if not len(wanted) or not needed.any():
        return None
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
    return slot[part], part + len(segmentations.ring_sizes), column, row
