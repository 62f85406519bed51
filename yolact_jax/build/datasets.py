"""Data and batches of a config."""

import functools
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from yolact_jax.data import pipeline
from yolact_jax.data.augment.sample import AugmentOptions
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.records.dataset import Dataset, RecordSource
from yolact_jax.data.sources.coco_builder import prepare_coco
from yolact_jax.data.sources.coco_release import prepare_release
from yolact_jax.data.sources.sbd_builder import prepare_sbd
from yolact_jax.data.sources.shapes_builder import prepare_shapes
from yolact_jax.ops import anchors as anchor_ops

_OFFICIAL = {
    "coco2017": functools.partial(prepare_release, "2017"),
    "coco2014": functools.partial(prepare_release, "2014"),
    "sbd": prepare_sbd,
}
_SPLITS = ("train", "validation")


def make_dataset(config: ConfigDict, **changes: Any) -> Dataset:
    """Opens the dataset of a config, preparing its records if need be.

    `changes` are fields of `config.data` to use instead, such as `skip_bad`.

    Raises:
      DatasetError: if files are missing or bad, or a download fails.
    """
    data = ConfigDict({**config.data, **changes})
    if data.dataset == "shapes":
        return prepare_shapes(
            data_dir=data.records_dir,
            num_train=data.shapes_train_images,
            num_validation=data.shapes_validation_images,
            image_size=data.shapes_image_size,
            seed=data.shapes_seed,
        )
    if data.dataset in _OFFICIAL:
        return _OFFICIAL[data.dataset](
            data_dir=data.records_dir,
            folder=data.source_dir or None,
            skip_bad=data.skip_bad,
        )
    _require_data_files(data)
    return prepare_coco(
        data_dir=data.records_dir,
        train_annotations=data.train_annotations,
        train_images=data.train_images,
        validation_annotations=data.validation_annotations,
        validation_images=data.validation_images,
        skip_bad=data.skip_bad,
    )


def _require_data_files(data: ConfigDict) -> None:
    """Answers missing files with one sentence, not with one for each."""
    fields = [f"{s}_{kind}" for s in _SPLITS for kind in ("annotations", "images")]
    missing = [f for f in fields if not Path(data[f]).exists()]
    if missing:
        listed = ", ".join(f"config.data.{f} ({data[f]})" for f in missing)
        raise DatasetError(
            f"The dataset is missing: {listed} not found; unpack it there, or set "
            f"these fields to where it is; --config.data.dataset coco2017 downloads "
            f"it, and configs/shapes.py trains without any download."
        )


def prototype_size(config: ConfigDict) -> int:
    """Side of the prototype masks, in pixels: twice that of P3."""
    return 2 * anchor_ops.level_sizes(config.data.input_size)[0]


def make_training_batches(
    config: ConfigDict,
    source: RecordSource,
    start_step: int,
    *,
    process_index: int = 0,
    process_count: int = 1,
) -> Any:
    """Opens the endless iterator of training batches, from `start_step` on.

    Args:
      config: the whole config.
      source: the training split.
      start_step: the first batch to return.
      process_index: which of the processes of the run this is.
      process_count: processes of the run, each of which loads its rows of the batch.

    Returns:
      A context manager and iterator of dicts, see `pipeline.training_batches`.
    """
    return pipeline.training_batches(
        source,
        batch_size=config.train.batch_size,
        input_size=config.data.input_size,
        mask_size=prototype_size(config),
        max_objects=config.data.max_objects,
        augment=make_augment_options(config),
        seed=config.train.seed,
        start_step=start_step,
        num_workers=config.data.num_workers,
        process_index=process_index,
        process_count=process_count,
    )


def make_augment_options(config: ConfigDict) -> AugmentOptions:
    """Reads the augmentation section of a config."""
    return AugmentOptions(**config.augment, mask_target=config.data.mask_target)
