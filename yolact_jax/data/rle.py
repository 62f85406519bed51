"""COCO run-length encoding: counts and their compressed string form.

Runs go down the columns and alternate between background and object, starting
with background.  The string form stores each count, from the fourth on as the
difference to the count two before it, in groups of five bits per character.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from pycocotools import mask as coco_mask


def counts_from_string(string: bytes) -> np.ndarray:
    """Decompresses the string form of one mask.

    Args:
      string: characters "0".."o", as in the `counts` field of COCO json files.

    Returns:
      [m] int64 run lengths; not checked against any image size.

    Raises:
      ValueError: if a character is not allowed or the last number is cut off.
    """
    return counts_from_strings([string])[0][0]


def counts_from_strings(strings: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Decompresses the string forms of m masks at once.

    Returns:
      [m, l] int64 run lengths, zero beyond the last of each mask; and [m] int64, how
      many each mask has.

    Raises:
      ValueError: if a character is not allowed or the last number of a mask is cut off.
    """
    chars = np.frombuffer(b"".join(strings), np.uint8).astype(np.int64) - 48
    if len(chars) and not 0 <= chars.min() <= chars.max() <= 63:
        raise ValueError('has a character outside "0".."o"')
    is_last = chars < 32
    string_ends = np.cumsum([len(string) for string in strings])
    numbers_so_far = np.concatenate([[0], np.cumsum(is_last)])[string_ends]
    if not is_last[string_ends[string_ends > 0] - 1].all():
        raise ValueError("ends in the middle of a number")
    lengths = np.diff(numbers_so_far, prepend=0)
    used = np.arange(lengths.max(initial=0)) < lengths[:, None]
    counts = np.zeros(used.shape, np.int64)
    counts[used] = _numbers(chars, is_last)
    # Differences start at the fourth count: runs 1, 3, 5, .. and 2, 4, 6, ..
    np.cumsum(counts[:, 1::2], axis=1, out=counts[:, 1::2])
    np.cumsum(counts[:, 2::2], axis=1, out=counts[:, 2::2])
    return counts * used, lengths


def _numbers(chars: np.ndarray, is_last: np.ndarray) -> np.ndarray:
    """Joins groups of five bits, least significant first, into signed numbers."""
    ends = np.flatnonzero(is_last)
    if not len(ends):
        return ends
    starts = np.concatenate([[0], ends[:-1] + 1])
    bits = 5 * (ends - starts + 1)
    if bits.max() > 60:
        raise ValueError("has a number of more than 60 bits")
    shifts = 5 * np.arange(len(chars)) - np.repeat(5 * starts, ends - starts + 1)
    values = np.add.reduceat((chars & 31) << shifts, starts)
    return values - ((chars[ends] & 16) >> 4 << bits)


def encode(mask: np.ndarray) -> dict[str, Any]:
    """Codes a [height, width] bool mask as COCO json does: `size`, `counts` as str."""
    code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    counts = cast("bytes", code["counts"]).decode("ascii")
    return {"size": [int(side) for side in code["size"]], "counts": counts}


def encode_packed(
    rows: np.ndarray, top: int, left: int, size: tuple[int, int]
) -> dict[str, Any]:
    """Codes a mask as `encode` does, from eight pixels a byte and without unpacking.

    Only bytes in which a pixel differs from the one above are looked into.

    Args:
      rows: [h, w] uint8, packed rows of the part of the mask that is not 0; what the
        last byte holds beyond the mask does not matter.
      top: first row of the part.
      left: first column of the part.
      size: height and width of the mask, pixels.
    """
    height, width = size
    none = np.zeros_like(rows[:1], shape=(1, rows.shape[1]))
    changes = np.concatenate([none, rows]) ^ np.concatenate([rows, none])
    beyond = left + 8 * rows.shape[1] - width
    if beyond > 0:
        changes[:, -1] &= 0xFF << beyond & 0xFF
    row, byte = np.divmod(np.flatnonzero(changes.ravel() != 0), max(rows.shape[1], 1))
    which, bit = np.nonzero(np.unpackbits(changes[row, byte][:, None], axis=1))
    places = (left + 8 * byte[which] + bit) * height + top + row[which]
    # A run that goes on at the top of the next column neither ends nor starts there.
    places, times = np.unique(places, return_counts=True)
    places = places[(times == 1) & (places < height * width)]
    counts = np.diff(np.concatenate([[0], places, [height * width]])).tolist()
    return {"size": [*size], "counts": string_from_counts(counts, size).decode("ascii")}


def string_from_counts(counts: Sequence[int], size: tuple[int, int]) -> bytes:
    """Compresses run lengths that add up to height * width of a mask of that size."""
    # The stubs know no counts but compressed ones.
    rle = cast("Any", {"size": list(size), "counts": list(counts)})
    return coco_mask.frPyObjects(rle, *size)["counts"]
