"""The variables in a checkpoint, in a file that NumPy alone reads.

A step folder holds ``variables/arrays.npz`` beside what only training needs, which is
Orbax's.  Predicting reads the one and never starts the other.
"""

import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from yolact_jax.run.best import Evaluations

CHECKPOINTS = "checkpoints"
ITEM = "variables"
OLD_ITEM = "default"  # Before 0.1, one Orbax item held everything.
FIELDS = ("params", "batch_stats", "average")
_FILE = "arrays.npz"


class DamagedCheckpointError(ValueError):
    """A checkpoint cannot be read, or not all of it is as it was written."""


def write_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays under their names; the file has a checksum of each."""
    with open(Path(folder) / _FILE, "wb") as file:
        np.savez(file, **cast("Mapping[str, Any]", arrays))


def read_arrays(folder: Path, what: str) -> dict[str, Any]:
    """Reads what `write_arrays` wrote as a tree; otherwise as `read_npz`."""
    arrays = read_npz(Path(folder) / ITEM / _FILE, what)
    try:
        return _nested(arrays)
    except ValueError as error:
        raise DamagedCheckpointError(f"{what} is damaged: {error}") from error


def read_npz(path: Path, what: str, *, ratio: int = 1) -> dict[str, np.ndarray]:
    """Reads what `np.savez` wrote, comparing the checksums.

    Args:
      path: the file.
      what: what to call it in messages.
      ratio: bytes that one byte of the file may stand for, 1 if it is not compressed.

    Raises:
      DamagedCheckpointError: if an array cannot be read or is not as it was written.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            most = ratio * path.stat().st_size
            return dict(_read_member(archive, m, most) for m in archive.infolist())
    except MemoryError:
        raise
    except Exception as error:  # Of a zip archive or an array, there are many.
        raise DamagedCheckpointError(f"{what} is damaged: {error}") from error


def _read_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int
) -> tuple[str, np.ndarray]:
    """Reads an array and its name; as `np.load`, but never more than `most` bytes."""
    name = member.filename.removesuffix(".npy")
    with archive.open(member) as stream:
        np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if max(math.prod(shape) * dtype.itemsize, member.file_size) > most:
        raise ValueError(f"{name} claims {shape} {dtype}, more than the file holds")
    with archive.open(member) as stream:
        return name, np.lib.format.read_array(stream, allow_pickle=False)


def load_variables(workdir: str | Path, step: int) -> dict:
    """Loads the variables to predict with: the moving average, if the run keeps one.

    Args:
      workdir: folder of a run.
      step: one of its checkpoints, see `choose_step`.

    Returns:
      The collections "params" and "batch_stats" of NumPy arrays.

    Raises:
      DamagedCheckpointError: if the file cannot be read.
    """
    folder = Path(workdir) / CHECKPOINTS / str(step)
    what = f"Checkpoint {step} in {folder.parent}"
    if (folder / OLD_ITEM).is_dir():
        # Orbax is slow to import, and only old checkpoints need it here.
        from yolact_jax.run.checkpoint import read_old_variables

        state = read_old_variables(workdir, step)
    else:
        try:
            state = read_arrays(folder, what)
        except DamagedCheckpointError as error:
            others = sorted(set(_steps(folder.parent)) - {step})
            advice = f"--step can be another of {others}" if others else "no other"
            raise DamagedCheckpointError(f"{error}; {advice}.") from error
    found = state.get("average", state)
    if not isinstance(found, dict) or not isinstance(found.get("params"), dict):
        raise DamagedCheckpointError(f"{what} is damaged: it has no parameters.")
    return {name: found.get(name, {}) for name in ("params", "batch_stats")}


def _nested(arrays: Mapping[str, Any]) -> dict:
    """Makes a tree of arrays whose names are paths with slashes.

    Raises:
      ValueError: if a name is the start of another.
    """
    tree: dict = {}
    for name, array in arrays.items():
        *parents, last = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ValueError(f"its array {parent} holds another, {name}")
        node[last] = array
    return tree


def has_checkpoint(workdir: str | Path) -> bool:
    """Whether a training in a folder continues from a checkpoint, or starts anew."""
    return any(True for _ in _steps(Path(workdir) / CHECKPOINTS))


def choose_step(workdir: str | Path, step: int | str | None = None) -> int:
    """Finds the checkpoint that is meant.

    Args:
      workdir: folder of a run.
      step: a step, "best" for the one with the highest mask AP on the validation
        split, or "latest", which None means too.

    Returns:
      The step.

    Raises:
      ValueError: if there is no such checkpoint.
    """
    folder = Path(workdir) / CHECKPOINTS
    steps = sorted(_steps(folder))
    if not steps:
        raise ValueError(f"`workdir` {workdir} has no checkpoint in {folder} yet.")
    if step in (None, "latest"):
        return steps[-1]
    if step == "best":
        return _best_step(workdir, steps)
    try:
        chosen = int(step)
    except ValueError:
        raise ValueError(
            f"`step` is {step!r}; it must be one of {steps}, latest or best."
        ) from None
    if chosen not in steps:
        raise ValueError(
            f"`step` {step} is not among the checkpoints of {folder}; there are "
            f"{steps}."
        )
    return chosen


def _best_step(workdir: str | Path, steps: list[int]) -> int:
    best = Evaluations(workdir).best(among=steps)
    if best is None:
        raise ValueError(
            f"`step` is best, but no checkpoint of {workdir} was evaluated while "
            f"training; give one of {steps}, or latest."
        )
    return best


def _steps(folder: Path) -> Iterator[int]:
    """Steps of whole checkpoints; those being written have longer names."""
    for path in folder.iterdir() if folder.is_dir() else ():
        name = path.name
        if name.isascii() and name.isdigit() and str(int(name)) == name:
            yield int(name)
