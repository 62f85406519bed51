"""Reads the state dict in a PyTorch file, without PyTorch and without its risks.

Such a file is a pickle, and an ordinary unpickler runs whatever code it names.  This
one knows the few things a state dict consists of, and refuses anything else before
looking it up.  What a file claims is compared with its size before memory is taken, so
that reading needs no more than twice the file.  Both formats are read: the zip archive
of PyTorch 1.6 and later, and the older row of pickles followed by the numbers, in which
the weights are published.
"""

import collections
import dataclasses
import io
import math
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_WORDS = 200  # of a message, characters
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
    """A row of numbers that tensors are views of; in legacy files it comes last."""

    type: _StorageType
    size: int
    values: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """Where a tensor is, and in which storage; strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a file written by ``torch.save``.

    The file holds a dict of tensors, or a dict with such a one under "state_dict" or
    "model".

    Returns:
      Arrays by key, bfloat16 widened to float32.

    Raises:
      ValueError: if the file is damaged, is something else, or names code to run.
    """
    data = Path(path).read_bytes()
    try:
        is_zip = zipfile.is_zipfile(io.BytesIO(data))
        return _to_arrays(_read_zip(data) if is_zip else _read_legacy(data))
    except _RefusedError as error:
        raise ValueError(f"{path} {error}.") from error
    except Exception as error:
        # Damaged pickles raise nearly anything, down to UnicodeDecodeError.
        raise ValueError(
            f"{path} is damaged, or not a PyTorch file: reading stopped with "
            f"{type(error).__name__} ({_short(error)}); download it again."
        ) from error


def _short(value: Any) -> str:
    """Quotes what a file says for a message: one line, cut."""
    text = " ".join(str(value).split())
    return text if len(text) <= _MAX_WORDS else f"{text[:_MAX_WORDS]}..."


class _RefusedError(Exception):
    """Something in the file that is not allowed; completes "FILE ..."."""


class _Unpickler(pickle.Unpickler):
    """Knows ordered dicts, tensors and storages, and nothing else."""

    def __init__(
        self, stream: io.BytesIO, storage_of: Callable[..., Any] | None = None
    ):
        _check_pickle(stream)
        super().__init__(stream, encoding="utf-8")
        self._storage_of = storage_of

    def find_class(self, module: str, name: str) -> Any:
        """Returns a stand-in for what PyTorch's pickles name."""
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        if module in ("torch", "torch.storage") and name in _DTYPES:
            return _StorageType(name)
        if (module, name) in _OTHER_NUMBERS or name.endswith("Storage"):
            raise _RefusedError(
                f"has numbers of another kind ({_short(name)}) than floats of 16 to 64 "
                f"bits, integers and booleans; convert them to float32"
            )
        raise _RefusedError(
            f"wants to import {_short(module)}.{_short(name)}; only tensors and dicts "
            f"are allowed in weight files, so it was not loaded"
        )

    def persistent_load(self, pid: Any) -> Any:
        """Returns the storage that an id in the pickle stands for."""
        if (
            self._storage_of is None
            or not isinstance(pid, tuple)
            or pid[0] != "storage"
        ):
            raise _RefusedError(
                f"refers to {_short(repr(pid))}, which is not a storage"
            )
        return self._storage_of(*pid[1:])


def _check_pickle(stream: io.BytesIO) -> None:
    """Refuses a pickle that claims more than it has; does not move the position.

    The unpickler makes room for as many memories as the largest number of one.
    """
    start, length = stream.tell(), stream.getbuffer().nbytes
    for opcode, argument, _ in pickletools.genops(stream):
        if "PUT" in opcode.name and int(argument or 0) > length:
            raise _RefusedError(f"is damaged: its pickle remembers object {argument}")
    stream.seek(start)


def _rebuild_tensor(storage, offset, shape, strides, *_) -> _Tensor:
    # What may follow (requires_grad, hooks, metadata) does not matter here.
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


_KNOWN = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
}
# Of tensors of 8-bit floats and of quantized ones.
_OTHER_NUMBERS = (
    ("torch._utils", "_rebuild_tensor_v3"),
    ("torch._utils", "_rebuild_qtensor"),
)


def _read_zip(data: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise _RefusedError("is a zip archive, but not one of PyTorch")
        size = sum(info.file_size for info in archive.infolist())
        if size > len(data):
            raise _RefusedError(
                f"is a zip archive of {len(data)} bytes that claims to hold {size}; "
                f"PyTorch never compresses: save the weights again"
            )
        folder = pickles[0].removesuffix("data.pkl")
        order = "little"
        if f"{folder}byteorder" in names:
            order = archive.read(f"{folder}byteorder").decode().strip()
        if order not in ("little", "big"):
            raise _RefusedError(
                f"has the byteorder {_short(order)}; it must be little or big"
            )
        storages: dict[str, _Storage] = {}

        def storage_of(kind, key, _, size) -> _Storage:
            if key not in storages:
                data = archive.read(f"{folder}data/{key}")
                storages[key] = _Storage(kind, size, _numbers(kind, data, size, order))
            return storages[key]

        return _Unpickler(io.BytesIO(archive.read(pickles[0])), storage_of).load()


def _read_legacy(data: bytes) -> Any:
    stream = io.BytesIO(data)
    try:
        magic = _Unpickler(stream).load()
    except _RefusedError:
        raise
    except Exception:
        magic = None
    if magic != _LEGACY_MAGIC or _Unpickler(stream).load() != _LEGACY_PROTOCOL:
        raise _RefusedError(
            "is not a PyTorch file; give a .pth or .safetensors file with a state dict"
        )
    if _Unpickler(stream).load().get("little_endian", True) is not True:
        raise _RefusedError(
            "was written on a machine with the byte order big-endian; save it again "
            "with PyTorch 1.6 or later"
        )
    storages: dict[str, _Storage] = {}

    def storage_of(kind, key, _, size, view=None) -> _Storage:
        if view is not None:
            raise _RefusedError("has views of storages, which are not supported")
        return storages.setdefault(key, _Storage(kind, size))

    content = _Unpickler(stream, storage_of).load()
    keys, position = _Unpickler(stream).load(), stream.tell()
    for key in keys:
        position = _fill(storages[key], data, position)
    return content


def _fill(storage: _Storage, data: bytes, position: int) -> int:
    """Finds the numbers of a storage; returns the position after them."""
    (size,) = struct.unpack_from("<q", data, position)
    if size != storage.size:
        raise _RefusedError(
            f"has a storage of {size} numbers instead of {_short(storage.size)}"
        )
    end = position + 8 + size * _DTYPES[storage.type.name].itemsize
    part = memoryview(data)[position + 8 : max(end, position + 8)]
    storage.values = _numbers(storage.type, part, size, "little")
    return end


def _numbers(kind, data: bytes | memoryview, size: int, order: str) -> np.ndarray:
    dtype = _DTYPES[kind.name]
    if size < 0 or len(data) < size * dtype.itemsize:
        raise _RefusedError(
            f"is cut off: {size * dtype.itemsize - len(data)} bytes of numbers are "
            f"missing; download it again"
        )
    if order == "big":
        dtype = dtype.newbyteorder()
    values = np.frombuffer(data, dtype, count=size)
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
    if not all(type(n) is int for n in (tensor.offset, *shape, *strides)):
        raise _RefusedError(f"is damaged: the shape of {_short(key)} is no integers")
    if math.prod(shape) > len(values):
        raise _RefusedError(
            f"is damaged: {_short(key)} claims {math.prod(shape)} numbers, and its "
            f"storage has {len(values)}"
        )
    reach = [(n - 1) * stride for n, stride in zip(shape, strides, strict=True)]
    last = tensor.offset + (sum(reach) if 0 not in shape else 0)
    if min(tensor.offset, *shape, *strides, 0) < 0 or last >= len(values) + (
        0 in shape
    ):
        raise _RefusedError(f"is damaged: {_short(key)} reaches outside its storage")
    # A view of the file: nothing is copied, however many tensors share a storage.
    return np.ndarray(
        shape,
        values.dtype,
        values,
        tensor.offset * values.itemsize,
        [stride * values.itemsize for stride in strides],
    )
