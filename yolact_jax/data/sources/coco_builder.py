"""Records of any COCO-format dataset on the local disk."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Iterable
from importlib.resources.abc import Traversable
from typing import Any

from yolact_jax.data import headers, images
from yolact_jax.data.errors import DatasetError, gathered
from yolact_jax.data.pixels import RGB, Pixels
from yolact_jax.data.records import prepare, record
from yolact_jax.data.records.builder import RecordsBuilder, RecordsConfig
from yolact_jax.data.records.dataset import Dataset
from yolact_jax.data.sources import coco_json
from yolact_jax.data.sources.coco_checks import ORIENTATION_APPLIED

_PathLike = str | os.PathLike


@dataclasses.dataclass(eq=False, kw_only=True)
class CocoConfig(RecordsConfig):
    """The validated sets to write.

    Attributes:
      sets: split name -> validated set.
      pixels: how many channels every image has.
    """

    sets: dict[str, coco_json.CocoSet]
    pixels: Pixels = RGB


class CocoFolder(RecordsBuilder):
    """TFDS builder of a local COCO-format dataset, instance masks included."""

    name = "yolact_coco_folder"

    def _split_makers(self, dl_manager: Any) -> dict[str, list[Callable]]:
        """Split name -> one function per record; nothing is downloaded."""
        del dl_manager
        sets, pixels = self.builder_config.sets, self.builder_config.pixels
        return {split: record_makers(sets[split], pixels) for split in sets}


def record_makers(
    coco_set: coco_json.CocoSet, pixels: Pixels = RGB
) -> list[Callable[[], dict[str, Any]]]:
    """Makes one function per image of a validated set, which returns its record.

    The functions read and check the image, and raise DatasetError if it cannot be used,
    or has other channels than `pixels`.
    """
    labels = {
        category_id: label for label, (category_id, _) in enumerate(coco_set.categories)
    }
    return [
        functools.partial(_record, coco_set, labels, pixels, entry)
        for entry in coco_set.images
    ]


def _record(
    coco_set: coco_json.CocoSet,
    labels: dict[int, int],
    pixels: Pixels,
    entry: dict[str, Any],
) -> dict[str, Any]:
    """Makes the record of an image."""
    path = coco_set.images_dir / entry["file_name"]
    data, turning = _checked_image(path, entry, pixels)
    annotations = coco_set.annotations.get(entry["id"], [])
    return record.encode_record(entry, annotations, data, labels, **turning)


def _checked_image(
    path: Traversable, entry: dict[str, Any], pixels: Pixels
) -> tuple[bytes, dict[str, Any]]:
    """Reads an image file, checks its pixels, and decides how to turn it."""
    data = headers.read_file(path)
    name, size = str(path), (entry["height"], entry["width"])
    orientation, told = headers.annotated_orientation(
        headers.read_header(data, name=name),
        size,
        entry.get(ORIENTATION_APPLIED),
        name=name,
    )
    images.decode_values(data, name=name, orientation=orientation, pixels=pixels)
    return data, {"orientation": orientation, "orientation_told": told}


def prepare_coco(
    *,
    data_dir: _PathLike,
    train_annotations: _PathLike | None,
    train_images: _PathLike | None,
    validation_annotations: _PathLike | None,
    validation_images: _PathLike | None,
    skip_bad: bool = False,
    allow_outside_paths: bool = False,
    num_threads: int | None = None,
    pixels: Pixels = RGB,
) -> Dataset:
    """Writes the records of a COCO-format dataset, unless they exist.

    The folder of the records is named by the content of the annotation files and by
    name, size and time of change of the images, so a change is prepared anew, and a
    move is not.

    Args:
      data_dir: folder of all prepared datasets, created if missing.
      train_annotations: json file; None, with `train_images`, for no such split.
      train_images: folder of images.
      validation_annotations: json file, or None.
      validation_images: folder of images, or None.
      skip_bad: leave out bad annotations and images instead of raising.
      allow_outside_paths: whether a `file_name` may lead out of the folder.
      num_threads: threads that read images, by default one per core; the records do not
        depend on it.
      pixels: how many channels every image must have, see `images.decode_values`.  The
        records hold the files as they are.

    Returns:
      The dataset; `skipped` lists what was left out.

    Raises:
      DatasetError: with every problem found; nothing is written then.
    """
    paths = _given_paths(
        train=(train_annotations, train_images),
        validation=(validation_annotations, validation_images),
    )
    _require_all_paths(paths)
    data_dir = pathlib.Path(data_dir).expanduser().absolute()
    options = {"skip_bad": skip_bad, "allow_outside_paths": allow_outside_paths}
    if pixels.channels != RGB.channels:
        options[f"{pixels.channels} channels"] = True
    fingerprint, key = _fingerprint_and_key(paths, options)
    found = prepare.find_prepared(CocoFolder, key, data_dir)
    if found:
        return found
    # Problems of the json files are reported with those of the images.
    sets = _read_sets(paths, allow_outside_paths)
    config = _config(sets, key)
    config.fingerprint, config.skip_bad = fingerprint, skip_bad
    config.num_threads, config.pixels = num_threads, pixels
    return prepare.prepare(CocoFolder, config, data_dir)


def _given_paths(
    **splits: tuple[_PathLike | None, _PathLike | None],
) -> dict[str, tuple[pathlib.Path, pathlib.Path]]:
    """Leaves out the splits that were not given."""
    problems = [
        f"`{split}_{missing}` is missing, but `{split}_{given}` was given."
        for split, (file, folder) in splits.items()
        for missing, given, value, other in (
            ("annotations", "images", file, folder),
            ("images", "annotations", folder, file),
        )
        if value is None and other is not None
    ]
    if problems:
        raise DatasetError(problems)
    return {
        split: (pathlib.Path(file), pathlib.Path(folder))
        for split, (file, folder) in splits.items()
        if file is not None and folder is not None
    }


def _require_all_paths(paths: dict[str, tuple[pathlib.Path, pathlib.Path]]) -> None:
    """Checks files and folders of all splits at once."""
    if not paths:
        raise DatasetError(
            "No dataset was given: neither training nor validation annotations with"
            " their images."
        )
    gathered(
        {
            split: functools.partial(coco_json.require_paths, *places)
            for split, places in paths.items()
        }
    )


def _fingerprint_and_key(
    paths: dict[str, tuple[pathlib.Path, pathlib.Path]], options: dict[str, bool]
) -> tuple[str, str]:
    """Hashes the annotations, and all that the records depend on."""
    annotations, files = [], [repr(sorted(options.items()))]
    for split, (file, folder) in paths.items():
        content = file.read_bytes()
        annotations += [split, content]
        files += [split, *prepare.file_states(folder, coco_json.file_names(content))]
    fingerprint = prepare.fingerprint_of(annotations)
    return fingerprint, prepare.fingerprint_of([fingerprint, *files])


def _read_sets(
    paths: dict[str, tuple[pathlib.Path, pathlib.Path]], allow_outside_paths: bool
) -> dict[str, coco_json.CocoSet]:
    """Reads the usable part of the splits."""
    read = functools.partial(
        coco_json.read_coco, skip_bad=True, allow_outside_paths=allow_outside_paths
    )
    return gathered(
        {split: functools.partial(read, *places) for split, places in paths.items()}
    )


def common_categories(
    sets: Iterable[coco_json.CocoSet],
) -> tuple[tuple[int, str], ...]:
    """Returns the (id, name) pairs of sets that must all have the same classes.

    Raises:
      DatasetError: if they differ.
    """
    first, *others = sets
    for other in others:
        if other.categories != first.categories:
            different = sorted(set(first.categories) ^ set(other.categories))
            raise DatasetError(
                f"{first.annotations_file} and {other.annotations_file} differ in"
                f" `categories`: (id, name) in only one of them: {different}."
            )
    return first.categories


def _config(sets: dict[str, coco_json.CocoSet], key: str) -> CocoConfig:
    """Makes the builder's configuration."""
    categories = common_categories(sets.values())
    return CocoConfig(
        name=key,
        version=str(CocoFolder.VERSION),
        class_names=tuple(name for _, name in categories),
        category_ids=tuple(category_id for category_id, _ in categories),
        skipped=tuple(text for coco_set in sets.values() for text in coco_set.skipped),
        sets=sets,
    )
