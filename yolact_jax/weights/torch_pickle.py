"""The pickles in PyTorch files, read by an unpickler that runs no code.

It knows the few things a state dict consists of, and refuses anything else before
looking it up.
"""

import collections
import dataclasses
import io
import pickle
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

_MAX_WORDS = 200  # of a message, characters
DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),  # the upper halves of float32 numbers
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
"""Name of a kind of storage -> type of its numbers."""


@dataclasses.dataclass(frozen=True)
class StorageType:
    """Names the kind of numbers in a storage, a key of `DTYPES`."""

    name: str


@dataclasses.dataclass(eq=False)
class Storage:
    """A row of numbers that tensors are views of; in legacy files it comes last."""

    type: StorageType
    size: int
    values: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Where a tensor is, and in which storage; strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def short(value: Any) -> str:
    """Quotes what a file says for a message: one line, cut."""
    text = " ".join(str(value).split())
    return text if len(text) <= _MAX_WORDS else f"{text[:_MAX_WORDS]}..."


class RefusedError(Exception):
    """Something in the file that is not allowed; completes "FILE ..."."""


class Unpickler(pickle.Unpickler):
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
        if module in ("torch", "torch.storage") and name in DTYPES:
            return StorageType(name)
        if (module, name) in _OTHER_NUMBERS or name.endswith("Storage"):
            raise RefusedError(
                f"has numbers of another kind ({short(name)}) than floats of 16 to 64 "
                f"bits, integers and booleans; convert them to float32"
            )
        raise RefusedError(
            f"wants to import {short(module)}.{short(name)}; only tensors and dicts "
            f"are allowed in weight files, so it was not loaded"
        )

    def persistent_load(self, pid: Any) -> Any:
        """Returns the storage that an id in the pickle stands for."""
        if (
            self._storage_of is None
            or not isinstance(pid, tuple)
            or pid[0] != "storage"
        ):
            raise RefusedError(f"refers to {short(repr(pid))}, which is not a storage")
        return self._storage_of(*pid[1:])


def _check_pickle(stream: io.BytesIO) -> None:
    """Refuses a pickle that claims more than it has; does not move the position.

    The unpickler makes room for as many memories as the largest number of one.
    """
    start, length = stream.tell(), stream.getbuffer().nbytes
    for opcode, argument, _ in pickletools.genops(stream):
        if "PUT" in opcode.name and int(argument or 0) > length:
            raise RefusedError(f"is damaged: its pickle remembers object {argument}")
    stream.seek(start)


def _rebuild_tensor(storage, offset, shape, strides, *_) -> Tensor:
    # What may follow (requires_grad, hooks, metadata) does not matter here.
    return Tensor(storage, offset, tuple(shape), tuple(strides))


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
