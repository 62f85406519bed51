"""Groups pictures that are the same, or nearly so."""

import collections
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from yolact_jax.data import headers, images
from yolact_jax.data.errors import DatasetError

_SIDE = 16
_HASH_SIDE = 8
_BAND_BITS = 16
_MOST_BITS = 3  # Of 64; with four bands, at least one is then equal.
# Of the contrast; frames of a video and copies at other qualities differ less.
_MOST_DIFFERENCE = 0.15
_LEVEL = 1.0


class Look(NamedTuple):
    """What a picture looks like.

    Attributes:
      digest: of the file, hexadecimal.
      bits: [64] bool, whether brightness rises to the right, by cell.
      thumbnail: [16, 16] float32 gray.
      size: (height, width) of the picture.
    """

    digest: str
    bits: np.ndarray
    thumbnail: np.ndarray
    size: tuple[int, int]


def look(path: Path) -> Look:
    """Reads a picture.

    Raises:
      DatasetError: if it is damaged.
    """
    data = headers.read_file(path)
    pixels = images.preview(data, name=str(path))
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    coarse = _shrunk(gray, (_HASH_SIDE + 1, _HASH_SIDE))
    bits = (np.diff(coarse, axis=1) > 0).ravel()
    digest = hashlib.sha256(data).hexdigest()
    return Look(digest, bits, _shrunk(gray, (_SIDE, _SIDE)), gray.shape)


def looks(paths: Sequence[Path]) -> tuple[dict[int, Look], list[str]]:
    """Reads pictures on all cores.

    Returns:
      The looks by index, in order; and the problems of damaged pictures.
    """
    with ThreadPoolExecutor() as pool:
        tried = list(pool.map(_tried, paths))
    seen = {i: found for i, found in enumerate(tried) if isinstance(found, Look)}
    failed = [found for found in tried if isinstance(found, DatasetError)]
    return seen, [problem for error in failed for problem in error.problems]


def _tried(path: Path) -> Look | DatasetError:
    try:
        return look(path)
    except DatasetError as error:
        return error


def groups(found: Sequence[Look]) -> list[list[int]]:
    """Groups pictures so that duplicates and near duplicates are together.

    Near are pictures of the same size whose difference hashes (of 64 bits) differ in up
    to 3 and whose thumbnails differ by less than 0.15 of their contrast.

    Returns:
      Indices by group; each index is in one group, in order.
    """
    parents = list(range(len(found)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for first, second in _candidates(found):
        if root(first) != root(second) and are_near(found[first], found[second]):
            parents[max(root(first), root(second))] = min(root(first), root(second))
    by_root = collections.defaultdict(list)
    for index in range(len(found)):
        by_root[root(index)].append(index)
    return list(by_root.values())


def are_near(first: Look, second: Look) -> bool:
    """Whether two pictures are the same or nearly so, see `groups`."""
    if first.digest == second.digest:
        return True
    if first.size != second.size or (first.bits != second.bits).sum() > _MOST_BITS:
        return False
    difference = np.sqrt(((first.thumbnail - second.thumbnail) ** 2).mean())
    contrast = min(first.thumbnail.std(), second.thumbnail.std())
    return bool(difference <= _MOST_DIFFERENCE * contrast + _LEVEL)


def _candidates(found: Sequence[Look]) -> Iterable[tuple[int, int]]:
    """Yields pairs with equal files, or with a quarter of the hash in common."""
    buckets = collections.defaultdict(list)
    for index, seen in enumerate(found):
        buckets[seen.digest].append(index)
        for band, bits in enumerate(seen.bits.reshape(-1, _BAND_BITS)):
            buckets[band, seen.size, bits.tobytes()].append(index)
    for members in buckets.values():
        yield from itertools.combinations(members, 2)


def _shrunk(gray: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
