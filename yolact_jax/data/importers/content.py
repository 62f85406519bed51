"""Builds the content of a COCO-format file, image by image."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolact_jax.data.errors import DatasetError, gathered
from yolact_jax.data.images import IMAGE_SUFFIXES
from yolact_jax.data.importers import files
from yolact_jax.data.importers.objects import Labels, Photo, measured, read_photo

_MAX_NAMED = 20


@dataclasses.dataclass(frozen=True)
class Imported:
    """Annotations in COCO format.

    Attributes:
      content: what `json.dump` writes.
      skipped: one sentence for each file and object that was left out.
      summary: how many images and objects there are.
    """

    content: dict[str, list]
    skipped: tuple[str, ...]
    summary: str


# Reads a label file of the given class, or of "".
Reader = Callable[[str, Path, Photo], Labels]


def import_labels(
    images_dir: Path,
    labels: Mapping[str, files.Folder],
    read: Reader,
    *,
    class_names: Sequence[str] = (),
    leave_out: Iterable[Path] = (),
    skip_bad: bool = False,
) -> Imported:
    """Reads the labels of every image.

    Args:
      images_dir: the images; those without a label file have no objects.
      labels: the label files by class, or by "" if the files name the classes.
      read: reads the objects of an image.
      class_names: in the order of category ids; by default those that occur, sorted.
      leave_out: files and folders under `images_dir` that are no images.
      skip_bad: leave out files and objects that cannot be used instead of raising.

    Raises:
      DatasetError: with every problem found.
    """
    folder = files.list_folder(images_dir, IMAGE_SUFFIXES, leave_out)
    parts = labels.values()
    problems = folder.problems + [p for part in parts for p in part.problems]
    by_image, unclear = _matched(folder, labels, images_dir)
    problems += dict.fromkeys(unclear.values())
    entries, found = [], []
    for image_id, (name, path) in enumerate(folder.paths.items(), start=1):
        if name in unclear:
            continue
        try:
            entry, labels_of_image = _read_image(path, by_image[name], read)
        except DatasetError as error:
            problems += error.problems
            continue
        entries.append({"id": image_id, "file_name": name, **entry})
        found += [(entries[-1], *item) for item in labels_of_image.objects]
        problems += labels_of_image.problems
    if not found and (skip_bad or not problems):
        problems.append(f"{images_dir}: no image has an object that can be used.")
    if problems and not (skip_bad and found):
        raise DatasetError(problems)
    fields = _fields(entries, found, class_names)
    with_file = sum(bool(by_image[entry["file_name"]]) for entry in entries)
    return Imported(fields, tuple(problems), summary(fields, with_file))


def _matched(
    folder: files.Folder, labels: Mapping[str, files.Folder], images_dir: Path
) -> tuple[dict[str, dict[str, Path]], dict[str, str]]:
    """Finds the label files of each image by class."""
    by_image: dict[str, dict[str, Path]] = collections.defaultdict(dict)
    unclear = {}
    for label, part in labels.items():
        found, others = files.match(part.paths, folder.paths)
        for image, name in found.items():
            by_image[image][label] = part.paths[name]
        for name, (problem, candidates) in others.items():
            if candidates or not files.is_extra(name):
                sentence = f"{part.paths[name]}: {problem} in {images_dir}."
                # Without their objects these images would be backgrounds.
                doubtful = [image for image in candidates if image not in found]
                unclear |= dict.fromkeys(doubtful or [str(part.paths[name])], sentence)
    return by_image, unclear


def _read_image(
    path: Path, label_files: Mapping[str, Path], read: Reader
) -> tuple[dict[str, Any], Labels]:
    """Returns the fields of an image, and its objects."""
    photo = read_photo(path)
    calls = {
        str(file): functools.partial(read, label, file, photo)
        for label, file in label_files.items()
    }
    parts = list(gathered(calls).values()) or [Labels(photo.size, [], [])]
    sizes = {part.size for part in parts}
    if len(sizes) > 1:
        raise DatasetError(f"{path}: has label files of different sizes.")
    every = [item for part in parts for item in part.objects]
    problems = [problem for part in parts for problem in part.problems]
    size = sizes.pop()
    return photo.entry(size), Labels(size, every, problems)


def _fields(
    entries: list[dict], found: list[tuple], class_names: Sequence[str]
) -> dict[str, list]:
    """Builds the content of the json file; ids count from 1."""
    names = class_names or sorted({name for _, name, _ in found})
    ids = {name: category_id for category_id, name in enumerate(names, start=1)}
    return {
        "images": entries,
        "annotations": [
            {"id": place, "category_id": ids[name], **measured(entry, segmentation)}
            for place, (entry, name, segmentation) in enumerate(found, start=1)
        ],
        "categories": [{"id": ids[name], "name": name} for name in names],
    }


def summary(fields: dict[str, list], num_with_file: int | None = None) -> str:
    """Says how many images, objects and classes there are.

    `num_with_file` images have a label file; None leaves that out.
    """
    num_images = len(fields["images"])
    with_objects = len({entry["image_id"] for entry in fields["annotations"]})
    rest = f"{num_images - with_objects} without"
    if num_with_file is not None:
        rest = (
            f"{num_with_file - with_objects} without objects in their label file,"
            f" {num_images - num_with_file} without label file"
        )
    names = [entry["name"] for entry in fields["categories"]]
    listed = ", ".join(names[:_MAX_NAMED]) + ", ..." * (len(names) > _MAX_NAMED)
    return (
        f"{with_objects} images with objects, {rest}; {len(fields['annotations'])}"
        f" objects; {len(names)} classes: {listed}"
    )
