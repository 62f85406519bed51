"""Writes a trained model as an ``.onnx`` file."""

from pathlib import Path

import numpy as np

from yolact_jax import build
from yolact_jax.export.onnx.detector import Detector, write_detector
from yolact_jax.export.onnx.graph import library
from yolact_jax.files import replacing
from yolact_jax.inference.exported.about import KEY, About
from yolact_jax.inference.options import DEFAULT_SCORE
from yolact_jax.run.folder import Run, versions

DTYPES = ("float32", "float16")
"""Types in which the convolutions of an exported network can run."""


def export_onnx(
    run: Run,
    variables: dict,
    path: str | Path,
    *,
    dtype: str = "float32",
    without_default: tuple[str, ...] = (),
) -> None:
    """Writes what `onnx_bytes` makes to `path`; other arguments and errors are its."""
    content = onnx_bytes(run, variables, dtype=dtype, without_default=without_default)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def onnx_bytes(
    run: Run,
    variables: dict,
    *,
    dtype: str = "float32",
    without_default: tuple[str, ...] = (),
) -> bytes:
    """Makes a file of weights and program, from pixels to masks; see `write_detector`.

    Args:
      run: config and classes.
      variables: parameters and batch statistics, on the host.
      dtype: one of `DTYPES`; with float16 the file has half the size.
      without_default: as in `Detector`.

    Raises:
      ValueError: if the kind of NMS has no form in ONNX, a weight does not fit the
        type, or a package is missing.
    """
    onnx = library("onnx")
    model = build.make_model(run.config, len(run.class_names))
    detector = Detector(
        frame=run.config.data.frame,
        num_classes=len(run.class_names),
        anchors_cxcywh=build.make_anchors(run.config),
        normalization=model.normalization,
        options=run.config.eval,
        default_score=DEFAULT_SCORE,
        dtype=np.dtype(dtype),
        without_default=without_default,
    )
    about = About(
        run.config,
        run.class_names,
        run.category_ids,
        versions() | {"onnx": onnx.__version__},
        {"dtype": dtype},
    )
    graph = write_detector(detector, variables)
    return graph.model("yolact", {KEY: about.to_json()}).SerializeToString()
