"""The folder of a run: which config, data and libraries its checkpoints belong to."""

import contextlib
import dataclasses
import importlib.metadata
import logging
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolact_jax import build
from yolact_jax.config import Config, from_config_dict
from yolact_jax.data.pixels import PIXEL_FIELDS
from yolact_jax.files import VERSIONS_FILE, read_json, write_json
from yolact_jax.run.variables import has_checkpoint

if TYPE_CHECKING:  # TFDS takes a second to import.
    from yolact_jax.data.records.dataset import Dataset

_LOGGER = logging.getLogger(__name__)
_CONFIG_FILE = "config.json"
_DATASET_FILE = "dataset.json"
_LIBRARIES = (
    "yolact_jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "grain",
    "opencv-python-headless",
    "tensorflow-datasets",
    "pycocotools",
)
# Fields that the arrays of a checkpoint, the optimizer's included, may depend on, or
# what its input means.
_MODEL_FIELDS = ("model.", "anchors.", "train.freeze", *PIXEL_FIELDS)
# Fields that neither the arrays of a checkpoint nor their meaning depend on; on
# freeze_bn they do only where it changes what learns.
_FREE_FIELDS = {
    "model.compute_dtype",
    "model.freeze_bn",
    "model.remat",
    "model.winograd",
}
# Fields that `build.freezes_bn` heeds, beside "train.freeze".
_BN_FIELDS = (
    "model.freeze_bn",
    "train.batch_size",
    "train.accumulate_steps",
    "train.init_weights",
)


@dataclasses.dataclass(frozen=True)
class Run:
    """What the checkpoints of a run are used with.

    Attributes:
      config: the resolved config.
      class_names: name of each label.
      category_ids: id of each label in the annotation files.
      window_percentiles: by which the window was measured; () if it was not, None if
        the folder does not say.
    """

    config: Config
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    window_percentiles: tuple[float, ...] | None = None


def save_run(workdir: str | Path, config: Config, dataset: "Dataset") -> None:
    """Writes config, classes and versions of a run into its folder, also a new one."""
    folder = Path(workdir)
    folder.mkdir(parents=True, exist_ok=True)
    measured_by = dataset.pixels.percentiles
    if has_checkpoint(folder):  # What continues measures nothing.
        measured_by = _read_classes(folder / _DATASET_FILE).get("window_percentiles")
    write_json(folder / _CONFIG_FILE, dataclasses.asdict(config), indent=2)
    classes = {
        "class_names": list(dataset.class_names),
        "category_ids": list(dataset.category_ids),
        "fingerprint": dataset.fingerprint,
        "window_percentiles": measured_by,
    }
    write_json(folder / _DATASET_FILE, classes, indent=2)
    write_json(folder / VERSIONS_FILE, versions(), indent=2)


def versions() -> dict[str, str]:
    """Returns versions of Python and of the libraries that matter, and the machine."""
    found = {"python": platform.python_version(), "machine": platform.platform()}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def load_run(workdir: str | Path) -> Run:
    """Reads what `save_run` wrote.

    Raises:
      ValueError: if the folder is not that of a run, or one of the files is damaged.
    """
    folder = Path(workdir)
    for name in (_CONFIG_FILE, _DATASET_FILE):
        if not (folder / name).is_file():
            raise ValueError(
                f"`workdir` {folder} has no {name}; it must be a folder in which "
                f"train.py has run."
            )
    with _telling_the_cure():
        values = read_json(folder / _CONFIG_FILE)
        missing = {field.name for field in dataclasses.fields(Config)} - values.keys()
        if missing:
            raise ValueError(
                f"{folder / _CONFIG_FILE} is damaged: it has no {min(missing)}."
            )
        try:
            config = from_config_dict(values)
        except ValueError as error:
            raise ValueError(f"{folder / _CONFIG_FILE}: {error}") from None
        classes = _read_classes(folder / _DATASET_FILE)
    measured_by = classes.get("window_percentiles")
    return Run(
        config,
        tuple(classes["class_names"]),
        tuple(classes["category_ids"]),
        measured_by if measured_by is None else tuple(measured_by),
    )


@contextlib.contextmanager
def _telling_the_cure() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(
            f"{error} Put a copy of the file back, or that of a training started anew "
            f"in another folder with the same config and data."
        ) from error


def _read_classes(path: Path) -> dict[str, Any]:
    """Reads classes and fingerprint; refuses impossible lists."""
    content = read_json(path)
    kinds = {"class_names": str, "category_ids": int}
    for name, kind in kinds.items():
        found = content.get(name)
        if not isinstance(found, list) or {type(v) for v in found} != {kind}:
            raise ValueError(
                f"{path} is damaged: its {name} must be a list of {kind.__name__}."
            )
    if len({len(content[name]) for name in kinds}) != 1:
        raise ValueError(f"{path} is damaged: each class must have one name and id.")
    if not isinstance(content.get("fingerprint"), str):
        raise ValueError(f"{path} is damaged: its fingerprint must be a string.")
    if not isinstance(content.get("window_percentiles") or [], list):
        raise ValueError(f"{path} is damaged: its window_percentiles must be a list.")
    return content


def check_same_run(workdir: str | Path, config: Config, dataset: "Dataset") -> None:
    """Refuses to continue with another model or other data; logs other differences.

    Args:
      workdir: folder of a run.
      config: the config to continue with.
      dataset: the dataset to continue with.

    Raises:
      ValueError: if the folder is not that of a run, the arrays of the model or of its
        optimizer differ, or the annotations do.
    """
    folder, old = Path(workdir), load_run(workdir).config
    before, after = old.flat(), config.flat()
    changes = {
        field: f"config.{field} was {before[field]!r} and is {after[field]!r}"
        for field in after
        if before[field] != after[field]
    }
    for field, change in changes.items():
        if field.startswith(_MODEL_FIELDS) and field not in _FREE_FIELDS:
            raise ValueError(
                f"{folder} holds the run of another model: {change}; use another "
                f"workdir, or the config that it was started with."
            )
    _check_same_optimizer(folder, old, config, changes)
    _check_same_data(folder, dataset)
    for change in changes.values():
        _LOGGER.info("The run continues with a change: %s.", change)
    _log_changed_versions(folder)


def _may_have(old: Config, new: Config) -> bool:
    """Whether "auto" meant what `new` says, in a version that counted whole batches."""
    found = old.model.freeze_bn == "auto" and old.train.accumulate_steps > 1
    return found and new.model.freeze_bn != "auto"


def _check_same_optimizer(
    folder: Path, old: Config, new: Config, changes: dict[str, str]
) -> None:
    """Refuses what gives the optimizer other arrays, or the average a beginning."""
    cure = "the config that it was started with"
    fields = []
    if old.optimizer.name != new.optimizer.name:
        fields = ["optimizer.name"]
    elif (old.train.ema_decay > 0) != (new.train.ema_decay > 0):
        fields = ["train.ema_decay"]
    elif build.freezes_bn(old) != build.freezes_bn(new) and not _may_have(old, new):
        fields = [field for field in _BN_FIELDS if field in changes]
        cure = f"config.model.freeze_bn {'yes' if build.freezes_bn(old) else 'no'!r}"
    if fields:
        raise ValueError(
            f"{folder} holds a run with another state of the optimizer: "
            f"{' and '.join(changes[field] for field in fields)}; use another workdir, "
            f"or {cure}."
        )


def _check_same_data(folder: Path, dataset: "Dataset") -> None:
    old = _read_classes(folder / _DATASET_FILE)["fingerprint"]
    if old != dataset.fingerprint:
        raise ValueError(
            f"{folder} holds a run on other data: the fingerprint of the annotations "
            f"was {old} and is {dataset.fingerprint}; use another workdir, where "
            f"config.train.init_weights can start from this run's weights (export.py)."
        )


def _log_changed_versions(folder: Path) -> None:
    old, new = _old_versions(folder / VERSIONS_FILE), versions()
    for name in sorted(old.keys() & new.keys()):
        if old[name] != new[name]:
            _LOGGER.info(
                "The run continues with %s %s instead of %s: results may differ in "
                "the last digits.",
                name,
                new[name],
                old[name],
            )


def _old_versions(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        _LOGGER.warning("%s; whether libraries have changed is not known.", error)
        return {}
