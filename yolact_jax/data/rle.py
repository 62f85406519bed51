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


def encode_packed(rows: np.ndarray, width: int) -> list[dict[str, Any]]:
    """Codes masks as `encode` does, from eight pixels a byte and without unpacking.

    Only bytes in which a pixel differs from the one above are looked into.

    Args:
      rows: [n, height, ceil(width / 8)] uint8, each row as from `numpy.packbits`; what
        the last byte holds beyond the width does not matter.
      width: of the masks, pixels.

    Returns:
      One code for each mask.
    """
    count, height, num_bytes = rows.shape
    if not rows.size:
        return [encode(np.zeros((height, width), bool)) for _ in range(count)]
    rows = rows.copy()
    rows[..., -1] &= 0xFF << (8 * num_bytes - width) & 0xFF
    # Runs go down a column and on at the top of the next.
    above = np.concatenate([_next_column(rows[:, -1:]), rows[:, :-1]], axis=1)
    changes = rows ^ above
    changes[:, 0, -1] &= 0xFF << (8 * num_bytes - width) & 0xFF
    flat = changes.ravel()
    used = np.flatnonzero(flat != 0)
    which, bit = np.nonzero(np.unpackbits(flat[used][:, None], axis=1))
    lines, byte = np.divmod(used[which], num_bytes)
    mask, row = np.divmod(lines, height)
    starts = (mask * width + 8 * byte + bit) * height + row
    # Every mask starts a run, if only an empty one, and ends one.
    edges = np.repeat(np.arange(count + 1) * (height * width), 2)[1:-1]
    counts = np.diff(np.sort(np.concatenate([edges, starts])))
    ends = np.cumsum(np.bincount(mask, minlength=count) + 2)
    return [
        _coded(counts[low : high - 1].tolist(), (height, width))
        for low, high in zip([0, *ends], ends, strict=False)
    ]


def _next_column(row: np.ndarray) -> np.ndarray:
    """Moves packed rows [..., bytes] by one pixel to the right."""
    carry = np.roll(row, 1, axis=-1) << 7
    carry[..., 0] = 0
    return row >> 1 | carry


def _coded(counts: list[int], size: tuple[int, int]) -> dict[str, Any]:
    return {"size": [*size], "counts": string_from_counts(counts, size).decode("ascii")}


def string_from_counts(counts: Sequence[int], size: tuple[int, int]) -> bytes:
    """Compresses run lengths that add up to height * width of a mask of that size."""
    # The stubs know no counts but compressed ones.
    rle = cast("Any", {"size": list(size), "counts": list(counts)})
    return coco_mask.frPyObjects(rle, *size)["counts"]
