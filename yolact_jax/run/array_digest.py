"""Records the arrays of a pytree, to recognize them when they are read again."""

import zlib
from typing import Any

import jax
import numpy as np

Record = dict[str, list]
"""Path of each array -> [dtype, shape], or [dtype, shape, CRC-32 of its bytes]."""


def describe(tree: Any, *, checksums: bool = False) -> Record:
    """Describes all arrays of a pytree, as JSON can hold it.

    With `checksums`, reads the values, each whole on this host; without, abstract
    arrays will do.
    """
    record = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        record[name] = [str(leaf.dtype), list(leaf.shape)]
        if checksums:
            values = np.ascontiguousarray(jax.device_get(leaf))
            record[name].append(zlib.crc32(values.view(np.uint8).data))
    return record


def require_same_shapes(saved: Record, wanted: Record, what: str) -> None:
    """Refuses arrays of other names, types or shapes.

    Args:
      saved: description of a checkpoint.
      wanted: description of the state of a model.
      what: names the checkpoint.

    Raises:
      ValueError: naming the first array that differs.
    """
    shapes = {name: description[:2] for name, description in saved.items()}
    for name in sorted(shapes.keys() | wanted.keys()):
        if shapes.get(name) != wanted.get(name):
            raise ValueError(
                f"{what} does not fit the model of the config: its {name} is "
                f"{_word(shapes.get(name))}, the model's {_word(wanted.get(name))}; "
                f"use the config it was trained with, or another workdir."
            )


def changed_array(saved: Record, restored: Record) -> str | None:
    """Returns the name of an array that changed since it was saved, or None."""
    return next((name for name in saved if saved[name] != restored[name]), None)


def _word(description: list | None) -> str:
    return "missing" if description is None else "{} {}".format(*description)
