"""Converts PyTorch state dicts into model variables, and back."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from yolact_jax.weights import torch_names

_COUNTER = ".num_batches_tracked"
# Files of version 1.0 repeat the backbone under another name, and may have more levels
# than the model.
_LEGACY = r"backbone\.layer(?!s).*|fpn\.downsample_layers\.([2-9]|\d\d+)\..*"
# The classifier of an ImageNet backbone.
_CLASSIFIER = r"backbone\.(fc|classifier|head|conv_head|norm_head)\..*"
# What a deformable convolution has beyond the ordinary one it replaces.
_DEFORMABLE = r"backbone\.layers\..*\.conv2\.(bias|conv_offset_mask\..*)"
_MAX_NAMED = 3


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What became of every key.

    Attributes:
      source: where the weights came from.
      loaded: keys that went into the model.
      missing: keys of the model that the file lacks; these stay as they were.
      unused: keys of the file that the model has no place for.
      reshaped: keys whose shape in the file differs, as ``(key, shape in the file,
        shape in the model)``; these stay as they were in the model.
      ignored: counters and legacy duplicates, which are never needed.
    """

    source: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    ignored: tuple[str, ...]

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing) + len(self.reshaped)
        lines = [f"{self.source}: loaded {len(self.loaded)} of {total} arrays."]
        lines += [f"  missing, stays as initialized: {key}" for key in self.missing]
        lines += [f"  unused: {key}" for key in self.unused]
        lines += [
            f"  {there} in the file, {here} in the model, stays as initialized: {key}"
            for key, there, here in self.reshaped
        ]
        if self.ignored:
            lines.append(f"  ignored {len(self.ignored)} counters and duplicates.")
        return "\n".join(lines)


def load_state_dict(
    tensors: Mapping[str, np.ndarray],
    variables: dict,
    *,
    source: str,
    reset_class_heads: bool = False,
) -> tuple[dict, LoadReport]:
    """Puts the arrays of a state dict into the variables of a model.

    A dict with backbone arrays only, named as by torchvision, timm or the original,
    goes into the backbone: ImageNet weights to start training from.  Any other must fit
    the whole model.

    Args:
      tensors: arrays by key, in PyTorch's layout.
      variables: of a `Yolact`; abstract ones will do if the dict fills all of them.
      source: what to call the dict in messages.
      reset_class_heads: accept a model trained on another number of classes; the
        layers whose shape depends on it then stay as they are in `variables`.

    Returns:
      The new variables, float32, and the report.

    Raises:
      ValueError: if the dict is not that of such a model, or an array is not of finite
        floats.
    """
    tensors, ignored = _without_ballast(tensors)
    whole_model = any(key.startswith(torch_names.BACKBONE) for key in tensors)
    if not whole_model:
        tensors = {_backbone_key(key): array for key, array in tensors.items()}
    flat = flatten_dict(variables)
    report = _compare(tensors, flat, source, ignored)
    resettable = {
        torch_names.torch_key(path)
        for path in flat
        if reset_class_heads and torch_names.depends_on_classes(path)
    }
    _check(report, whole_model, resettable)
    loaded = set(report.loaded)
    new = {}
    for path, old in flat.items():
        key = torch_names.torch_key(path)
        if key in loaded:
            array = torch_names.from_torch(path, tensors[key])
            new[path] = _to_float32(array, key, source)
        else:
            new[path] = _initialized(old, key, source)
    return unflatten_dict(new), report


def to_state_dict(variables: dict) -> dict[str, np.ndarray]:
    """Names and orders the variables of a `Yolact` so that the original loads them."""
    tensors = {}
    for path, array in flatten_dict(jax.device_get(variables)).items():
        key = torch_names.torch_key(path)
        tensor = torch_names.to_torch(path, np.asarray(array))
        tensors[key] = np.ascontiguousarray(tensor)
        if key.endswith(".running_var"):
            counter = key.replace(".running_var", _COUNTER)
            tensors[counter] = np.zeros((), np.int64)
    return tensors


def num_classes_of(tensors: Mapping[str, np.ndarray]) -> int | None:
    """Reads the number of foreground classes C from a state dict; None if unknown."""
    bias = tensors.get("semantic_seg_conv.bias")
    if bias is None or bias.ndim != 1 or not bias.size:
        return None
    return len(bias)


def _without_ballast(tensors) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    ignored = tuple(
        key
        for key in tensors
        if key.endswith(_COUNTER) or re.fullmatch(_LEGACY, key) is not None
    )
    return {k: v for k, v in tensors.items() if k not in set(ignored)}, ignored


def _backbone_key(key: str) -> str:
    """Names an array of an ImageNet file as the whole model does."""
    stage = re.match(r"layer(\d+)\.", key)
    if stage:
        key = f"layers.{int(stage[1]) - 1}.{key[stage.end() :]}"
    return torch_names.BACKBONE + key


def _compare(tensors, flat, source: str, ignored: tuple[str, ...]) -> LoadReport:
    loaded, missing, reshaped = [], [], []
    for path, array in flat.items():
        key = torch_names.torch_key(path)
        here = torch_names.torch_shape(path, array.shape)
        if key not in tensors:
            missing.append(key)
        elif tensors[key].shape != here:
            reshaped.append((key, tuple(tensors[key].shape), here))
        else:
            loaded.append(key)
    known = {torch_names.torch_key(path) for path in flat}
    unused = [key for key in tensors if key not in known]
    return LoadReport(
        source,
        tuple(loaded),
        tuple(missing),
        tuple(unused),
        tuple(reshaped),
        tuple(ignored),
    )


def _check(report: LoadReport, whole_model: bool, resettable: set[str]) -> None:
    """Refuses a dict that leaves too much of the model open."""
    missing, unused = report.missing, report.unused
    if not whole_model:
        missing = [
            key
            for key in missing
            if key.startswith(torch_names.BACKBONE)
            and not re.fullmatch(_DEFORMABLE, key)
        ]
        unused = [key for key in unused if not re.fullmatch(_CLASSIFIER, key)]
    reshaped = [row for row in report.reshaped if row[0] not in resettable]
    faults = []
    if missing:
        faults.append(f"it lacks {_some(missing)}")
    if unused:
        faults.append(f"the model has no place for {_some(unused)}")
    if reshaped:
        key, there, here = reshaped[0]
        faults.append(f"{key} is {there} in it and {here} in the model")
    if faults:
        raise ValueError(
            f"{report.source} does not fit the model of the config: "
            f"{'; '.join(faults)}; give the config the weights were made for."
        )


def _some(keys: Sequence[str]) -> str:
    named = ", ".join(keys[:_MAX_NAMED])
    rest = len(keys) - _MAX_NAMED
    return f"{named} and {rest} more" if rest > 0 else named


def _to_float32(array: np.ndarray, key: str, source: str) -> np.ndarray:
    """Copies an array; refuses numbers that no network can have."""
    if array.dtype.kind != "f":
        raise ValueError(
            f"{source} does not fit: {key} has numbers of the kind {array.dtype}; "
            f"weights must be floats."
        )
    with np.errstate(over="ignore"):
        array = np.array(array, np.float32, order="C")
    if not np.isfinite(array).all():
        raise ValueError(
            f"{source} is damaged: {key} has numbers that are nan, infinite or beyond "
            f"float32."
        )
    if key.endswith(".running_var") and array.min(initial=0) < 0:
        raise ValueError(f"{source} is damaged: {key} has variances below 0.")
    return array


def _initialized(array: Any, key: str, source: str) -> Any:
    if isinstance(array, jax.ShapeDtypeStruct):
        raise ValueError(
            f"{source} has only a part of the model and lacks {key}, among others; it "
            f"can start a training but not predict."
        )
    return array
