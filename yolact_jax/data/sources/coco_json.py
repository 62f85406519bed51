"""Reads COCO-format datasets: an annotation json file and a folder of images."""

import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from typing import Any

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.numbers import shown
from yolact_jax.data.sources import coco_checks

_FILE_NAME = re.compile(rb'"file_name"\s*:\s*("[^"\\]*(?:\\.[^"\\]*)*")')
_SECTIONS = ("images", "annotations", "categories")


@dataclasses.dataclass(frozen=True)
class CocoSet:
    """A validated COCO-format set.

    Attributes:
      annotations_file: the json file, on disk or in a zip archive.
      images_dir: the folder of images, the same.
      images: entries of the json file in its order.
      annotations: image id -> annotation entries in the order of the json file.
      categories: (id, name) pairs in ascending order of id; label i is the i-th.
      skipped: problems of the entries that `skip_bad` left out.
    """

    annotations_file: Traversable
    images_dir: Traversable
    images: tuple[dict[str, Any], ...]
    annotations: dict[int, list[dict[str, Any]]]
    categories: tuple[tuple[int, str], ...]
    skipped: tuple[str, ...] = ()


def require_paths(annotations_file: pathlib.Path, images_dir: pathlib.Path) -> None:
    """Checks that a set exists, before anything slow starts.

    Raises:
      DatasetError: if the file or the folder is missing, or the folder is empty.
    """
    problems = []
    if not annotations_file.is_file():
        problems.append(
            f"The annotation file {annotations_file} does not exist"
            f" (looked for {annotations_file.absolute()})."
        )
    if not images_dir.is_dir():
        problems.append(
            f"The image folder {images_dir} does not exist"
            f" (looked for {images_dir.absolute()})."
        )
    elif next(iter(images_dir.iterdir()), None) is None:
        problems.append(f"The image folder {images_dir} is empty.")
    if problems:
        raise DatasetError(problems)


def file_names(content: bytes) -> Iterator[str]:
    """Yields the values of all fields `file_name` in the bytes of a json file.

    Much faster than a json parser; yields each also as another system would write it.
    """
    encoding = json.detect_encoding(content)
    if not encoding.startswith("utf-8"):
        content = content.decode(encoding, "replace").encode(errors="replace")
    for quoted in _FILE_NAME.findall(content):
        with contextlib.suppress(ValueError):
            name = json.loads(quoted)
            yield name
            if "\\" in name:
                yield name.replace("\\", "/")


def read_coco(
    annotations_file: str | os.PathLike,
    images_dir: str | os.PathLike,
    *,
    skip_bad: bool = False,
    allow_outside_paths: bool = False,
) -> CocoSet:
    """Reads and validates a COCO-format set; images are not decoded.

    Boxes may overshoot the image and may have no area, as in COCO.

    Args:
      annotations_file: json file with `images`, `annotations` and `categories`.
      images_dir: folder that the `file_name` fields are relative to.
      skip_bad: leave out bad annotations and images instead of raising.
      allow_outside_paths: whether a `file_name` may lead out of the folder.

    Raises:
      DatasetError: with every problem found.
    """
    file, folder = pathlib.Path(annotations_file), pathlib.Path(images_dir)
    require_paths(file, folder)
    return read_set(
        file, folder, skip_bad=skip_bad, allow_outside_paths=allow_outside_paths
    )


def read_set(
    file: Traversable,
    folder: Traversable,
    *,
    skip_bad: bool = False,
    is_annotated: bool = True,
    categories: list[dict[str, Any]] | None = None,
    allow_outside_paths: bool = False,
) -> CocoSet:
    """Reads and validates a set like `read_coco`, also from inside zip archives.

    With `is_annotated` False, the json file has no `annotations`, as for test images;
    `categories` are for a file that has none.

    Raises:
      DatasetError: with every problem found.
    """
    missing = {} if is_annotated else {"annotations": []}
    missing |= {} if categories is None else {"categories": categories}
    content = _read_json(file, missing)
    categories = _without_group(content["categories"], content["annotations"])
    checked = coco_checks.check_categories(categories, str(file))
    images, image_problems = coco_checks.check_images(
        content["images"], str(file), folder, allow_outside_paths
    )
    annotations, annotation_problems = coco_checks.check_annotations(
        content["annotations"],
        str(file),
        sizes={entry["id"]: (entry["height"], entry["width"]) for entry in images},
        known_image_ids=_known_ids(content["images"]),
        category_ids={category_id for category_id, _ in checked},
    )
    problems = image_problems + annotation_problems
    if not images:
        problems.append(f"{file}: no usable image is left in `images`.")
    if problems and not (skip_bad and images):
        raise DatasetError(problems)
    by_image = collections.defaultdict(list)
    for annotation in annotations:
        by_image[annotation["image_id"]].append(annotation)
    return CocoSet(
        file, folder, tuple(images), dict(by_image), checked, tuple(problems)
    )


def _without_group(categories: list, annotations: list) -> list:
    """Leaves out the group that Roboflow lists as a class, if it has a class's name.

    No annotation is of that class, and the class of its name is in it.
    """
    used = [e.get("category_id") for e in annotations if isinstance(e, dict)]
    classes = [c for c in categories if isinstance(c, dict)]

    def is_group(category: Any) -> bool:
        return (
            isinstance(category, dict)
            and category.get("supercategory") == "none"
            and category.get("id") not in used
            and any(
                category.get("name") == other.get("name") == other.get("supercategory")
                for other in classes
                if other is not category
            )
        )

    return [category for category in categories if not is_group(category)]


def _known_ids(entries: list) -> set:
    """Returns the ids of all image entries, good or bad."""
    ids = (entry.get("id") for entry in entries if isinstance(entry, dict))
    return {image_id for image_id in ids if isinstance(image_id, int)}


def _read_json(file: Traversable, missing: dict[str, list]) -> dict[str, list]:
    """Parses the file, adds what may be missing, and checks its outermost structure."""
    try:
        content = json.loads(file.read_bytes(), object_pairs_hook=_object)
    except RecursionError as error:
        raise DatasetError(f"{file}: is nested too deeply to be read.") from error
    except ValueError as error:  # Of json, of the encoding, of integers too long.
        raise DatasetError(
            f"{file}: is not valid json, it may be truncated ({error})."
        ) from error
    if not isinstance(content, dict):
        raise DatasetError(
            f"{file}: holds a json {type(content).__name__}, not an object with"
            " `images`, `annotations` and `categories`."
        )
    content = missing | content
    problems = [
        f"{file}: has no list `{section}`; a COCO-format file has `images`,"
        " `annotations` and `categories`."
        for section in _SECTIONS
        if not isinstance(content.get(section), list)
    ]
    problems += [
        f"{file}: the list `{section}` is empty."
        for section in ("images", "categories")
        if content.get(section) == []
    ]
    if problems:
        raise DatasetError(problems)
    return content


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes a json object, and refuses repeated keys, of which json keeps the last."""
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the key {shown(twice)} twice")
    return made
