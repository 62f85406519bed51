"""The folder of a run: which config and classes its checkpoints belong to."""

import dataclasses
import json
from pathlib import Path

from ml_collections import ConfigDict

from yolact_jax.atomic import replacing
from yolact_jax.data.dataset import Dataset

_CONFIG_FILE = "config.json"
_DATASET_FILE = "dataset.json"


@dataclasses.dataclass(frozen=True)
class Run:
    """What is needed to use the checkpoints of a run.

    Attributes:
      config: the resolved config.
      class_names: name of each label.
      category_ids: id of each label in the annotation files.
    """

    config: ConfigDict
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]


def save_run(workdir: str | Path, config: ConfigDict, dataset: Dataset) -> None:
    """Writes the config and the classes of a run into its folder, which is made."""
    folder = Path(workdir)
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / _CONFIG_FILE, config.to_dict())
    classes = {
        "class_names": list(dataset.class_names),
        "category_ids": list(dataset.category_ids),
        "fingerprint": dataset.fingerprint,
    }
    _write_json(folder / _DATASET_FILE, classes)


def load_run(workdir: str | Path) -> Run:
    """Reads what `save_run` wrote.

    Raises:
      ValueError: if the folder is not that of a run.
    """
    folder = Path(workdir)
    for name in (_CONFIG_FILE, _DATASET_FILE):
        if not (folder / name).is_file():
            raise ValueError(
                f"`workdir` {folder} has no {name}; it must be a folder in which "
                f"train.py has run."
            )
    config = ConfigDict(json.loads((folder / _CONFIG_FILE).read_text()))
    classes = json.loads((folder / _DATASET_FILE).read_text())
    return Run(config, tuple(classes["class_names"]), tuple(classes["category_ids"]))


def _write_json(path: Path, content: dict) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
