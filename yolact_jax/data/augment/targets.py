"""Mask targets made as the original makes them, but without its full-size masks.

The original draws each mask at the size of the image, cuts and mirrors it, resizes
it to the size of the network input with OpenCV's bilinear arithmetic on bytes, which
favors the background, and from there to the size of the prototypes, where more than
half counts as inside.  A cell so depends on 2 x 2 pixels of the input, and each of
these on 2 x 2 pixels of the image.  Those are looked up here, for 64 rows at a time in
the bits of a word; the result is the same to the bit.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from yolact_jax.config import Size, sides_of
from yolact_jax.data.augment.cell_grids import (
    LEVELS,
    Grids,
    bits_above,
    bits_by_level,
    make_grids,
    taps,
)
from yolact_jax.data.augment.transitions import transitions
from yolact_jax.data.augment.view import View
from yolact_jax.data.example import Segmentations

_BITS = np.uint8(1) << np.arange(8, dtype=np.uint8)[:, None]


def original_masks(
    segmentations: Segmentations,
    selected: np.ndarray,
    view: View,
    input_size: Size,
    sizes: Sequence[Size],
) -> list[np.ndarray]:
    """Draws the masks of some annotations of an image at several sizes.

    Args:
      segmentations: of all n annotations of the image.
      selected: [m] int64, indices of the annotations wanted, each at most once.
      view: the part of the image that the masks show.
      input_size: height and width of the network input, pixels, or its side.
      sizes: heights and widths of the masks, pixels, or their sides.

    Returns:
      For each size [m, height, width] uint8, 0 or 1.
    """
    shapes = tuple(map(sides_of, sizes))
    if not len(selected):
        return [np.zeros((0, *shape), np.uint8) for shape in shapes]
    grids = make_grids(sides_of(input_size), shapes)
    height, width = segmentations.size
    used = view.used(input_size)
    columns, across = taps(grids.across, view.width, used[1])
    rows, down = taps(grids.down, view.height, used[0])
    columns += view.left
    if view.flip_x:
        columns = (2 * view.left + view.width - 1) - columns
    columns[(columns < 0) | (columns > width)] = width
    needed = np.zeros(width + 1, bool)
    needed[columns] = True
    place, row = transitions(segmentations, selected, needed[:width])
    if view.flip_y:  # An even number of inversions may also be made from below.
        row = height - row
    rows += height - view.top - view.height if view.flip_y else view.top
    spans = _spans(bits_above(grids, rows, height), place[::2], row)
    # The span that holds the bits of a column of an annotation; 0 if there is none.
    where = np.zeros((width + 1, len(selected)), np.int64)
    where.reshape(-1)[place[::-2]] = np.arange(len(place) // 2, 0, -1)
    where = where.take(columns.reshape(4, -1), axis=0).reshape(4, -1)
    item = np.flatnonzero(np.bitwise_or.reduce(where, axis=0))
    cell = item // len(selected)
    slot = item - cell * len(selected)
    span = where.take(item, axis=1)
    value = (across >> 4).reshape(4, -1).take(cell, axis=1)
    levels = bits_by_level(grids, down)
    pixels = _first_resize(grids, levels, grids.layer[cell], spans, span, value)
    inside = _second_resize(grids.rules.take(cell, axis=1), pixels)
    return _unpacked(grids, slot, cell, inside, len(selected))


def _spans(above: np.ndarray, place: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Looks up the rows that all cells read, between pairs of transitions.

    Args:
      above: [height + 2, w] uint64, from `bits_above`.
      place: [s] int64, ascending, the column of an annotation of each pair.
      row: [2 s] int64.

    Returns:
      [s + 1, w] uint64; nothing is inside the first span, and the first of a place has
      all that the others there have.
    """
    spans = np.zeros((len(place) + 1, above.shape[1]), np.uint64)
    united, step = spans[1:], 1
    np.bitwise_xor(above.take(row[::2], 0), above.take(row[1::2], 0), out=united)
    while len(again := np.flatnonzero(place[step:] == place[:-step])):
        united[again] |= united.take(again + step, axis=0)
        step *= 2
    return spans


def _first_resize(
    grids: Grids,
    levels: np.ndarray,
    layer: np.ndarray,
    spans: np.ndarray,
    span: np.ndarray,
    value: np.ndarray,
) -> np.ndarray:
    """Resizes to the pixels of the network input that some columns of cells read.

    OpenCV adds up two terms of 0 to 4, one a row; from 2 on the pixel is inside.

    Args:
      grids: the cells.
      levels: from `bits_by_level`.
      layer: [k] int64, the size that each column belongs to.
      spans: from `_spans`.
      span: [4, k] int64, which of them each column reads, by neighbor and pixel across.
      value: [4, k] int64, what a pixel there counts in its row, the same.

    Returns:
      [2, 2, k, words] uint64, by pixel across and down.
    """
    layers, words = len(grids.sizes), grids.words
    bits = spans.reshape(-1, 4 * words).take(span * layers + layer, axis=0)
    left, right = bits.reshape(2, 2, len(layer), 4 * words)
    one = levels.take(value * layers + layer, axis=1)
    one = one.reshape(2, 2, 2, len(layer), 4 * words)
    terms = one[:, 0]
    terms &= left
    one[:, 1] &= right
    terms |= one[:, 1]
    both = levels.take(LEVELS * layers + layer, axis=1)[:, None]
    terms |= both & (left & right)
    above, below = np.moveaxis(terms.reshape(2, 2, len(layer), 2, 2, words), 3, 0)
    pixels = above[1] | below[1] | (above[0] & below[0])
    return pixels.transpose(0, 2, 1, 3).copy()


def _second_resize(rules: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Resizes to cells: those inside of which pixels of more than half the weight are.

    Args:
      rules: [6, k, words] uint64, of the columns, see `Grids`.
      pixels: [2, 2, k, words] uint64, by pixel across and down.

    Returns:
      [k, words] uint64.
    """
    (heavy, below), (beside, far) = pixels
    alone, column, row, no_beside, no_below, others = rules
    with_heavy = alone | (below & (column | beside | (far & no_beside)))
    with_heavy |= beside & (row | (far & no_below))
    with_heavy |= far & column & row
    return (heavy & with_heavy) | (others & beside & below & far)


def _unpacked(
    grids: Grids, slot: np.ndarray, cell: np.ndarray, inside: np.ndarray, count: int
) -> list[np.ndarray]:
    """[count, height, width] uint8 for each size, of columns [k, words] uint64."""
    packed = inside.view(np.uint8)
    results, start, first = [], 0, 0
    for height, width in grids.sizes:
        # The columns of one size come after those of another.
        stop = np.searchsorted(cell, first + width)
        columns = np.zeros((count * width, packed.shape[1]), np.uint8)
        columns[slot[start:stop] * width + (cell[start:stop] - first)] = packed[
            start:stop
        ]
        across = np.asarray(cv2.transpose(columns), np.uint8)
        rows = (across[:, None] & _BITS) != 0
        rows = rows.reshape(-1, count, width)[:height].view(np.uint8)
        results.append(rows.swapaxes(0, 1))
        start, first = stop, first + width
    return results
