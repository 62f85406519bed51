"""The variables in a checkpoint, in a file that NumPy alone reads.

A step folder holds ``variables/arrays.npz`` beside what only training needs, which is
Orbax's.  Predicting reads the one and never starts the other.
"""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

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
        np.savez(file, **arrays)


def read_arrays(folder: Path, what: str) -> dict[str, np.ndarray]:
    """Reads what `write_arrays` wrote, comparing the checksums.

    Args:
      folder: of the step.
      what: what to call the checkpoint in messages.

    Raises:
      DamagedCheckpointError: if an array cannot be read or is not as it was written.
    """
    try:
        with np.load(Path(folder) / ITEM / _FILE) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DamagedCheckpointError(f"{what} is damaged: {error}") from error


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
        state = nested(read_arrays(folder, what))
    if not state.get("params"):
        raise DamagedCheckpointError(f"{what} is damaged: it has no parameters.")
    found = state.get("average") or state
    return {name: found.get(name, {}) for name in ("params", "batch_stats")}


def nested(arrays: Mapping[str, Any]) -> dict:
    """Makes a tree of arrays whose names are paths with slashes."""
    tree: dict = {}
    for name, array in arrays.items():
        *parents, last = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = array
    return tree


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
    if folder.is_dir():
        yield from (int(path.name) for path in folder.iterdir() if path.name.isdigit())
