"""Masks of polygons and run lengths, drawn at the size they are needed.

A pixel belongs to a polygon if its center does, by the even-odd rule: a hole drawn by
a keyhole stays a hole.  Several polygons of one annotation are united, as in COCO.
"""

from collections.abc import Sequence

import numpy as np

from yolact_jax.config import Size, sides_of
from yolact_jax.data import rle
from yolact_jax.data.augment.view import View
from yolact_jax.data.example import Segmentations

_WORD_BITS = 64


def object_masks(
    segmentations: Segmentations, selected: np.ndarray, view: View, size: Size
) -> np.ndarray:
    """Draws the masks of some annotations of an image.

    Args:
      segmentations: of all n annotations of the image.
      selected: [m] int64, indices of the annotations wanted, each at most once.
      view: the part of the image that the masks show.
      size: height and width of the masks, pixels, or their side.

    Returns:
      [m, height, width] uint8, 0 or 1.
    """
    masks = np.zeros((len(selected), *sides_of(size)), np.uint8)
    slots = {owner: slot for slot, owner in enumerate(selected.tolist())}
    _draw_polygons(masks, segmentations, slots, view)
    draw_rles(masks, segmentations, slots, view)
    view.clear_outside(masks)
    return masks


def _draw_polygons(
    masks: np.ndarray, segmentations: Segmentations, slots: dict[int, int], view: View
) -> None:
    """Adds the polygons of the annotations in `slots` to their masks."""
    height, width = masks.shape[1:]
    points, ring_sizes, ring_slots = chosen_rings(segmentations, slots, view)
    rings = fill_rings(points * (width, height), ring_sizes, height, width)
    for slot, ring in zip(ring_slots.tolist(), rings, strict=True):
        masks[slot] |= ring


def chosen_rings(
    segmentations: Segmentations, slots: dict[int, int], view: View
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Takes the rings of the annotations in `slots`.

    Returns:
      points [p, 2] float64, fractions of the network input; points of each ring [r]
      int64; the slot of each ring [r] int64.
    """
    owners = segmentations.ring_owner.tolist()
    wanted = np.array([owner in slots for owner in owners], bool)
    points = segmentations.points_px[np.repeat(wanted, segmentations.ring_sizes)]
    ring_slots = [slots[owner] for owner in owners if owner in slots]
    sizes = segmentations.ring_sizes[wanted]
    return view.points(points), sizes, np.array(ring_slots, np.int64)


def fill_rings(
    points: np.ndarray, ring_sizes: np.ndarray, height: int, width: int
) -> np.ndarray:
    """Fills closed rings by the even-odd rule, sampling at pixel centers.

    Args:
      points: [p, 2] float64, (x, y) of all rings one after the other; pixel i covers
        [i, i + 1).
      ring_sizes: [r] int64, points of each ring, at least 1.
      height: of the masks, pixels.
      width: of the masks, pixels.

    Returns:
      [r, height, width] uint8, 0 or 1.
    """
    ring, row, x = crossings(points, ring_sizes, height)
    # A crossing toggles all pixels whose center is at it or right of it.
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    toggles = _toggles(len(ring_sizes), height, width)
    place = (ring * height + row) * toggles.shape[-1] + column
    np.add.at(toggles.reshape(-1), place, 1)
    return _parity(toggles, width)


def _toggles(count: int, rows: int, length: int) -> np.ndarray:
    """Makes counters for `_parity`, [count, rows, at least length + 1] uint8 zeros."""
    words = length // _WORD_BITS + 1
    return np.zeros((count, rows, words * _WORD_BITS), np.uint8)


def _parity(toggles: np.ndarray, length: int) -> np.ndarray:
    """Sums [..., k * 64] toggles along the last axis, modulo 2: [..., length] uint8."""
    # 64 at a time: much faster than a sum of bytes.
    bits = np.packbits(toggles & 1, axis=-1, bitorder="little").view("<u8")
    for shift in (1, 2, 4, 8, 16, 32):
        bits ^= bits << np.uint64(shift)
    # The last bit of a word is its sum: an odd one inverts all words after it.
    odd = np.bitwise_xor.accumulate(bits >> np.uint64(63), axis=-1)
    bits[..., 1:] ^= odd[..., :-1] * np.uint64(2**64 - 1)
    return np.unpackbits(bits.view(np.uint8), axis=-1, count=length, bitorder="little")


def crossings(
    points: np.ndarray, ring_sizes: np.ndarray, height: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds where the edges of rings cross the center lines of the pixel rows.

    Arguments are those of `fill_rings`.  Returns [c] int64 index of the ring, [c] int64
    row, [c] float64 x.
    """
    ends = np.cumsum(ring_sizes)
    following = np.arange(1, len(points) + 1)
    following[ends - 1] = ends - ring_sizes
    (x1, y1), (x2, y2) = points.T, points[following].T
    # Half-open in y, so that a vertex on a center line counts for one of its edges.
    first = np.clip(np.ceil(np.minimum(y1, y2) - 0.5), 0, height).astype(np.int64)
    stop = np.clip(np.ceil(np.maximum(y1, y2) - 0.5), 0, height).astype(np.int64)
    count = stop - first
    edge = np.repeat(np.arange(len(points)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count - first, count)
    slope = np.divide(x2 - x1, y2 - y1, out=np.zeros_like(x1), where=count > 0)
    x = x1[edge] + (row + 0.5 - y1[edge]) * slope[edge]
    ring = np.repeat(np.arange(len(ring_sizes)), ring_sizes)
    return ring[edge], row, x


def draw_rles(
    masks: np.ndarray, segmentations: Segmentations, slots: dict[int, int], view: View
) -> None:
    """Adds the run-length masks of the annotations in `slots`."""
    owners = segmentations.rle_owner.tolist()
    wanted = [i for i, owner in enumerate(owners) if owner in slots]
    if not wanted:
        return
    height, width = segmentations.size
    step_x, step_y = -1 if view.flip_x else 1, -1 if view.flip_y else 1
    x, y = view.source_positions(masks.shape[1:])
    columns, across = _inside(x[::step_x], width)
    rows, down = _inside(y[::step_y], height)
    strings = [segmentations.rle_counts[i] for i in wanted]
    sampled = sample_runs(strings, rows, columns, height)
    drawn = np.zeros((len(wanted), *masks.shape[1:]), np.uint8)
    drawn[:, down, across] = sampled
    masks[[slots[owners[i]] for i in wanted]] |= drawn[:, ::step_y, ::step_x]


def _inside(positions: np.ndarray, length: int) -> tuple[np.ndarray, slice]:
    """Source pixels along an axis of ascending positions, and their result pixels."""
    first, stop = np.searchsorted(positions, [0, length])
    return np.floor(positions[first:stop]).astype(np.int64), slice(first, stop)


def sample_runs(
    strings: Sequence[bytes], rows: np.ndarray, columns: np.ndarray, height: int
) -> np.ndarray:
    """Looks up pixels of run-length masks without decoding them to full size.

    Args:
      strings: m compressed run-length masks.
      rows: [r] int64, ascending rows to look up; may repeat.
      columns: [c] int64, ascending columns to look up; may repeat.
      height: of the masks, pixels.

    Returns:
      [m, r, c] uint8, 0 or 1.
    """
    # Runs go down the columns, so positions in this order ascend, if no column repeats.
    columns, repeats = np.unique(columns, return_inverse=True)
    positions = (columns[:, None] * height + rows[None, :]).ravel()
    counts, lengths = rle.counts_from_strings(strings)
    used = np.arange(counts.shape[1]) < lengths[:, None]
    mask = np.repeat(np.arange(len(strings)), lengths)
    place = np.searchsorted(positions, np.cumsum(counts, axis=1)[used])
    toggles = _toggles(len(strings), 1, len(positions))
    np.add.at(toggles.reshape(-1), mask * toggles.shape[-1] + place, 1)
    sampled = _parity(toggles, len(positions))
    sampled = sampled.reshape(len(strings), len(columns), len(rows))
    return sampled[:, repeats].transpose(0, 2, 1)
