"""Prepared datasets: records on disk, read at random by index."""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import tensorflow_datasets as tfds

from yolact_jax.data import rle
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.example import Annotations, Example, Segmentations
from yolact_jax.data.pixels import RGB, Pixels
from yolact_jax.data.records import record

SPLITS = ("train", "validation", "test", "test_dev")


class RecordSource(Sequence[Example]):
    """The examples of one split, in the order of the json file; can be pickled.

    Opens only the metadata at first, and the records when one is read.  Damaged
    metadata or records raise DatasetError.

    Attributes:
      class_names: names of the labels.
      category_ids: ids of the labels in the json file.
      num_objects: [len] int64, objects of each example that can be trained on:
        annotations that are no crowds and whose box has area inside the image.
      pixels: how the numbers of the image files become channels.
      directory: where the records are.
      split: its name.
    """

    def __init__(self, directory: pathlib.Path, split: str, pixels: Pixels = RGB):
        self.directory, self.split, self._reader = directory, split, None
        self.pixels = pixels
        dataset = open_dataset(directory)
        self.class_names = dataset.class_names
        self.category_ids = dataset.category_ids
        with _damage_named(directory):
            info = tfds.builder_from_directory(directory).info
            num_objects = _metadata_of(info)["num_objects"][split]
            self.num_objects = np.array(num_objects, np.int64)
            self._files = sorted(info.splits[split].filenames)
            self._file_ends = np.cumsum(info.splits[split].shard_lengths)
            if self.num_objects.shape != (self._file_ends[-1],):
                raise ValueError(f"the number of examples of {split!r} differs")

    def __len__(self) -> int:
        return len(self.num_objects)

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is not in 0..{len(self) - 1}")
        place = np.searchsorted(self._file_ends, index, side="right")
        with _damage_named(self.directory, self._files[place]):
            if self._reader is None:
                self._reader = _open_reader(self.directory, self.split)
            return record.decode_record(self._reader[int(index)], self.pixels)

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the open files behind; the other process opens its own."""
        return {**self.__dict__, "_reader": None}

    def __repr__(self) -> str:
        return f"RecordSource({str(self.directory)!r}, {self.split!r})"


def _metadata_of(info: tfds.core.DatasetInfo) -> dict[str, Any]:
    return cast("dict[str, Any]", info.metadata)  # Which all our builders write.


def _open_reader(directory: pathlib.Path, split: str) -> Any:
    """Opens the records of a split as serialized bytes."""
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    builder = cast("Any", tfds.builder_from_directory(directory))
    return builder.as_data_source(split, deserialize_method=raw)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A prepared dataset.

    Attributes:
      directory: where the records are.
      class_names: names of the labels.
      category_ids: ids of the labels in the annotation file.
      fingerprint: changes whenever the annotations do, wherever they are.
      skipped: one sentence for each annotation or image left out as bad.
      splits: the splits it has, of `SPLITS`.
      warnings: one sentence for each thing that looks like a mistake.
      pixels: how the numbers of the image files become channels.
    """

    directory: pathlib.Path
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    fingerprint: str
    skipped: tuple[str, ...]
    splits: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    pixels: Pixels = RGB

    def source(self, split: str) -> RecordSource:
        """Opens a split, one of `splits`.

        Raises:
          DatasetError: if there is no such split.
        """
        if split not in self.splits:
            raise DatasetError(
                f"The dataset in {self.directory} has no split {split!r}; it has"
                f" {' and '.join(map(repr, self.splits))}."
            )
        return RecordSource(self.directory, split, self.pixels)


def open_dataset(directory: pathlib.Path) -> Dataset:
    """Opens a prepared dataset, in the folder with TFDS's `dataset_info.json`.

    Raises:
      DatasetError: if one of the files that describe the records is damaged.
    """
    with _damage_named(directory):
        metadata = _metadata_of(tfds.builder_from_directory(directory).info)
        return Dataset(
            directory=directory,
            class_names=tuple(metadata["class_names"]),
            category_ids=tuple(metadata["category_ids"]),
            fingerprint=metadata["fingerprint"],
            skipped=tuple(metadata["skipped"]),
            splits=tuple(s for s in SPLITS if s in metadata["num_objects"]),
            # Records of earlier versions have none.
            warnings=tuple(metadata.get("warnings", ())),
        )


@contextlib.contextmanager
def _damage_named(directory: pathlib.Path, file: str = "") -> Iterator[None]:
    """Turns any error of TFDS and array_record into a sentence that says what to do."""
    try:
        yield
    except DatasetError:
        raise
    except Exception as error:
        path = directory / file if file else _bad_metadata(directory)
        reason = " ".join(str(error).split())[:200]
        raise DatasetError(
            f"{path}: is damaged or missing ({type(error).__name__}: {reason}); delete"
            f" the folder {directory}, so that the records are prepared again."
        ) from error


def _bad_metadata(directory: pathlib.Path) -> pathlib.Path:
    """Finds the first damaged json file; the folder if there is none."""
    for name in ("dataset_info.json", "features.json", "metadata.json"):
        try:
            json.loads((directory / name).read_bytes())
        except (OSError, ValueError, RecursionError):
            return directory / name
    return directory


def coco_ground_truth(source: RecordSource) -> dict[str, list[dict[str, Any]]]:
    """Rebuilds the COCO json content of a split, as pycocotools needs it.

    Returns:
      A dict with `images`, `annotations` and `categories`, ids as in the original.
    """
    image_entries, entries = [], []
    for example in source:
        image_entries.append(
            {
                "id": example.image_id,
                "file_name": example.file_name,
                "height": example.height,
                "width": example.width,
            }
        )
        entries += annotation_entries(example, source.category_ids)
    categories = [
        {"id": category_id, "name": name}
        for category_id, name in zip(
            source.category_ids, source.class_names, strict=True
        )
    ]
    return {
        "images": image_entries,
        "annotations": entries,
        "categories": categories,
    }


def annotation_entries(
    example: Example, category_ids: tuple[int, ...]
) -> list[dict[str, Any]]:
    """Annotation entries of one image, as in the json file.

    Args:
      example: the image.
      category_ids: id of each label in the json file.
    """
    annotations: Annotations = example.annotations
    segmentations = _segmentation_entries(annotations.segmentations)
    return [
        {
            "id": int(annotations.ids[i]),
            "image_id": example.image_id,
            "category_id": category_ids[annotations.labels[i]],
            "bbox": annotations.boxes_xywh_px[i].tolist(),
            "area": float(annotations.areas_px[i]),
            "iscrowd": int(annotations.crowd[i]),
            "segmentation": segmentations[i],
        }
        for i in range(len(annotations))
    ]


def _segmentation_entries(segmentations: Segmentations) -> dict[int, Any]:
    """Index of the annotation -> its `segmentation` entry."""
    entries: dict[int, Any] = {}
    ends = np.cumsum(segmentations.ring_sizes)
    rings = np.split(segmentations.points_px, ends[:-1]) if len(ends) else []
    for owner, ring in zip(segmentations.ring_owner.tolist(), rings, strict=True):
        entries.setdefault(owner, []).append(ring.ravel().tolist())
    for owner, string, compressed in zip(
        segmentations.rle_owner.tolist(),
        segmentations.rle_counts,
        segmentations.rle_was_compressed,
        strict=True,
    ):
        text = string.decode()
        counts = text if compressed else rle.counts_from_string(string).tolist()
        entries[owner] = {"size": list(segmentations.size), "counts": counts}
    return entries
