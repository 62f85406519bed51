"""Writes the whole of inference as StableHLO, for `inference.exported`."""

import dataclasses
import io
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.files import replacing
from yolact_jax.inference.engine import make_predict_fn, prepare_variables
from yolact_jax.inference.exported import stablehlo_file
from yolact_jax.inference.exported.about import About
from yolact_jax.inference.options import Choices
from yolact_jax.models.arithmetic import compute_dtype, uses_winograd
from yolact_jax.ops.masks import LEAST_SYMBOLIC_SIDE
from yolact_jax.ops.nms.variants import slots
from yolact_jax.run.folder import Run, versions

PLATFORMS = ("cpu", "cuda", "tpu")
"""Platforms of an export, unless others are asked for."""

_ALLOWED = (*PLATFORMS, "rocm")


def export_stablehlo(
    run: Run,
    variables: dict,
    path: str | Path,
    platforms: Sequence[str] = PLATFORMS,
) -> None:
    """Writes a ``.stablehlo`` file with one program for any batch and canvas size.

    Args:
      run: config and classes.
      variables: parameters and batch statistics, on the host.
      path: the file to write.
      platforms: "cpu", "cuda", "tpu", "rocm": where it is to run.  None of them needs
        to be here.

    Raises:
      ValueError: if a platform is unknown.
    """
    unknown = [name for name in platforms if name not in _ALLOWED]
    if unknown or not platforms:
        raise ValueError(
            f"`platforms` has {', '.join(unknown) or 'nothing'}; known are "
            f"{', '.join(_ALLOWED)}."
        )
    arrays, names, tree = _flattened(variables)
    groups = _groups(run.config, dict.fromkeys(platforms))
    folders = {name: group[0] for group in groups for name in group}
    about = About(
        run.config,
        run.class_names,
        run.category_ids,
        versions(),
        {"weights": names, "folders": folders},
    )
    with (
        replacing(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        archive.writestr(stablehlo_file.ABOUT, about.to_json())
        for name, array in zip(names, arrays, strict=True):
            archive.writestr(f"{stablehlo_file.WEIGHTS}/{name}.npy", _npy(array))
        for group, config in groups.items():
            programs = _Programs(config, len(run.class_names), arrays, tree)
            for name, exported in programs.export(group).items():
                archive.writestr(f"{group[0]}/{name}", bytes(exported.serialize()))


def _flattened(variables: dict) -> tuple[list[np.ndarray], list[str], Any]:
    """Arrays in order, a name for each, and the tree without them."""
    kept = {name: variables[name] for name in ("params", "batch_stats")}
    leaves, tree = jax.tree.flatten_with_path(kept)
    names = [".".join(str(key.key) for key in place) for place, _ in leaves]
    return [np.asarray(array) for _, array in leaves], names, tree


def _groups(config: Config, platforms: Iterable[str]) -> dict[tuple[str, ...], Config]:
    """Platforms that share a program, and its config."""
    groups: dict[Config, list[str]] = {}
    for name in platforms:
        there = {
            "model.compute_dtype": compute_dtype(config, name),
            "model.winograd": "yes" if uses_winograd(config, name) else "no",
        }
        groups.setdefault(config.replace(there), []).append(name)
    return {tuple(names): there for there, names in groups.items()}


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


class _Programs:
    """The programs of a config as functions of lists of arrays."""

    def __init__(self, config: Config, num_classes: int, arrays: list, tree: Any):
        self._frame, self._num_classes = config.data.frame, num_classes
        self._model = build.make_model(config, num_classes)
        self._tree = tree
        self._shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays]
        self._prepared = jax.eval_shape(self._prepare, self._shapes)
        options = config.eval
        self._predict_fn = make_predict_fn(
            self._model,
            build.make_anchors(config),
            self._frame,
            options,
            mask_slots=slots(options.nms, options.top_k, options.max_detections),
        )

    def export(self, platforms: Sequence[str]) -> dict[str, jax.export.Exported]:
        """Returns the programs by the names of their files."""
        every = [*self._shapes, *jax.tree.leaves(self._prepared)]
        pixels = _pixel_shapes(self._model.normalization.channels)
        arguments = (every, *pixels, self._choice_shapes())

        def exported(function, *arguments) -> jax.export.Exported:
            return jax.export.export(jax.jit(function), platforms=platforms)(*arguments)

        return {
            stablehlo_file.PREPARE: exported(self.prepare, self._shapes),
            stablehlo_file.DETECT: exported(self.detect, *arguments),
        }

    def prepare(self, weights: list) -> list:
        return jax.tree.leaves(self._prepare(weights))

    def detect(self, weights: list, canvases, sizes, choices: dict) -> dict:
        count = len(self._shapes)
        variables = jax.tree.unflatten(self._tree, weights[:count])
        structure = jax.tree.structure(self._prepared)
        variables["prepared"] = jax.tree.unflatten(structure, weights[count:])
        outputs = self._predict_fn(variables, canvases, sizes, Choices(**choices))
        found = {k: v for k, v in vars(outputs.detections).items() if v is not None}
        return found | {
            "packed_masks": outputs.packed_masks,
            "prototypes": outputs.prototypes,
        }

    def _prepare(self, weights: list) -> Any:
        variables = jax.tree.unflatten(self._tree, weights)
        size = self._frame.size
        return prepare_variables(self._model, variables, size)["prepared"]

    def _choice_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        shapes: dict[str, tuple[int, ...]] = {
            field.name: () for field in dataclasses.fields(Choices)
        }
        shapes["score_thresholds"] = (self._num_classes,)
        return {n: jax.ShapeDtypeStruct(s, jnp.float32) for n, s in shapes.items()}


def _pixel_shapes(
    channels: int,
) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
    """Canvases and sizes, of any number; rows of masks are whole bytes."""
    shape = jax.export.symbolic_shape(
        f"b, 8*h, 8*w, {channels}",
        constraints=[f"{side} >= {LEAST_SYMBOLIC_SIDE // 8}" for side in "hw"],
    )
    sizes = jax.ShapeDtypeStruct((shape[0], 2), jnp.int32)
    return jax.ShapeDtypeStruct(shape, jnp.uint8), sizes
