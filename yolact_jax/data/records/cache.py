"""Decoded images that are kept, for sets small enough that decoding is the bound."""

import dataclasses
import hashlib
import logging
import pathlib
import shutil
from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
import simplejpeg

from yolact_jax.data.example import Example
from yolact_jax.data.pixels import Pixels
from yolact_jax.data.records.dataset import RecordSource
from yolact_jax.files import replacing

_LOGGER = logging.getLogger(__name__)
_LEAST_FREE = {"disk": 0.1, "memory": 0.25}  # Shares that stay free.
_MEMORY = pathlib.Path("/proc/meminfo")


class _Store(Protocol):
    """Where images are kept by their index; threads may share it."""

    def get(self, index: int, shape: tuple[int, int, int]) -> np.ndarray | None: ...

    def put(self, index: int, image: np.ndarray) -> None: ...

    def free(self) -> float: ...


class CachedSource(Sequence[Example]):
    """A source whose images are decoded once; the examples are equal to its own.

    An image is kept when it is first read, as long as there is room: a tenth of a disk
    and a quarter of the memory stay free.  Kept images are read-only.

    Args:
      source: the split.
      kind: "memory" of this process, or "disk": a folder beside the records, which all
        processes of this machine share, and later runs find again.
    """

    def __init__(self, source: RecordSource, kind: str):
        self._source, self._kind, self._is_full = source, kind, False
        self.num_objects = source.num_objects
        self._store: _Store = _Memory() if kind == "memory" else _Folder(source)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Example:
        example = self._source[index]
        shape = example.height, example.width, example.pixels.channels
        image = self._store.get(index, shape)
        if image is None:
            image = example.image
            self._keep(index, image)
        return dataclasses.replace(example, decoded=image)

    def __repr__(self) -> str:
        return f"CachedSource({self._source!r}, {self._kind!r})"

    def _keep(self, index: int, image: np.ndarray) -> None:
        """Keeps an image if there is room; says so once when there is none."""
        if self._is_full:
            return
        try:
            if self._store.free() > _LEAST_FREE[self._kind]:
                self._store.put(index, image)
                return
            reason = f"only {_LEAST_FREE[self._kind]:.0%} of the {self._kind} is free"
        except OSError as error:
            reason = str(error)
        self._is_full = True
        _LOGGER.warning(
            "config.data.cache is %r: no more decoded images are kept there, for %s; "
            "the others are decoded each time.",
            self._kind,
            reason,
        )


Source = RecordSource | CachedSource
"""What training reads."""


class _Memory:
    """Images in the memory of this process."""

    def __init__(self) -> None:
        self._images: dict[int, np.ndarray] = {}

    def get(self, index: int, shape: tuple[int, int, int]) -> np.ndarray | None:
        del shape  # That of the image.
        return self._images.get(index)

    def put(self, index: int, image: np.ndarray) -> None:
        image.flags.writeable = False
        self._images[index] = image

    def free(self) -> float:
        """The share of the machine's memory that is available; 1 if it is unknown."""
        try:
            lines = (line.split() for line in _MEMORY.read_text().splitlines())
        except OSError:
            return 1.0
        sizes = {line[0]: int(line[1]) for line in lines}
        return sizes["MemAvailable:"] / sizes["MemTotal:"]


class _Folder:
    """Images in files, as their bytes: the system keeps what it can in memory."""

    def __init__(self, source: RecordSource):
        self._folder = source.directory / "decoded" / _digest(source.pixels)
        self._folder /= source.split

    def _path(self, index: int) -> pathlib.Path:
        return self._folder / f"{index:07}.raw"

    def get(self, index: int, shape: tuple[int, int, int]) -> np.ndarray | None:
        try:
            mapped = np.memmap(self._path(index), np.uint8, "r")
        except (OSError, ValueError):  # Missing, or empty.
            return None
        if mapped.size != np.prod(shape):
            return None
        return np.asarray(mapped).reshape(shape)  # Faster to index than a memmap.

    def put(self, index: int, image: np.ndarray) -> None:
        with replacing(self._path(index)) as temporary:
            temporary.write_bytes(np.ascontiguousarray(image).data)

    def free(self) -> float:
        """The share of the disk that is free."""
        self._folder.mkdir(parents=True, exist_ok=True)
        usage = shutil.disk_usage(self._folder)
        return usage.free / usage.total


def _digest(pixels: Pixels) -> str:
    """Names what the bytes depend on beside the image files."""
    decoders = cv2.__version__, simplejpeg.__version__
    text = repr((pixels.channels, pixels.low, pixels.high, decoders))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
