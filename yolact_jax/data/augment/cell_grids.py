"""Where the cells of mask targets look in an image, and how much each look counts.

The cells of all sizes along an axis, columns or rows, stand one after the other.  A
cell reads 2 pixels of the network input along the axis, the heavier first, and each of
these 2 neighbors in the image.  What depends on the row of a cell is kept in the bits
of words, so that a column of cells is made 64 at a time.
"""

import dataclasses
import functools

import numpy as np

WORD_BITS = 64
LEVELS = 128
"""The highest value of a row of two pixels, after OpenCV's first shift by 4."""
NOTHING = 1 << 40
"""A pixel so far off, in whichever direction, that no image has it."""
_ONE = 16 * LEVELS  # What OpenCV's weights of two neighbors add up to.
_STEP = 1 << 16  # Of a column's value, the second shift.
# [2, 2049]: values of a row from which on its term is at least 1 and 2, by its weight.
_LEAST_LEVELS = np.minimum(
    -(-_STEP * np.array([[1], [2]]) // np.maximum(np.arange(_ONE + 1), 1)), LEVELS + 1
)


@dataclasses.dataclass(frozen=True)
class Grids:
    """Cells of all sizes: c columns and r rows.

    Attributes:
      sizes: heights and widths of the masks.
      words: of 64 bits that hold a column of the highest.
      layer: [c] int64, the size that each column belongs to.
      across: [2, c] float64, centers of the two columns of pixels of the network input
        that it reads.
      down: [2, r] float64, the same of the rows.
      first: [max height + 1, words] uint64, the first so many bits set.
      part: [2, 2, r] int64, layer, neighbor and pixel as one number, by the latter two.
      word: [2, 2, 2, r] int64, where its bit is in the first and second term of the
        table of `bits_by_level`.
      bit: [2, 2, 2, r] uint64, the bit of the row in its word.
      rules: [6, c, words] uint64: cells of a column where this is more than half: the
        heaviest pixel; its column; its row; all but the one beside it; all but the one
        above or below it; all but itself.
    """

    sizes: tuple[tuple[int, int], ...]
    words: int
    layer: np.ndarray
    across: np.ndarray
    down: np.ndarray
    first: np.ndarray
    part: np.ndarray
    word: np.ndarray
    bit: np.ndarray
    rules: np.ndarray


@functools.lru_cache(maxsize=4)
def make_grids(
    input_size: tuple[int, int], sizes: tuple[tuple[int, int], ...]
) -> Grids:
    """Computes what depends on the sizes only.

    Args:
      input_size: height and width of the network input, pixels.
      sizes: heights and widths of the masks, pixels.

    Returns:
      The cells.
    """
    heights, widths = zip(*sizes, strict=True)
    words, layers = max(heights) // WORD_BITS + 1, np.arange(len(sizes))
    word, bit = np.divmod(np.concatenate([np.arange(h) for h in heights]), WORD_BITS)
    rows = [_halving(input_size[0], height) for height in heights]
    columns = [_halving(input_size[1], width) for width in widths]
    rules = [_rules(x[1], y[1], words) for x, y in zip(columns, rows, strict=True)]
    part = 4 * np.repeat(layers, heights) + np.arange(4).reshape(2, 2, 1)
    table = np.arange(2).reshape(2, 1, 1, 1) * (LEVELS + 2) * 4 * len(sizes) * words
    bit = np.uint64(1) << bit.astype(np.uint64)
    return Grids(
        sizes=sizes,
        words=words,
        layer=np.repeat(layers, widths),
        across=np.concatenate([pixels for pixels, _ in columns], axis=1) + 0.5,
        down=np.concatenate([pixels for pixels, _ in rows], axis=1) + 0.5,
        first=_packed(np.tri(max(heights) + 1, max(heights), -1, bool), words),
        part=part,
        word=table + part * words + word,
        bit=np.broadcast_to(bit, (2, 2, 2, len(bit))).copy(),
        rules=np.concatenate(rules, axis=1),
    )


def _halving(input_size: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The two pixels that each cell reads along an axis, the heavier first.

    Returns:
      [2, size] float32, whole pixels, and [size] float32, the weight of the first.
    """
    # In float32, as PyTorch does it.
    step = np.float32(input_size / size)
    source = step * (np.arange(size, dtype=np.float32) + np.float32(0.5))
    source = np.maximum(source - np.float32(0.5), 0)
    low = np.minimum(np.floor(source), input_size - 1)
    share = source - low
    pixels = np.stack([low, np.minimum(low + 1, input_size - 1)])
    return np.where(share > 0.5, pixels[::-1], pixels), np.maximum(share, 1 - share)


def _rules(across: np.ndarray, down: np.ndarray, words: int) -> np.ndarray:
    """[6, width, words] uint64 of weights [width] and [height], see `Grids`."""
    across, down = np.meshgrid(across, down, indexing="ij")
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
    return _packed(rules, words)


def _packed(bits: np.ndarray, words: int) -> np.ndarray:
    """[..., n] bool to [..., words] uint64, the first in the lowest bit."""
    missing = words * WORD_BITS - bits.shape[-1]
    bits = np.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, missing)])
    return np.packbits(bits, axis=-1, bitorder="little").view("<u8")


def taps(centers: np.ndarray, extent: int, used: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of a view that OpenCV reads along an axis, and their integer weights.

    Args:
      centers: [2, c] float64, of pixels of the network input.
      extent: of the view, pixels of the image.
      used: pixels of the network input that it fills.

    Returns:
      [2, 2, c] int64, neighbor, pixel of the network input, cell, `NOTHING` where the
      view does not reach; and their weights in 0..2048, the same shape.
    """
    source = (centers * (extent / used) - 0.5).astype(np.float32)
    low = np.floor(source)
    index = np.empty((2, *source.shape), np.int64)
    weight = np.empty_like(index)
    index[0], weight[1] = low, np.rint(_ONE * (source - low))
    np.add(index[0], 1, index[1])
    np.subtract(_ONE, weight[1], weight[0])
    np.maximum(index, 0, out=index)
    np.minimum(index, extent - 1, out=index)
    index[:, centers > used] = NOTHING
    return index, weight


def bits_above(grids: Grids, rows: np.ndarray, height: int) -> np.ndarray:
    """The cells of a column that read above each row of the image.

    Args:
      grids: the cells.
      rows: [2, 2, r] int64, the rows that they read, by neighbor and pixel.
      height: of the image.

    Returns:
      [height + 2, layers * 4 * words] uint64, by row, and in it by size, neighbor,
      pixel and word.
    """
    parts = 4 * len(grids.sizes)
    line = np.minimum(np.maximum(rows, -1), height)
    line += 1
    line *= parts
    line += grids.part
    above = np.bincount(line.ravel(), minlength=(height + 2) * parts)
    above = above.reshape(height + 2, parts).cumsum(axis=0)
    return grids.first.take(above, axis=0).reshape(height + 2, -1)


def bits_by_level(grids: Grids, weight: np.ndarray) -> np.ndarray:
    """The cells of a column that get a term of at least 1 and 2 from a row's value.

    Args:
      grids: the cells.
      weight: [2, 2, r] int64, of the rows of the image, by neighbor and pixel.

    Returns:
      [2, 130 * layers, 4 * words] uint64: by term; by value and size; by neighbor,
      pixel and word.
    """
    width = 4 * len(grids.sizes) * grids.words
    table = np.zeros((2, LEVELS + 2, width), np.uint64)
    at = _LEAST_LEVELS.take(weight, axis=1)
    at *= width
    at += grids.word
    np.add.at(table.reshape(-1), at.ravel(), grids.bit.ravel())
    np.bitwise_or.accumulate(table, axis=1, out=table)
    return table.reshape(2, -1, 4 * grids.words)
