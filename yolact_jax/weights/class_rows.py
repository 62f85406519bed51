"""Weights of the layers that depend on classes, taken over by the names of classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from yolact_jax.weights import torch_names

_WITH_BACKGROUND = "head/class"
"""The layer whose outputs are the background and the classes, for every anchor."""


def with_rows_by_name(
    variables: dict,
    initial: dict,
    tensors: Mapping[str, np.ndarray],
    there: Sequence[str],
    here: Sequence[str],
) -> dict:
    """Copies the rows of classes that a file and a model both have.

    Rows of other classes are those of `initial`.  The background is a class of its own.
    Layers of other shapes stay as they are, as with other anchors per cell.

    Args:
      variables: of the model, with everything else loaded.
      initial: of the model before it was loaded.
      tensors: arrays of the file by key, in PyTorch's layout.
      there: names of the classes of the file.
      here: names of the classes of the model.
    """
    flat: dict[Any, Any] = flatten_dict(variables)
    before = flatten_dict(initial)
    for path in flat:
        key = torch_names.torch_key(path)
        if torch_names.depends_on_classes(path) and key in tensors:
            old = torch_names.from_torch(path, np.asarray(tensors[key], np.float32))
            background = "/".join(path[1:-1]) == _WITH_BACKGROUND
            flat[path] = _merged(old, np.asarray(before[path]), there, here, background)
    return unflatten_dict(flat)


def _merged(
    old: np.ndarray,
    new: np.ndarray,
    there: Sequence[str],
    here: Sequence[str],
    background: bool,
) -> np.ndarray:
    """Copies columns of the last axis, which repeats the classes for every anchor."""
    pairs = [(i, there.index(n)) for i, n in enumerate(here) if n in there]
    pairs = [(to + background, source + background) for to, source in pairs]
    pairs += [(0, 0)] * background
    counts = len(there) + background, len(here) + background
    old = old.reshape(*old.shape[:-1], -1, counts[0])
    merged = new.reshape(*new.shape[:-1], -1, counts[1]).copy()
    if old.shape[:-1] != merged.shape[:-1]:
        return new
    for to, source in pairs:
        merged[..., to] = old[..., source]
    return merged.reshape(new.shape)
