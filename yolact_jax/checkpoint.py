"""Saving and restoring training states: every call of Orbax is in this file."""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

_FOLDER = "checkpoints"


def open_manager(workdir: str | Path, *, keep: int = 3) -> ocp.CheckpointManager:
    """Opens the checkpoints of a run; use as a context manager.

    Saving is atomic and goes on in the background; leaving the context waits.

    Args:
      workdir: folder of the run.
      keep: number of newest checkpoints kept.

    Returns:
      The manager.
    """
    options = ocp.CheckpointManagerOptions(max_to_keep=keep)
    folder = Path(workdir).absolute() / _FOLDER
    return ocp.CheckpointManager(folder, options=options)


def save(manager: ocp.CheckpointManager, step: int, state: Any) -> None:
    """Saves a pytree as the checkpoint of a step, unless there is one."""
    if step not in manager.all_steps():
        manager.save(step, args=ocp.args.StandardSave(state), force=True)


def restore(manager: ocp.CheckpointManager, like: Any, step: int | None = None) -> Any:
    """Restores a pytree.

    Args:
      manager: from `open_manager`.
      like: the structure: arrays, or abstract arrays with the shardings wanted.
      step: which checkpoint; the latest if None.

    Returns:
      The pytree.

    Raises:
      ValueError: if there is no such checkpoint, or it is of another model.
    """
    steps = sorted(manager.all_steps())
    step = manager.latest_step() if step is None else step
    if step not in steps:
        raise ValueError(
            f"`step` {step} is not among the checkpoints of {manager.directory}; "
            f"there are {steps or 'none'}."
        )
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    try:
        return manager.restore(step, args=ocp.args.StandardRestore(abstract))
    except (ValueError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"Checkpoint {step} in {manager.directory} does not fit the model of the "
            f"config; use the config it was trained with, or another workdir "
            f"({reason})."
        ) from error
