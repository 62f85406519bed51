"""Mask targets made as the original makes them, but without its full-size masks.

The original draws each mask at the size of the image, cuts and mirrors it, resizes
it to the size of the network input with OpenCV's bilinear arithmetic on bytes, which
favors the background, and from there to the size of the prototypes, where more than
half counts as inside.  A cell so depends on 2 x 2 pixels of the input, and each of
these on 2 x 2 pixels of the image.  Those are looked up here, for 64 rows at a time in
the bits of a word; the result is the same to the bit.
"""

import dataclasses
import functools
from collections.abc import Sequence

import cv2
import numpy as np

from yolact_jax.data.augment.transitions import transitions
from yolact_jax.data.augment.view import View
from yolact_jax.data.example import Segmentations

_WORD_BITS = 64
_ONE = 2048  # What OpenCV's weights of two neighbors add up to.
_LEVELS = _ONE // 16  # Of a row's value, after its first shift.
_STEP = 1 << 16  # Of a column's value, the second.
# [2049, 2]: values of a row from which on its term is at least 1 and 2, by its weight.
_LEAST_LEVELS = np.minimum(
    -(-_STEP * np.array([1, 2]) // np.maximum(np.arange(_ONE + 1), 1)[:, None]),
    _LEVELS + 1,
)


def original_masks(
    segmentations: Segmentations,
    selected: np.ndarray,
    view: View,
    input_size: int,
    sizes: Sequence[int],
) -> list[np.ndarray]:
    """Draws the masks of some annotations of an image at several sizes.

    Args:
      segmentations: of all n annotations of the image.
      selected: [m] int64, indices of the annotations wanted, each at most once.
      view: the part of the image that the masks show.
      input_size: height and width of the network input, pixels.
      sizes: heights and widths of the masks, pixels.

    Returns:
      For each size [m, size, size] uint8, 0 or 1.
    """
    grids = _grids(input_size, tuple(sizes))
    height, width = segmentations.size
    taps, weights = _taps(grids, view, input_size)
    columns = taps[0] + view.left
    if view.flip_x:
        columns = (2 * view.left + view.width - 1) - columns
    columns = np.where((columns >= 0) & (columns < width), columns, width)
    needed = np.zeros(width + 1, bool)
    needed[columns] = True
    place, row = transitions(segmentations, selected, needed[:width])
    if view.flip_y:  # An even number of inversions may also be made from below.
        row = height - row
    top = height - view.top - view.height if view.flip_y else view.top
    spans = _spans(grids, taps[1] + top, row, height)
    # The span that holds the bits of a column of an annotation; 0 if there is none.
    where = np.zeros((len(selected), width + 1), np.int64)
    where.reshape(-1)[place[::-2]] = np.arange(len(place) // 2, 0, -1)
    _unite(spans, place[::2])
    where = where.take(columns, axis=1)
    slot, cell = np.nonzero(where.any(axis=(2, 3)))
    part = grids.layer[cell] * grids.words + np.arange(grids.words)[:, None]
    at = where[slot, cell].transpose(1, 2, 0)[:, :, None]
    bits = spans.reshape(4, -1).take(part * spans.shape[-1] + at, axis=1)
    weight = weights[0].take(cell, axis=0).transpose(1, 2, 0)
    pixels = _first_resize(_levels(grids, weights[1]), part, weight, bits)
    inside = _second_resize(grids.rules.take(cell, axis=2), pixels)
    return _unpacked(grids, slot, cell, inside, len(selected))


@dataclasses.dataclass(frozen=True)
class _Grids:
    """Cells along one axis of all sizes, one after the other.

    Attributes:
      sizes: of the masks.
      words: of 64 bits that hold a column of the largest.
      layer: [c] int64, the size that each cell belongs to.
      pixels: [c, 2] int64, the two pixels of the network input that it reads, the one
        with more weight first.
      first: [words, max size + 1] uint64, the first so many bits set.
      line: [c, 4] int64, tap and layer of each of the cells' rows.
      level_at: [c, 4, 2] int64, where the cells' taps are in what `_levels` returns.
      bit: [c, 4, 2] uint64, the bit of the cell in its word.
      rules: [6, words, c] uint64, see `_second_resize`.
    """

    sizes: tuple[int, ...]
    words: int
    layer: np.ndarray
    pixels: np.ndarray
    first: np.ndarray
    line: np.ndarray
    level_at: np.ndarray
    bit: np.ndarray
    rules: np.ndarray


@functools.lru_cache(maxsize=4)
def _grids(input_size: int, sizes: tuple[int, ...]) -> _Grids:
    """Computes what depends on the sizes only."""
    words = max(sizes) // _WORD_BITS + 1
    parts = len(sizes) * words
    layer = np.repeat(np.arange(len(sizes)), sizes)
    word, bit = np.divmod(np.concatenate([np.arange(s) for s in sizes]), _WORD_BITS)
    taps = [_halving(input_size, size) for size in sizes]
    level_at = np.arange(8).reshape(2, 4).T * parts
    level_at = level_at + (layer * words + word)[:, None, None]
    bit = np.uint64(1) << bit.astype(np.uint64)
    return _Grids(
        sizes=sizes,
        words=words,
        layer=layer,
        pixels=np.concatenate([pixels for pixels, _ in taps]),
        first=_packed(np.tri(max(sizes) + 1, max(sizes), -1, bool), words).T.copy(),
        line=np.arange(4) * len(sizes) + layer[:, None],
        level_at=level_at * (_LEVELS + 2),
        bit=np.broadcast_to(bit[:, None, None], level_at.shape).copy(),
        rules=np.concatenate([_rules(weight, words) for _, weight in taps], axis=2),
    )


def _halving(input_size: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The two pixels that each cell reads along an axis, the heavier first.

    Returns:
      [size, 2] int64 pixels and [size] float32, the weight of the first.
    """
    # In float32, as PyTorch does it.
    step = np.float32(input_size / size)
    source = step * (np.arange(size, dtype=np.float32) + np.float32(0.5))
    source = np.maximum(source - np.float32(0.5), 0)
    low = np.minimum(np.floor(source), input_size - 1)
    share = source - low
    pixels = np.stack([low, np.minimum(low + 1, input_size - 1)], axis=1)
    pixels = np.where((share > 0.5)[:, None], pixels[:, ::-1], pixels)
    return pixels.astype(np.int64), np.maximum(share, 1 - share)


def _rules(weight: np.ndarray, words: int) -> np.ndarray:
    """[6, words, size] uint64 of weights [size], see `_second_resize`."""
    across, down = np.meshgrid(weight, weight, indexing="ij")
    half = np.float32(0.5)
    rules = np.stack(
        [
            across * down > half,
            across > half,
            down > half,
            (1 - across) * down < half,
            across * (1 - down) < half,
            1 - across * down > half,
        ]
    )
    return _packed(rules, words).transpose(0, 2, 1).copy()


def _packed(bits: np.ndarray, words: int) -> np.ndarray:
    """[..., n] bool to [..., words] uint64, the first in the lowest bit."""
    missing = words * _WORD_BITS - bits.shape[-1]
    bits = np.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, missing)])
    return np.packbits(bits, axis=-1, bitorder="little").view("<u8")


def _taps(grids: _Grids, view: View, input_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of a view that OpenCV reads, and their integer weights.

    Returns:
      [2, c, 2, 2] int64, x and y, cell, pixel of the network input, neighbor; and
      their weights in 0..2048, the same shape.
    """
    extent = np.array([view.width, view.height]).reshape(2, 1, 1, 1)
    source = (grids.pixels[:, :, None] + 0.5) * (extent / input_size) - 0.5
    source = source.astype(np.float32)
    low = np.floor(source)
    weight = np.rint(_ONE * (source - low)).astype(np.int64)
    index = low.astype(np.int64) + np.arange(2)
    index = np.minimum(np.maximum(index, 0), extent - 1)
    return index, np.concatenate([_ONE - weight, weight], axis=3)


def _spans(grids: _Grids, rows: np.ndarray, row: np.ndarray, height: int) -> np.ndarray:
    """Looks up the rows that all cells read, between pairs of transitions.

    Args:
      grids: the cells.
      rows: [c, 2, 2] int64, the rows of the image that the cells read.
      row: [2 s] int64.
      height: of the image.

    Returns:
      [4, layers * words, s + 1] uint64, by pixel and neighbor down, a bit for each
      cell; nothing is inside the first span.
    """
    layers = len(grids.sizes)
    # How many of the rows that are read lie above each row.
    above = np.zeros((4, layers, height + 2), np.int64)
    at = np.minimum(np.maximum(rows.reshape(-1, 4), -1), height) + 1
    np.add.at(above.reshape(-1), (grids.line * (height + 2) + at).ravel(), 1)
    above = np.cumsum(above, axis=2)[:, :, None]
    first = grids.first[np.arange(grids.words)[:, None], above]
    first = first.reshape(4 * layers * grids.words, -1)
    spans = np.zeros((len(first), len(row) // 2 + 1), np.uint64)
    np.bitwise_xor(first.take(row[::2], 1), first.take(row[1::2], 1), spans[:, 1:])
    return spans.reshape(4, -1, spans.shape[1])


def _unite(spans: np.ndarray, place: np.ndarray) -> None:
    """Unites spans of the same place in the first of them.

    Args:
      spans: [4, l, s + 1] uint64, written to.
      place: [s] int64, ascending, of all spans but the first.
    """
    is_more = np.zeros(len(place) + 2, bool)
    is_more[2:-1] = place[1:] == place[:-1]
    among = np.flatnonzero(is_more[:-1] | is_more[1:])
    if len(among):
        start = np.flatnonzero(~is_more[among])
        united = np.bitwise_or.reduceat(spans.take(among, axis=2), start, axis=2)
        spans[:, :, among[start]] = united


def _levels(grids: _Grids, weight: np.ndarray) -> np.ndarray:
    """Which rows of cells get a term of at least 1 and 2, from the value of a row.

    Args:
      grids: the cells.
      weight: [c, 2, 2] int64, of the rows of the image.

    Returns:
      [2, 2, 2, layers * words, 130] uint64: by term, pixel and neighbor, and value.
    """
    parts = len(grids.sizes) * grids.words
    table = np.zeros((8 * parts, _LEVELS + 2), np.uint64)
    at = grids.level_at + _LEAST_LEVELS.take(weight.reshape(-1, 4), axis=0)
    np.add.at(table.reshape(-1), at.ravel(), grids.bit.ravel())
    table = np.bitwise_or.accumulate(table, axis=1)
    return table.reshape(2, 2, 2, parts, _LEVELS + 2)


def _first_resize(
    levels: np.ndarray, part: np.ndarray, weight: np.ndarray, bits: np.ndarray
) -> np.ndarray:
    """Resizes to the pixels of the network input that some columns of cells read.

    OpenCV adds up two terms of 0 to 4, one a row; from 2 on the pixel is inside.

    Args:
      levels: from `_levels`.
      part: [words, k] int64, of the columns, where in `levels` they are.
      weight: [2, 2, k] int64, of the columns of the image, by pixel and neighbor.
      bits: [4, 2, 2, words, k] uint64, by pixel and neighbor down, and across.

    Returns:
      [2, 2, words, k] uint64, by pixel down and across.
    """
    at = part * levels.shape[-1]
    levels = levels.reshape(8, -1)
    one = levels.take(at + (weight >> 4)[:, :, None], axis=1)
    one = one.reshape(2, *bits.shape)
    both = levels.take(at + _LEVELS, axis=1).reshape(2, 4, 1, *part.shape)
    left, right = bits[:, :, 0], bits[:, :, 1]
    terms = (left & one[:, :, :, 0]) | (right & one[:, :, :, 1])
    terms |= left & right & both
    one, two = terms.reshape(2, 2, 2, 2, *part.shape)
    return two[:, 0] | two[:, 1] | (one[:, 0] & one[:, 1])


def _second_resize(rules: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Resizes to cells: those inside of which pixels of more than half the weight are.

    Args:
      rules: [6, words, k] uint64, of the columns; cells where this is more than half:
        the heaviest pixel; its column; its row; all but the one beside it; all but the
        one above or below it; all but itself.
      pixels: [2, 2, words, k] uint64.

    Returns:
      [words, k] uint64.
    """
    (heavy, beside), (below, far) = pixels
    alone, column, row, no_beside, no_below, others = rules
    with_heavy = alone | (below & (column | beside | (far & no_beside)))
    with_heavy |= beside & (row | (far & no_below))
    with_heavy |= far & column & row
    return (heavy & with_heavy) | (others & beside & below & far)


def _unpacked(
    grids: _Grids, slot: np.ndarray, cell: np.ndarray, inside: np.ndarray, count: int
) -> list[np.ndarray]:
    """[count, size, size] uint8 for each size, of columns [words, k] uint64."""
    if not count:
        return [np.zeros((0, size, size), np.uint8) for size in grids.sizes]
    sizes = np.array(grids.sizes)
    stops = np.cumsum(sizes)
    columns = np.zeros((count * stops[-1], grids.words * _WORD_BITS), np.uint8)
    # The columns of one size after those of another, to turn over each at once.
    line = cell + ((stops - sizes) * (count - 1))[grids.layer[cell]]
    line += slot * sizes[grids.layer[cell]]
    bits = np.ascontiguousarray(inside.T).view(np.uint8)
    columns[line] = np.unpackbits(bits, axis=1, bitorder="little")
    results = []
    for size, stop in zip(grids.sizes, (count * stops).tolist(), strict=True):
        rows = cv2.transpose(columns[stop - count * size : stop])[:size]
        results.append(rows.reshape(size, count, size).swapaxes(0, 1))
    return results
