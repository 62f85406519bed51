"""Saves and restores training states; only this file and `layout` use Orbax.

A checkpoint is written under a temporary name and renamed when it is complete.  A
description of its arrays (type, shape, checksum) goes with it, which shows whether it
is damaged or of another model.  `layout` says what its folder holds.
"""

import contextlib
import dataclasses
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from yolact_jax.run import layout
from yolact_jax.run.array_digest import changed_array, describe, require_same_shapes
from yolact_jax.run.disk_errors import ADVICE, cause_of
from yolact_jax.run.variables import CHECKPOINTS, DamagedCheckpointError, choose_step

CheckpointManager = ocp.CheckpointManager

_LOGGER = logging.getLogger(__name__)
_BAD_FOLDER = "bad_checkpoints"


class SaveError(OSError):
    """A checkpoint could not be written; those before are intact."""


@dataclasses.dataclass(frozen=True)
class _LatestAndBest:
    """Orbax preservation policy: the newest checkpoints and the best one."""

    keep: int
    best_step: Callable[[], int | None]

    def should_preserve(self, checkpoints: Sequence[Any], *, context) -> list[bool]:
        steps = [info.step for info in checkpoints]
        kept = {*sorted(steps)[-self.keep :], self.best_step()}
        return [step in kept for step in steps]


@contextlib.contextmanager
def open_manager(
    workdir: str | Path,
    *,
    keep: int = 3,
    best_step: Callable[[], int | None] = lambda: None,
) -> Iterator[ocp.CheckpointManager]:
    """Opens the checkpoints of a run, for the one process that writes them.

    Saves run in the background; leaving the context waits for them.

    Args:
      workdir: folder of the run.
      keep: number of newest checkpoints kept.
      best_step: called at each save: another checkpoint to keep, or None.

    Raises:
      SaveError: if the last checkpoint could not be written.
    """
    options = ocp.CheckpointManagerOptions(
        preservation_policy=_LatestAndBest(keep, best_step)
    )
    manager = _open(workdir, options)
    try:
        yield manager
    except BaseException:
        # What failed first is told; a save may fail for the same reason, or another.
        try:
            with manager:
                wait(manager)
        except SaveError as error:
            _LOGGER.warning("%s", error)
        raise
    with manager:
        wait(manager)


def open_for_reading(workdir: str | Path) -> ocp.CheckpointManager:
    """Opens the checkpoints of a run that may be in progress; changes nothing."""
    # Orbax's own read_only warns of itself.
    return _open(workdir, ocp.CheckpointManagerOptions(create=False))


def _open(
    workdir: str | Path, options: ocp.CheckpointManagerOptions
) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(
        Path(workdir).absolute() / CHECKPOINTS,
        item_handlers=layout.handlers(),
        options=options,
    )


def save(
    manager: ocp.CheckpointManager, step: int, state: Any, notes: dict | None = None
) -> None:
    """Saves a pytree as the checkpoint of a step, unless there is one.

    Args:
      manager: from `open_manager`.
      step: updates done.
      state: a dataclass or dict of pytrees of arrays, each whole on this host; its
        fields "params", "batch_stats" and "average" are the variables.
      notes: what else belongs to the state, as JSON can hold it.

    Raises:
      SaveError: if this checkpoint, or the one before, cannot be written.
    """
    if step in manager.all_steps():
        return
    record = {"arrays": describe(state, checksums=True), "notes": notes or {}}
    # As a string: Orbax's own JSON knows no nan.
    metadata = {"record": json.dumps(record)}
    with _explained(manager):
        args = layout.save_args(state)
        manager.save(step, args=args, custom_metadata=metadata, force=True)


def check(manager: ocp.CheckpointManager) -> None:
    """Raises `SaveError` if a save in the background has failed."""
    with _explained(manager):
        manager.check_for_errors()


def wait(manager: ocp.CheckpointManager) -> None:
    """Waits until the newest checkpoint is on disk; raises `SaveError` if it fails."""
    with _explained(manager):
        manager.wait_until_finished()


@contextlib.contextmanager
def _explained(manager: ocp.CheckpointManager) -> Iterator[None]:
    """Turns a failed write into one sentence, and frees its space."""
    try:
        yield
    except Exception as error:
        remove_unfinished(manager)
        manager.reload()
        steps = sorted(manager.all_steps())
        raise SaveError(
            f"A checkpoint could not be written to {manager.directory} "
            f"({cause_of(error)}); "
            + (f"those of steps {steps} are intact." if steps else "there is no other.")
            + f" {ADVICE}"
        ) from error


def remove_unfinished(manager: ocp.CheckpointManager) -> list[str]:
    """Removes what interrupted saves left behind; returns the names."""
    folders = sorted(Path(manager.directory).glob("*.orbax-checkpoint-tmp*"))
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return [folder.name for folder in folders]


def restore(
    manager: ocp.CheckpointManager, like: Any, step: int | str | None = None
) -> Any:
    """Restores the pytree of one checkpoint.

    Args:
      manager: from `open_manager` or `open_for_reading`.
      like: the structure: arrays, or abstract arrays with the shardings wanted.
      step: which checkpoint, see `choose_step`.

    Raises:
      ValueError: if there is no such checkpoint, it is damaged, or of another model.
    """
    chosen = choose_step(Path(manager.directory).parent, step)
    return _read(manager, chosen, like)[0]


def restore_newest(manager: ocp.CheckpointManager, like: Any) -> tuple[Any, dict]:
    """Restores the newest undamaged checkpoint, and the notes saved with it.

    Newer, damaged ones are named in the log and moved to ``bad_checkpoints``, next to
    ``checkpoints``.

    Args:
      manager: from `open_manager`, with at least one checkpoint.
      like: as for `restore`.

    Raises:
      ValueError: if the checkpoint is of another model, or all are damaged; then the
        folder is unchanged.
    """
    damaged: dict[int, DamagedCheckpointError] = {}
    for step in sorted(manager.all_steps(), reverse=True):
        try:
            restored = _read(manager, step, like)
        except DamagedCheckpointError as error:
            damaged[step] = error
            continue
        for bad_step, error in damaged.items():
            aside = _set_aside(manager, bad_step)
            _LOGGER.warning("%s It is put aside in %s.", error, aside)
        manager.reload()
        return restored
    raise ValueError(
        f"No checkpoint in {manager.directory} can be read, so the run cannot "
        f"continue; use another workdir, or move this folder away to start over. "
        + " ".join(str(error) for error in damaged.values())
    )


def _read(manager: ocp.CheckpointManager, step: int, like: Any) -> tuple[Any, dict]:
    """Reads a checkpoint and compares it with its description."""
    what = f"Checkpoint {step} in {manager.directory}"
    record = _read_record(manager, step, what)
    require_same_shapes(record["arrays"], describe(like), what)
    with _reading(what):
        state = layout.restored(manager, step, like, what)
    _require_unchanged(record["arrays"], state, what)
    return state, record["notes"]


def read_old_variables(workdir: str | Path, step: int) -> dict:
    """Reads the variables of a checkpoint of the old layout, with one Orbax item.

    Returns:
      The fields of the state that hold variables, as dicts of NumPy arrays.

    Raises:
      DamagedCheckpointError: if it cannot be read.
    """
    with open_for_reading(workdir) as manager:
        what = f"Checkpoint {step} in {manager.directory}"
        record = _read_record(manager, step, what)["arrays"]
        with _reading(what):
            variables = layout.restored_old_variables(manager, step)
    record = {k: v for k, v in record.items() if k.split("/")[0] in variables}
    _require_unchanged(record, variables, what)
    return variables


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except (DamagedCheckpointError, jax.errors.JaxRuntimeError):
        raise  # The second is the device's fault, such as too little memory.
    except Exception as error:
        raise DamagedCheckpointError(f"{what} is damaged: {cause_of(error)}") from error


def _require_unchanged(record: dict, arrays: Any, what: str) -> None:
    changed = changed_array(record, describe(arrays, checksums=True))
    if changed is not None:
        raise DamagedCheckpointError(
            f"{what} is damaged: the values of {changed} are not those written."
        )


def _read_record(manager: ocp.CheckpointManager, step: int, what: str) -> dict:
    try:
        return json.loads(manager.metadata(step).custom_metadata["record"])
    except Exception as error:
        raise DamagedCheckpointError(
            f"{what} is damaged: it has no readable record of its arrays."
        ) from error


def _set_aside(manager: ocp.CheckpointManager, step: int) -> Path:
    checkpoint = Path(manager.directory) / str(step)
    aside = checkpoint.parents[1] / _BAD_FOLDER / checkpoint.name
    while aside.exists():
        aside = aside.with_name(aside.name + "_")
    # Every process of a run comes here; the first one moves the folder.
    if jax.process_index() == 0:
        aside.parent.mkdir(exist_ok=True)
        checkpoint.rename(aside)
    return aside
