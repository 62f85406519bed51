"""Runs ``.onnx`` files with ONNX Runtime.

The program is that of `export.onnx.detector`; an entry of its metadata holds `About`.
"""

import dataclasses
import functools
import importlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolact_jax.config import Config
from yolact_jax.inference.exported.about import KEY, About, parse_about, require_file
from yolact_jax.inference.neighbors import alike_neighbors, batch_that_fits
from yolact_jax.inference.options import Choices
from yolact_jax.inference.outputs import Found
from yolact_jax.ops.anchors import smallest_side_px
from yolact_jax.structures import Detections, PackedMasks

SUFFIX = ".onnx"
_EXTRA = 'pip install "yolact_jax[onnx]"'
_ERRORS_ONLY = 3  # ONNX Runtime warns of inputs with a default.
# The first that is installed; others compile for each size of image anew.
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


@dataclasses.dataclass(frozen=True)
class OnnxEngine:
    """A model in ONNX Runtime, with the interface of `inference.engine.Engine`.

    Attributes:
      session: an `onnxruntime.InferenceSession`.
      batch_size: images of equal size in a call at most; fewer if they are large.
      candidate_threshold: as in `Choices`.
      iou_threshold: as in `Choices`.
      channels: N, of the images.
      smallest_anchor_px: as in `Engine`.
    """

    session: Any
    batch_size: int
    candidate_threshold: float
    iou_threshold: float
    channels: int
    smallest_anchor_px: int

    def stream(self, images: Iterable[np.ndarray], choices: Choices) -> Iterator[Found]:
        """Yields the chosen objects of many [h, w, N] uint8 images, in order.

        Raises:
          ValueError: if an image has another type or shape, or the runtime fails, such
            as for want of memory.
        """
        kinds = np.shape, lambda s: batch_that_fits(self.batch_size, s[0] * s[1])
        groups = alike_neighbors(images, *kinds, self.channels)
        for group in groups:
            yield from self._run(group, choices)

    def stream_unordered(
        self, images: Iterable[np.ndarray], choices: Choices
    ) -> Iterator[tuple[int, Found]]:
        """Yields the same with the index of each image."""
        return enumerate(self.stream(images, choices))

    def _run(self, images: Sequence[np.ndarray], choices: Choices) -> Iterator[Found]:
        names = [output.name for output in self.session.get_outputs()]
        inputs = {name: np.asarray(value) for name, value in vars(choices).items()}
        inputs["image"] = np.stack(images)
        try:
            arrays = self.session.run(names, inputs)
        except Exception as error:  # ONNX Runtime has no type for all of them.
            height, width = images[0].shape[:2]
            count = f"{len(images)} image{'s' * (len(images) > 1)}"
            raise ValueError(
                f"ONNX Runtime cannot run the model on {count} of {height} x {width} "
                f"pixels: {_words(error)}."
            ) from error
        for values in zip(*arrays, strict=True):
            yield _found(dict(zip(names, values, strict=True)))


def _found(outputs: dict[str, np.ndarray]) -> Found:
    count = int(outputs.pop("count"))
    found: dict[str, Any] = {name: values[:count] for name, values in outputs.items()}
    masks = found.pop("masks")
    height, width = masks.shape[1:]
    sides = np.array([width, height, width, height], np.float32)
    found |= {
        "boxes": found["boxes"] / sides,
        # The file does not return what only its own masks need.
        "coefficients": np.zeros((count, 0), np.float32),
        "anchor_index": np.zeros(count, np.int32),
        "valid": np.ones(count, bool),
    }
    return Detections(**found), PackedMasks.pack(masks)


def read_about(path: str | Path) -> About:
    """Reads what a file says of its model.

    Raises:
      ValueError: if it is missing or damaged, or not written by `yolact-jax export`.
    """
    require_file(path)
    state = Path(path).stat()
    return _about(str(path), state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=1)
def _about(path: str, modified_ns: int, size: int) -> About:
    del modified_ns, size
    session = _session(path, optimize=False)
    metadata = session.get_modelmeta().custom_metadata_map
    if KEY not in metadata:
        raise ValueError(
            f"{path} holds another model: yolact-jax export did not write it."
        )
    return parse_about(metadata[KEY], path)


def read_engine(path: str | Path, config: Config) -> OnnxEngine:
    """Starts ONNX Runtime; arguments as for `stablehlo_file.read_engine`."""
    return OnnxEngine(
        _session(path),
        batch_size=config.eval.batch_size,
        candidate_threshold=config.eval.candidate_threshold,
        iou_threshold=config.eval.iou_threshold,
        channels=config.data.channels,
        smallest_anchor_px=smallest_side_px(config.anchors),
    )


def _session(path: str | Path, *, optimize: bool = True) -> Any:
    runtime = _onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    if not optimize:
        options.graph_optimization_level = (
            runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        )
    installed = runtime.get_available_providers()
    providers = [name for name in _PROVIDERS if name in installed]
    try:
        return runtime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime has no type for all of them.
        raise ValueError(
            f"{path} is damaged, or no model for ONNX Runtime {runtime.__version__}: "
            f"{_words(error)}."
        ) from error


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _onnxruntime() -> Any:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ValueError(
            f"{SUFFIX} files need the onnxruntime package: {_EXTRA}."
        ) from error
