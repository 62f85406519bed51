"""The content of a checkpoint: variables for NumPy, the rest for Orbax.

``variables/arrays.npz`` has what predicting needs.  ``rest`` is a standard item of
Orbax with step and optimizer, which only training reads.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict
from orbax.checkpoint import future

from yolact_jax.run.variables import (
    FIELDS,
    ITEM,
    OLD_ITEM,
    read_arrays,
    write_arrays,
)

_REST = "rest"


class _VariablesHandler(ocp.handlers.AsyncCheckpointHandler):
    """Writes variables with NumPy, within a folder that Orbax renames when complete."""

    async def async_save(self, directory, args) -> list[future.Future]:
        """Copies the arrays, which training then overwrites, and writes them later."""
        if jax.process_index() != 0:
            return []
        arrays = {"/".join(k): np.array(v) for k, v in flatten_dict(args.item).items()}

        async def write() -> None:
            write_arrays(directory, arrays)

        return [future.CommitFutureAwaitingContractedSignals(write())]

    def save(self, directory, args) -> None:
        """Required by Orbax, which calls only `async_save`."""
        raise NotImplementedError

    def restore(self, directory, args=None) -> None:
        """Not used: `read_arrays` reads without Orbax."""
        raise NotImplementedError


@ocp.args.register_with_handler(_VariablesHandler, for_save=True, for_restore=True)
@dataclasses.dataclass
class _Variables(ocp.args.CheckpointArgs):
    item: dict


def handlers() -> dict[str, ocp.handlers.CheckpointHandler]:
    """Returns the handlers of the items by name, for a manager."""
    return {
        ITEM: _VariablesHandler(),
        _REST: ocp.StandardCheckpointHandler(),
        OLD_ITEM: ocp.StandardCheckpointHandler(),
    }


def save_args(state: Any) -> ocp.args.Composite:
    """Returns a manager's arguments to save a state: a dataclass or dict of pytrees."""
    variables, rest = _divided(state)
    items = {ITEM: _Variables(variables), _REST: ocp.args.StandardSave(rest)}
    return ocp.args.Composite(**items)


def _divided(state: Any) -> tuple[dict, dict]:
    """Divides the fields of a state into those of the model and all others."""
    fields = state if isinstance(state, dict) else vars(state)
    variables = {k: fields[k] for k in FIELDS if fields.get(k) is not None}
    return variables, {k: v for k, v in fields.items() if k not in FIELDS}


def restored(manager: ocp.CheckpointManager, step: int, like: Any, what: str) -> Any:
    """Reads a state of this or the old layout, in the structure of `like`.

    Args:
      manager: of the checkpoints.
      step: which of them.
      like: arrays, or abstract arrays with the shardings wanted.
      what: what to call the checkpoint in messages.
    """
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    folder = Path(manager.directory) / str(step)
    if (folder / OLD_ITEM).is_dir():
        return _restore_item(manager, step, OLD_ITEM, abstract)
    variables, rest = _divided(abstract)
    arrays = read_arrays(folder, what)
    variables = jax.tree.map(_placed, {k: arrays[k] for k in variables}, variables)
    fields = variables | _restore_item(manager, step, _REST, rest)
    if isinstance(like, dict):
        return fields
    return dataclasses.replace(like, **fields)


def _restore_item(manager, step: int, name: str, abstract: Any = None) -> Any:
    args = ocp.args.Composite(**{name: ocp.args.StandardRestore(abstract)})
    return manager.restore(step, args=args)[name]


def _placed(array: np.ndarray, like: jax.ShapeDtypeStruct) -> jax.Array:
    """Puts an array on the devices of all processes, each of which has read it."""
    if like.sharding is None:
        return jax.numpy.asarray(array)
    return jax.make_array_from_callback(
        array.shape, like.sharding, lambda index: array[index]
    )


def restored_old_variables(manager: ocp.CheckpointManager, step: int) -> dict:
    """Reads the fields of an old state that hold variables."""
    state = _restore_item(manager, step, OLD_ITEM)
    return jax.device_get({k: state[k] for k in FIELDS if state.get(k) is not None})
