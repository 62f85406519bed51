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
    the line that is inside, by the even-odd rule; of run lengths, the mean of 4 x 4
    pixels.

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
    view.clear_outside(shares)
    return shares


def _add_polygons(
    shares: np.ndarray, segmentations: Segmentations, slots: dict[int, int], view: View
) -> None:
    height, width = shares.shape[1:]
    points, ring_sizes, ring_slots = rasterize.chosen_rings(segmentations, slots, view)
    slot, row, covered = _covered_rows(
        points * (width, height), ring_sizes, ring_slots, height, width
    )
    # Polygons of one annotation may overlap.
    shares[slot, row] = np.minimum(covered, 1)


def _covered_rows(
    points: np.ndarray,
    ring_sizes: np.ndarray,
    ring_slots: np.ndarray,
    height: int,
    width: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of cells inside of rings, in the rows that they reach.

    Arguments are those of `rasterize.fill_rings`, in cells, and `ring_slots` [r] int64,
    the mask that each ring is added to.  Returns slot and row, [k] int64, and the sums
    of shares, [k, width] float64.
    """
    ring, line, x = rasterize.crossings(
        points * (1, _LINES), ring_sizes, _LINES * height
    )
    order = np.lexsort((x, line, ring))
    ring, line, x = ring[order], line[order], np.clip(x[order], 0, width)
    # A closed ring crosses a line an even number of times: in and out in turn.
    sign = 1.0 - 2.0 * (np.arange(len(x)) % 2)
    column = np.floor(x).astype(np.int64)
    beyond = sign * (x - column)
    # Running sums make a crossing count in part in its cell, and fully right of it.
    reached = ring_slots[ring] * height + line // _LINES
    rows, place = np.unique(reached, return_inverse=True)
    length = width + 2
    place = place * length + column
    places = np.concatenate([place, place + 1])
    steps = np.concatenate([sign - beyond, beyond])
    changes = np.bincount(places, steps, minlength=len(rows) * length)
    sums = np.cumsum(changes.reshape(-1, length), axis=1)
    return rows // height, rows % height, sums[:, :width] / _LINES


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
    parts = fine.reshape(len(found), height, _LINES, width, _LINES)
    shares[[slots[owner] for owner in found]] = parts.mean(axis=(2, 4))
