"""Opens the dataset of a config; the libraries behind it are imported when it is."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolact_jax.config import Config, Data
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.pixels import Pixels

if TYPE_CHECKING:
    from yolact_jax.data.records.dataset import Dataset

_SPLITS = ("train", "validation")


def make_dataset(config: Config, splits: Sequence[str] = _SPLITS) -> "Dataset":
    """Opens the dataset of a config, after preparing its records if necessary.

    What the config leaves open about pixels is measured on the train split.

    Args:
      config: the whole config.
      splits: "train", "validation" or both: which must exist.  The other one is left
        out if its files are missing.

    Raises:
      DatasetError: if files are missing or bad, or a download fails.
    """
    from yolact_jax.data.measure import pixels_of

    dataset = _prepared(config, splits)
    return dataclasses.replace(dataset, pixels=pixels_of(config.data, dataset))


def _prepared(config: Config, splits: Sequence[str]) -> "Dataset":
    from yolact_jax.data.sources import (
        coco_builder,
        coco_release,
        sbd_builder,
        shapes_builder,
    )

    data = config.data
    if data.dir:
        return _folder_dataset(data)
    official = {
        "coco2017": functools.partial(coco_release.prepare_release, "2017"),
        "coco2014": functools.partial(coco_release.prepare_release, "2014"),
        "sbd": sbd_builder.prepare_sbd,
    }
    if data.dataset == "shapes":
        return shapes_builder.prepare_shapes(
            data_dir=data.records_dir,
            num_train=data.shapes_train_images,
            num_validation=data.shapes_validation_images,
            image_size=data.shapes_image_size,
            seed=data.shapes_seed,
        )
    if data.dataset in official:
        return official[data.dataset](
            data_dir=data.records_dir,
            folder=data.source_dir or None,
            skip_bad=data.skip_bad,
        )
    return coco_builder.prepare_coco(
        data_dir=data.records_dir,
        skip_bad=data.skip_bad,
        allow_outside_paths=data.allow_outside_paths,
        pixels=Pixels(data.channels),
        **_data_files(data, splits),
    )


def _folder_dataset(data: Data) -> "Dataset":
    """Prepares ``data.dir``, in whatever layout it is."""
    from yolact_jax.data.folders.prepare import Options, prepare_folder

    return prepare_folder(
        Path(data.dir),
        Path(data.records_dir),
        Options(
            validation_fraction=data.validation_fraction,
            split_seed=data.split_seed,
            skip_bad=data.skip_bad,
            allow_outside_paths=data.allow_outside_paths,
        ),
        Pixels(data.channels),
    )


def _data_files(data: Data, splits: Sequence[str]) -> dict[str, Any]:
    """Returns files and folders of all splits; names missing ones in one sentence."""
    files: dict[str, str | None] = {}
    missing: dict[str, str] = {}
    for split in _SPLITS:
        fields = [f"{split}_annotations", f"{split}_images"]
        paths = {field: getattr(data, field) for field in fields}
        absent = {f: p for f, p in paths.items() if not (p and Path(p).exists())}
        files |= dict.fromkeys(fields) if absent else paths
        if split in splits:
            missing |= absent
    if missing:
        listed = ", ".join(f"config.data.{f} ({path})" for f, path in missing.items())
        raise DatasetError(
            f"The dataset is missing: {listed} not found; unpack it there, or set "
            f"these fields to where it is; --config.data.dataset coco2017 downloads "
            f"it, and configs/shapes.py trains without any download."
        )
    return files
