"""Loads a model from a file that `yolact-jax export` wrote, to predict with."""

from collections.abc import Callable
from pathlib import Path

from yolact_jax.config import Config
from yolact_jax.data.pixels import Pixels
from yolact_jax.inference.exported import onnx_file, stablehlo_file
from yolact_jax.inference.exported.about import About
from yolact_jax.results.predictor import Predictor

_READERS: dict[str, tuple[Callable, Callable]] = {
    stablehlo_file.SUFFIX: (stablehlo_file.read_about, stablehlo_file.read_engine),
    onnx_file.SUFFIX: (onnx_file.read_about, onnx_file.read_engine),
}


def is_exported(what: str | Path) -> bool:
    """Whether this names a file with a whole program in it, by its suffix."""
    return Path(what).suffix in _READERS


def read_about(path: str | Path) -> About:
    """Reads the config and the classes of an exported file.

    Raises:
      ValueError: if it is missing or damaged.
    """
    return _READERS[Path(path).suffix][0](path)


def load_exported(path: str | Path, config: Config | None = None) -> Predictor:
    """Makes a predictor that runs an exported program.

    Args:
      path: the file.
      config: has the batch size and the thresholds, instead of the file's own.

    Raises:
      ValueError: if the file is missing or damaged; at the first use of the predictor,
        if this process cannot run its program.
    """
    about = read_about(path)
    chosen = about.config if config is None else config
    read_engine = _READERS[Path(path).suffix][1]
    return Predictor(
        lambda: read_engine(path, chosen),
        about.class_names,
        about.category_ids,
        Pixels.of(chosen.data),
    )
