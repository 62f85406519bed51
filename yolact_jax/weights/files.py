"""Weight files of both kinds: ``.pth`` and ``.safetensors``."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from yolact_jax.files import replacing
from yolact_jax.weights.torch_file import read_torch_file

TORCH_SUFFIXES = (".pth", ".pt", ".bin")
SAFETENSORS_SUFFIX = ".safetensors"
_EXTRA = 'pip install "yolact_jax[weights]"'


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a state dict.

    Args:
      path: a ``.pth``, ``.pt``, ``.bin`` or ``.safetensors`` file.

    Returns:
      Arrays by key, in PyTorch's layout; the prefix that `DataParallel` puts before
      all keys is taken off.

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
    with _safetensors("safetensors").safe_open(path, "numpy") as file:
        return file.metadata() or {}


def write_safetensors(
    path: str | Path,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a state dict, atomically.

    Args:
      path: where to; must end in ``.safetensors``.
      tensors: arrays by key.
      metadata: text to keep with them.

    Raises:
      ValueError: if the path ends differently.
    """
    path = Path(path)
    if path.suffix != SAFETENSORS_SUFFIX:
        raise ValueError(f"`path` {path} must end in {SAFETENSORS_SUFFIX}.")
    library = _safetensors("safetensors.numpy")
    with replacing(path) as temporary:
        library.save_file(
            dict(tensors), temporary, {"format": "pt"} | dict(metadata or {})
        )


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    library = _safetensors("safetensors")
    try:
        with library.safe_open(path, "numpy") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (library.SafetensorError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged, or not a safetensors file: {error}; download it again."
        ) from error


def _safetensors(module: str):
    # An optional package: reading .pth files needs nothing beside NumPy.
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"{SAFETENSORS_SUFFIX} files need the safetensors package: {_EXTRA}."
        ) from error
