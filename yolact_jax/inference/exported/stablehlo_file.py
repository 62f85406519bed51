"""Reads ``.stablehlo`` files: a model's program and weights, for JAX alone.

The file is a ZIP archive without compression:

  about.json              `About`, whose ``program`` has ``weights``, the names of the
                          arrays in order, and ``folders``, where the programs of each
                          platform are
  weights/NAME.npy        parameters and batch statistics
  FOLDER/prepare.bin      ``prepare(weights)`` returns further arrays, to append to them
  FOLDER/detect.bin       ``detect(weights, canvases, sizes, choices)``

The programs are from `jax.export`.  The arguments of ``detect`` are as for
`inference.engine.make_predict_fn`, with canvases whose sides are multiples of 8 and at
least 256 pixels; ``choices`` is a dict of the fields of `Choices`.  It returns a dict
of those of `Detections`, ``packed_masks`` and ``prototypes``.
"""

import contextlib
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np

from yolact_jax.config import Config
from yolact_jax.inference.engine import Engine
from yolact_jax.inference.exported.about import About, parse_about, require_file
from yolact_jax.inference.options import Choices
from yolact_jax.inference.outputs import Outputs
from yolact_jax.ops.anchors import smallest_side_px
from yolact_jax.ops.masks import LEAST_SYMBOLIC_SIDE
from yolact_jax.structures import Detections

SUFFIX = ".stablehlo"
ABOUT, WEIGHTS, PREPARE, DETECT = "about.json", "weights", "prepare.bin", "detect.bin"


def read_about(path: str | Path) -> About:
    """Reads what a file says of its model; raises ValueError if it is damaged."""
    with _opened(path) as archive:
        return parse_about(_entry(archive, ABOUT), path)


def read_engine(path: str | Path, config: Config) -> Engine:
    """Reads the program for the device of this process, and the weights.

    Args:
      path: a ``.stablehlo`` file.
      config: has the batch size and the default thresholds.

    Raises:
      ValueError: if the file is damaged, or has no program that this JAX and its device
        can run.
    """
    with _opened(path) as archive:
        about = parse_about(_entry(archive, ABOUT), path)
        names, folder = _parts(about, path)
        prepare = _program(archive, f"{folder}/{PREPARE}", about, path)
        program = _program(archive, f"{folder}/{DETECT}", about, path)
        weights = [_array(archive, f"{WEIGHTS}/{name}.npy") for name in names]
    _require_fit(prepare, weights, path)
    return Engine(
        jax.jit(_predict_fn(program)),
        [*map(jax.device_put, weights), *jax.jit(prepare.call)(weights)],
        batch_size=config.eval.batch_size,
        candidate_threshold=config.eval.candidate_threshold,
        iou_threshold=config.eval.iou_threshold,
        least_side=LEAST_SYMBOLIC_SIDE,
        channels=config.data.channels,
        smallest_anchor_px=smallest_side_px(config.anchors),
        frame=about.config.data.frame,
    )


def _predict_fn(program: jax.export.Exported) -> Callable[..., Outputs]:
    def predict(weights, canvases, sizes, choices: Choices) -> Outputs:
        found: Any = program.call(weights, canvases, sizes, vars(choices))
        masks, prototypes = found.pop("packed_masks"), found.pop("prototypes")
        return Outputs(Detections(**found), masks, prototypes)

    return predict


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[zipfile.ZipFile]:
    require_file(path)
    with _one_sentence(path):
        archive = zipfile.ZipFile(path)
    with archive:
        yield archive


@contextlib.contextmanager
def _one_sentence(path: str | Path | None) -> Iterator[None]:
    """Names the file in the errors of reading an archive, of which there are many."""
    try:
        yield
    except Exception as error:
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"{path} is damaged, or not written by yolact-jax export: {words}."
        ) from error


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    with _one_sentence(archive.filename):
        info = archive.getinfo(name)
        # Without compression no entry is larger than the file.
        if info.compress_type != zipfile.ZIP_STORED:
            raise zipfile.BadZipFile(f"{name} is compressed")
        return archive.read(info)


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    data = io.BytesIO(_entry(archive, name))
    with _one_sentence(archive.filename):
        return np.lib.format.read_array(data, allow_pickle=False)


def _parts(about: About, path: str | Path) -> tuple[list[str], str]:
    """Names of the weights, and where the programs for the device of this process are.

    Raises:
      ValueError: if the description lacks them, or has no program for this device.
    """
    names, folders = map(about.program.get, ("weights", "folders"))
    if not isinstance(names, list) or not isinstance(folders, dict):
        raise ValueError(
            f"{path} is damaged: its `program` must have a list `weights` and an "
            f"object `folders`."
        )
    platform = jax.export.default_export_platform()
    if platform not in folders:
        raise ValueError(
            f"{path} has no program for {platform}, the platform of this process, but "
            f"for {', '.join(folders)}; export it with --platforms={platform}."
        )
    return names, folders[platform]


def _program(
    archive: zipfile.ZipFile, name: str, about: About, path: str | Path
) -> jax.export.Exported:
    data = _entry(archive, name)
    try:
        return jax.export.deserialize(bytearray(data))
    except Exception as error:  # JAX has no type of its own for it.
        written = about.versions.get("jax", "another version")
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"{path} was written with JAX {written}, and JAX {jax.__version__} cannot "
            f"read it: {words}; use that version or export again."
        ) from error


def _require_fit(prepare: Any, weights: list[np.ndarray], path: str | Path) -> None:
    wanted = [(a.shape, a.dtype) for a in prepare.in_avals]
    if wanted != [(w.shape, w.dtype) for w in weights]:
        raise ValueError(
            f"{path} is damaged: its weights are not those of its program."
        )
