"""Reads the state dict in a PyTorch file, without PyTorch and without its risks.

Such a file is a pickle, and an ordinary unpickler runs whatever code it names; see
`torch_pickle`.  What a file claims is compared with its size before memory is taken, so
that reading needs no more than twice the file.  Both formats are read: the zip archive
of PyTorch 1.6 and later, and the older row of pickles followed by the numbers, in which
the weights are published.
"""

import io
import math
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from yolact_jax.weights.torch_pickle import (
    DTYPES,
    RefusedError,
    Storage,
    Tensor,
    Unpickler,
    short,
)

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


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
    except RefusedError as error:
        raise ValueError(f"{path} {error}.") from error
    except Exception as error:
        # Damaged pickles raise nearly anything, down to UnicodeDecodeError.
        raise ValueError(
            f"{path} is damaged, or not a PyTorch file: reading stopped with "
            f"{type(error).__name__} ({short(error)}); download it again."
        ) from error


def _read_zip(data: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise RefusedError("is a zip archive, but not one of PyTorch")
        size = sum(info.file_size for info in archive.infolist())
        if size > len(data):
            raise RefusedError(
                f"is a zip archive of {len(data)} bytes that claims to hold {size}; "
                f"PyTorch never compresses: save the weights again"
            )
        folder = pickles[0].removesuffix("data.pkl")
        order = "little"
        if f"{folder}byteorder" in names:
            order = archive.read(f"{folder}byteorder").decode().strip()
        if order not in ("little", "big"):
            raise RefusedError(
                f"has the byteorder {short(order)}; it must be little or big"
            )
        storages: dict[str, Storage] = {}

        def storage_of(kind, key, _, size) -> Storage:
            if key not in storages:
                data = archive.read(f"{folder}data/{key}")
                storages[key] = Storage(kind, size, _numbers(kind, data, size, order))
            return storages[key]

        return Unpickler(io.BytesIO(archive.read(pickles[0])), storage_of).load()


def _read_legacy(data: bytes) -> Any:
    stream = io.BytesIO(data)
    try:
        magic = Unpickler(stream).load()
    except RefusedError:
        raise
    except Exception:
        magic = None
    if magic != _LEGACY_MAGIC or Unpickler(stream).load() != _LEGACY_PROTOCOL:
        raise RefusedError(
            "is not a PyTorch file; give a .pth or .safetensors file with a state dict"
        )
    if Unpickler(stream).load().get("little_endian", True) is not True:
        raise RefusedError(
            "was written on a machine with the byte order big-endian; save it again "
            "with PyTorch 1.6 or later"
        )
    storages: dict[str, Storage] = {}

    def storage_of(kind, key, _, size, view=None) -> Storage:
        if view is not None:
            raise RefusedError("has views of storages, which are not supported")
        return storages.setdefault(key, Storage(kind, size))

    content = Unpickler(stream, storage_of).load()
    keys, position = Unpickler(stream).load(), stream.tell()
    for key in keys:
        position = _fill(storages[key], data, position)
    return content


def _fill(storage: Storage, data: bytes, position: int) -> int:
    """Finds the numbers of a storage; returns the position after them."""
    (size,) = struct.unpack_from("<q", data, position)
    if size != storage.size:
        raise RefusedError(
            f"has a storage of {size} numbers instead of {short(storage.size)}"
        )
    end = position + 8 + size * DTYPES[storage.type.name].itemsize
    part = memoryview(data)[position + 8 : max(end, position + 8)]
    storage.values = _numbers(storage.type, part, size, "little")
    return end


def _numbers(kind, data: bytes | memoryview, size: int, order: str) -> np.ndarray:
    dtype = DTYPES[kind.name]
    if size < 0 or len(data) < size * dtype.itemsize:
        raise RefusedError(
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
        isinstance(key, str) and isinstance(tensor, Tensor)
        for key, tensor in tensors.items()
    ):
        raise RefusedError("is a PyTorch file, but holds no plain dict of tensors")
    return {key: _to_array(key, tensor) for key, tensor in tensors.items()}


def _to_array(key: str, tensor: Tensor) -> np.ndarray:
    values, shape, strides = tensor.storage.values, tensor.shape, tensor.strides
    if not all(type(n) is int for n in (tensor.offset, *shape, *strides)):
        raise RefusedError(f"is damaged: the shape of {short(key)} is no integers")
    if math.prod(shape) > len(values):
        raise RefusedError(
            f"is damaged: {short(key)} claims {math.prod(shape)} numbers, and its "
            f"storage has {len(values)}"
        )
    reach = [(n - 1) * stride for n, stride in zip(shape, strides, strict=True)]
    last = tensor.offset + (sum(reach) if 0 not in shape else 0)
    if min(tensor.offset, *shape, *strides, 0) < 0 or last >= len(values) + (
        0 in shape
    ):
        raise RefusedError(f"is damaged: {short(key)} reaches outside its storage")
    # A view of the file: nothing is copied, however many tensors share a storage.
    return np.ndarray(
        shape,
        values.dtype,
        values,
        tensor.offset * values.itemsize,
        [stride * values.itemsize for stride in strides],
    )
