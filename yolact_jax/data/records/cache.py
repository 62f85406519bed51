"""Decoded images that are kept, for sets small enough that decoding is the bound."""

import dataclasses
import hashlib
import logging
import pathlib
import shutil
import threading
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
_MACHINE = pathlib.Path("/proc/meminfo")
_CONTAINER = pathlib.Path("/sys/fs/cgroup")
_TELLING = threading.Lock()  # Of the module, as sources are sent to processes.
_VERSION = 1  # Of how this package decodes; another one has files of its own.


class _Store(Protocol):
    """Where images are kept by their index; threads may share it."""

    def get(self, index: int, shape: tuple[int, int, int]) -> np.ndarray | None: ...

    def put(self, index: int, image: np.ndarray) -> None: ...

    def free(self) -> float: ...


class CachedSource(Sequence[Example]):
    """A source whose images are decoded once; the examples are equal to its own.

    An image is kept when it is first read, as long as there is room: a tenth of a disk
    and a quarter of the memory stay free, of machine and container, as far as the
    system tells.  Images in memory are read-only.

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
            if image.shape == shape:
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
        with _TELLING:  # Of several threads that find no room, one says so.
            was_told, self._is_full = self._is_full, True
        if was_told:
            return
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
        """The share of the memory that is free; 1 if it is unknown."""
        return min(_free_in_machine(), _free_in_container())


def _free_in_machine() -> float:
    try:
        values = _numbers(_MACHINE)
        return values["MemAvailable:"] / values["MemTotal:"]
    except (OSError, KeyError):
        return 1.0


def _free_in_container() -> float:
    """By version 2 of Linux's control groups; files that are cached count as free."""
    try:
        most = int((_CONTAINER / "memory.max").read_text())
        used = int((_CONTAINER / "memory.current").read_text())
        return 1 - (used - _numbers(_CONTAINER / "memory.stat")["inactive_file"]) / most
    except (OSError, KeyError, ValueError):  # No group, or no limit: "max".
        return 1.0


def _numbers(file: pathlib.Path) -> dict[str, int]:
    """Reads lines of a name and a number."""
    lines = (line.split() for line in file.read_text().splitlines())
    return {line[0]: int(line[1]) for line in lines}


class _Folder:
    """Images in files, as their bytes: the system keeps what it can in memory."""

    def __init__(self, source: RecordSource):
        self._root = source.directory / "decoded"
        self._folder = self._root / _digest(source.pixels) / source.split

    def _path(self, index: int) -> pathlib.Path:
        return self._folder / f"{index:07}.raw"

    def get(self, index: int, shape: tuple[int, int, int]) -> np.ndarray | None:
        # Not mapped: the process would die if another one shortened the file.
        try:
            image = np.fromfile(self._path(index), np.uint8)
        except OSError:
            return None
        return image.reshape(shape) if image.size == np.prod(shape) else None

    def put(self, index: int, image: np.ndarray) -> None:
        with replacing(self._path(index)) as temporary:
            temporary.write_bytes(np.ascontiguousarray(image).data)

    def free(self) -> float:
        """The share of the disk that is free."""
        # Not its parents: records that were deleted must not come back without content.
        self._root.mkdir(exist_ok=True)
        usage = shutil.disk_usage(self._root)
        return usage.free / usage.total


def _digest(pixels: Pixels) -> str:
    """Names what the bytes depend on beside the image files."""
    decoders = _VERSION, cv2.__version__, simplejpeg.__version__
    text = repr((pixels.channels, pixels.low, pixels.high, decoders))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
