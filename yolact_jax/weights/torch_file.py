"""Reads the state dict in a PyTorch file, without PyTorch and without its risks.

Such a file is a pickle, and an ordinary unpickler runs whatever code it names.  This
one knows the few things a state dict consists of; anything else is refused before it
is looked up.  Both formats are read: the zip archive of PyTorch 1.6 and later, and the
older row of pickles followed by the numbers, in which the published weights are.
"""

import collections
import dataclasses
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),  # widened to float32 by `_widen`
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


@dataclasses.dataclass(frozen=True)
class _StorageType:
    name: str


@dataclasses.dataclass(eq=False)
class _Storage:
    """A row of numbers that tensors are views of; legacy files bring them last."""

    type: _StorageType
    size: int
    values: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """Where in which storage a tensor is; strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a file written by ``torch.save``.

    Args:
      path: the file; it holds a dict of tensors, or a dict with such a one under
        "state_dict" or "model".

    Returns:
      Arrays by key, bfloat16 widened to float32.

    Raises:
      ValueError: if the file is damaged, is something else, or names code to run.
    """
    try:
        with open(path, "rb") as file:
            if zipfile.is_zipfile(file):
                content = _read_zip(file)
            else:
                file.seek(0)
                content = _read_legacy(file)
        return _to_arrays(content)
    except _RefusedError as error:
        raise ValueError(f"{path} {error}.") from error
    except OSError:
        raise
    except Exception as error:
        # Damaged pickles raise nearly anything, down to UnicodeDecodeError.
        raise ValueError(
            f"{path} is damaged, or not a PyTorch file: reading stopped with "
            f"{type(error).__name__} ({error}); download it again."
        ) from error


class _RefusedError(Exception):
    """What the file does that is not allowed; completes "FILE ..."."""


class _Unpickler(pickle.Unpickler):
    """Knows ordered dicts, tensors and storages, and nothing else."""

    def __init__(self, file: BinaryIO, storage_of: Callable[..., Any] | None = None):
        super().__init__(file, encoding="utf-8")
        self._storage_of = storage_of

    def find_class(self, module: str, name: str) -> Any:
        """Returns a stand-in for what PyTorch's pickles name."""
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        if module in ("torch", "torch.storage") and name in _DTYPES:
            return _StorageType(name)
        raise _RefusedError(
            f"wants to import {module}.{name}; only tensors and dicts are allowed in "
            f"weight files, so it was not loaded"
        )

    def persistent_load(self, pid: Any) -> Any:
        """Returns the storage that an id in the pickle stands for."""
        if (
            self._storage_of is None
            or not isinstance(pid, tuple)
            or pid[0] != "storage"
        ):
            raise _RefusedError(f"refers to {pid!r}, which is not a storage")
        return self._storage_of(*pid[1:])


def _rebuild_tensor(storage, offset, shape, strides, *_) -> _Tensor:
    # What may follow (requires_grad, hooks, metadata) does not matter here.
    return _Tensor(storage, int(offset), tuple(shape), tuple(strides))


_KNOWN = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
}


def _read_zip(file: BinaryIO) -> Any:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise _RefusedError("is a zip archive, but not one of PyTorch")
        folder = pickles[0].removesuffix("data.pkl")
        order = sys.byteorder
        if f"{folder}byteorder" in names:
            order = archive.read(f"{folder}byteorder").decode()
        storages: dict[str, _Storage] = {}

        def storage_of(kind, key, _, size) -> _Storage:
            if key not in storages:
                data = archive.read(f"{folder}data/{key}")
                storages[key] = _Storage(kind, size, _numbers(kind, data, size, order))
            return storages[key]

        with archive.open(pickles[0]) as stream:
            return _Unpickler(stream, storage_of).load()


def _read_legacy(file: BinaryIO) -> Any:
    try:
        magic = _Unpickler(file).load()
    except _RefusedError:
        raise
    except Exception:
        magic = None
    if magic != _LEGACY_MAGIC or _Unpickler(file).load() != _LEGACY_PROTOCOL:
        raise _RefusedError(
            "is not a PyTorch file; give a .pth or .safetensors file with a state dict"
        )
    system = _Unpickler(file).load()
    storages: dict[str, _Storage] = {}

    def storage_of(kind, key, _, size, view=None) -> _Storage:
        if view is not None:
            raise _RefusedError("has views of storages, which are not supported")
        return storages.setdefault(key, _Storage(kind, size))

    content = _Unpickler(file, storage_of).load()
    order = "little" if system.get("little_endian", True) else "big"
    for key in _Unpickler(file).load():
        _fill(storages[key], file, order)
    return content


def _fill(storage: _Storage, file: BinaryIO, order: str) -> None:
    mark = "<" if order == "little" else ">"
    (size,) = struct.unpack(f"{mark}q", file.read(8))
    if size != storage.size:
        raise _RefusedError(
            f"has a storage of {size} numbers instead of {storage.size}"
        )
    length = size * _DTYPES[storage.type.name].itemsize
    storage.values = _numbers(storage.type, file.read(length), size, order)


def _numbers(kind: _StorageType, data: bytes, size: int, order: str) -> np.ndarray:
    dtype = _DTYPES[kind.name]
    if len(data) < size * dtype.itemsize:
        raise _RefusedError(
            f"is cut off: {size * dtype.itemsize - len(data)} bytes of numbers are "
            f"missing; download it again"
        )
    values = np.frombuffer(data, dtype if order == "little" else dtype.newbyteorder())
    return _widen(values) if kind.name == "BFloat16Storage" else values


def _widen(values: np.ndarray) -> np.ndarray:
    """Turns the upper halves of float32 numbers, as integers, into these numbers."""
    return (values.astype(np.uint32) << 16).view(np.float32)


def _to_arrays(content: Any) -> dict[str, np.ndarray]:
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    tensors = content if isinstance(content, dict) else {}
    if not tensors or not all(
        isinstance(key, str) and isinstance(tensor, _Tensor)
        for key, tensor in tensors.items()
    ):
        raise _RefusedError("is a PyTorch file, but holds no plain dict of tensors")
    return {key: _to_array(key, tensor) for key, tensor in tensors.items()}


def _to_array(key: str, tensor: _Tensor) -> np.ndarray:
    values, shape, strides = tensor.storage.values, tensor.shape, tensor.strides
    reach = [(n - 1) * stride for n, stride in zip(shape, strides, strict=True)]
    inside = tensor.offset >= 0 and min(strides, default=0) >= 0
    if 0 not in shape and tensor.offset + sum(reach) >= len(values):
        inside = False
    if not inside or min(shape, default=0) < 0:
        raise _RefusedError(f"is damaged: {key} reaches outside its storage")
    view = np.lib.stride_tricks.as_strided(
        values[tensor.offset :],
        shape,
        [stride * values.itemsize for stride in strides],
        writeable=False,
    )
    return np.array(view, dtype=values.dtype.newbyteorder("="))
