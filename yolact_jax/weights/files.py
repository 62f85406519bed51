"""Weight files of both kinds: ``.pth`` and ``.safetensors``."""

from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np

from yolact_jax.files import replacing
from yolact_jax.weights.torch_file import read_torch_file

TORCH_SUFFIXES = (".pth", ".pt", ".bin")
SAFETENSORS_SUFFIX = ".safetensors"
_SHORT = {
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
}
_DTYPES = {"BOOL": np.dtype("?")} | _SHORT
for _kind, _bits in (("F", (16, 32, 64)), ("I", (8, 16, 32, 64)), ("U", (8, 16, 32))):
    _DTYPES |= {f"{_kind}{n}": np.dtype(f"<{_kind.lower()}{n // 8}") for n in _bits}
_EXTRA = 'pip install "yolact_jax[weights]"'


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a state dict from a ``.pth``, ``.pt``, ``.bin`` or ``.safetensors`` file.

    Returns:
      Arrays by key, in PyTorch's layout, without the prefix that `DataParallel` puts
      before all keys.

    Raises:
      ValueError: if the file is missing, damaged, or not of such a kind.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"`weights` {path} does not exist; give the path of a file.")
    if path.suffix == SAFETENSORS_SUFFIX:
        tensors = _read_safetensors(path)
    elif path.suffix in TORCH_SUFFIXES:
        tensors = read_torch_file(path)
    else:
        allowed = ", ".join((*TORCH_SUFFIXES, SAFETENSORS_SUFFIX))
        raise ValueError(f"`weights` {path} ends in none of {allowed}.")
    prefix = "module."
    if all(key.startswith(prefix) for key in tensors):
        return {key.removeprefix(prefix): array for key, array in tensors.items()}
    return tensors


def read_metadata(path: str | Path) -> dict[str, str]:
    """Reads the text entries of a ``.safetensors`` file; other kinds have none."""
    if Path(path).suffix != SAFETENSORS_SUFFIX:
        return {}
    library = _safetensors("safetensors")
    try:
        with library.safe_open(path, "numpy") as file:
            return file.metadata() or {}
    except library.SafetensorError as error:
        raise _damaged(path, error) from error


def write_safetensors(
    path: str | Path,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a state dict, atomically.

    Args:
      path: must end in ``.safetensors``.
      tensors: arrays by key.
      metadata: text to keep with them.

    Raises:
      ValueError: if the path ends differently.
    """
    path = Path(path)
    if path.suffix != SAFETENSORS_SUFFIX:
        raise ValueError(f"`path` {path} must end in {SAFETENSORS_SUFFIX}.")
    library = _safetensors("safetensors.numpy")
    # Its save_file would put a file for the owner alone in the place of ours.
    content = library.save(dict(tensors), {"format": "pt"} | dict(metadata or {}))
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    library = _safetensors("safetensors")
    try:
        entries = library.deserialize(path.read_bytes())
        return {key: _to_array(path, key, **entry) for key, entry in entries}
    except library.SafetensorError as error:
        raise _damaged(path, error) from error


def _to_array(path: Path, key: str, dtype: str, shape: list, data: bytes) -> np.ndarray:
    if dtype not in _DTYPES:
        raise ValueError(
            f"{path}: {key!r} has numbers of the kind {dtype}; known are "
            f"{', '.join(_DTYPES)}."
        )
    array = np.frombuffer(data, _DTYPES[dtype])
    try:
        array = array.reshape(shape)
    except ValueError as error:
        raise _damaged(path, error) from error
    # Exact: float32 holds every number of the short formats that NumPy lacks.
    return array.astype(np.float32) if dtype in _SHORT else array


def _damaged(path: str | Path, error: Exception) -> ValueError:
    words = " ".join(str(error).split())[:200]
    return ValueError(
        f"{path} is damaged, or not a safetensors file: {words}; download it again."
    )


def _safetensors(module: str):
    # An optional package: reading .pth files needs only NumPy.
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"{SAFETENSORS_SUFFIX} files need the safetensors package: {_EXTRA}."
        ) from error
