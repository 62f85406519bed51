"""Soft masks: which share of each cell an object covers."""

import numpy as np

from yolact_jax.config import Size, sides_of
from yolact_jax.data.augment import rasterize
from yolact_jax.data.augment.view import View
from yolact_jax.data.example import Segmentations

_LINES = 4  # looked at in a cell; for run lengths, in each direction


def cell_coverage(
    segmentations: Segmentations, selected: np.ndarray, view: View, size: Size
) -> np.ndarray:
    """Measures which share of each cell some annotations of an image cover.

    Of polygons, the mean over four horizontal lines through the cell of the share of
    the line that is inside, by the even-odd rule, where several are united; of run
    lengths, the mean of 4 x 4 pixels.

    Args:
      segmentations: of all n annotations of the image.
      selected: [m] int64, indices of the annotations wanted, each at most once.
      view: the part of the image that the masks show.
      size: height and width of the masks in cells, or their side.

    Returns:
      [m, height, width] float16 in [0, 1].
    """
    shares = np.zeros((len(selected), *sides_of(size)), np.float16)
    slots = {owner: slot for slot, owner in enumerate(selected.tolist())}
    _add_polygons(shares, segmentations, slots, view)
    _add_runs(shares, segmentations, slots, view)
    return shares


def _add_polygons(
    shares: np.ndarray, segmentations: Segmentations, slots: dict[int, int], view: View
) -> None:
    height, width = shares.shape[1:]
    points, ring_sizes, ring_slots = rasterize.chosen_rings(segmentations, slots, view)
    slot, row, covered = _covered_rows(
        points * (width, height), ring_sizes, ring_slots, (height, width), view
    )
    shares[slot, row] = np.minimum(covered, 1)  # Sums may be above by rounding.


def _covered_rows(
    points: np.ndarray,
    ring_sizes: np.ndarray,
    ring_slots: np.ndarray,
    size: tuple[int, int],
    view: View,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of cells inside of rings, in the rows that they reach.

    Args:
      points: [p, 2] float64, (x, y) of all rings one after the other, in cells.
      ring_sizes: [r] int64, points of each ring.
      ring_slots: [r] int64, the mask that each ring is added to.
      size: height and width of the masks.
      view: fills its share of them; there is nothing beyond.

    Returns:
      Slot and row, [k] int64, and the shares, [k, width] float64.
    """
    height, width = size
    end_x, end_y = np.array(view.share) * (width, height)
    ring, line, x = rasterize.crossings(
        points * (1, _LINES), ring_sizes, _LINES * height
    )
    if end_y < height:
        shown = line + 0.5 < _LINES * end_y
        ring, line, x = ring[shown], line[shown], x[shown]
    order = np.lexsort((x, line, ring))
    ring, line, x = ring[order], line[order], np.clip(x[order], 0, end_x)
    # A closed ring crosses a line an even number of times: in and out in turn.
    sign = 1.0 - 2.0 * (np.arange(len(x)) % 2)
    place = ring_slots[ring] * _LINES * height + line
    if len(np.unique(ring_slots)) < len(ring_slots):
        place, x, sign = _united(place, x, sign)
    column = np.floor(x).astype(np.int64)
    beyond = sign * (x - column)
    # Running sums make a crossing count in part in its cell, and fully right of it.
    rows, place = np.unique(place // _LINES, return_inverse=True)
    length = width + 2
    place = place * length + column
    places = np.concatenate([place, place + 1])
    steps = np.concatenate([sign - beyond, beyond])
    changes = np.bincount(places, steps, minlength=len(rows) * length)
    sums = np.cumsum(changes.reshape(-1, length), axis=1)
    return rows // height, rows % height, sums[:, :width] / _LINES


def _united(
    line: np.ndarray, x: np.ndarray, sign: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Leaves out the crossings of a line that lie inside of another ring of a mask.

    Arguments and results are [c]: the line, of all masks; where it is crossed, in order
    within each ring; 1 into the ring, -1 out of it.
    """
    order = np.lexsort((x, line))
    line, x, sign = line[order], x[order], sign[order]
    depth = np.cumsum(sign)  # 0 again at the end of each line.
    outer = (depth == 0) | (depth - sign == 0)
    return line[outer], x[outer], sign[outer]


def _add_runs(
    shares: np.ndarray, segmentations: Segmentations, slots: dict[int, int], view: View
) -> None:
    found = [owner for owner in segmentations.rle_owner.tolist() if owner in slots]
    if not found:
        return
    height, width = shares.shape[1:]
    fine = np.zeros((len(found), _LINES * height, _LINES * width), np.uint8)
    places = {owner: place for place, owner in enumerate(found)}
    rasterize.draw_rles(fine, segmentations, places, view)
    view.clear_outside(fine)
    parts = fine.reshape(len(found), height, _LINES, width, _LINES)
    shares[[slots[owner] for owner in found]] = parts.mean(axis=(2, 4))
