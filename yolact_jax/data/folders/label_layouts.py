"""Finds folders of label files: YOLO, labelme and masks."""

import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.folders import coco_layout
from yolact_jax.data.folders.places import (
    WHOLE,
    Layout,
    Place,
    by_split,
    has_files,
    paired,
    roots,
)
from yolact_jax.data.importers import files

_YAML_SPLITS = {"train": ("train",), "validation": ("val", "valid"), "test": ("test",)}
_LABELME_NAMES = ("labels", "annotations", "json", "labelme")
_MASK_NAMES = ("masks", "instances", "labels", "annotations")
_MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
_NO_MASKS = (".json", ".txt", ".xml")


def find_yolo(folder: Path) -> Layout | None:
    """Finds a yaml file with `names`, and the folders it names or that are usual.

    Raises:
      DatasetError: if it names images that are not there, or labels are missing.
    """
    candidates = [*sorted(folder.glob("*.yaml")), *sorted(folder.glob("*.yml"))]
    described = {file: fields for file in candidates if (fields := _yolo_fields(file))}
    if len(described) > 1:
        listed = ", ".join(map(str, described))
        raise DatasetError(
            f"config.data.dir {folder}: has two descriptions of a YOLO data set,"
            f" {listed}; move one of them away."
        )
    if not described:
        return None
    [(file, fields)] = described.items()
    places = _named_places(file, fields) or paired(
        folder, ("labels",), functools.partial(has_files, suffixes=(".txt",))
    )
    if not places:
        raise DatasetError(f"{file}: names no `train` folder, and there is no images.")
    return Layout("yolo", places, classes=file)


def find_labelme(folder: Path) -> Layout | None:
    """Finds json files of labelme, beside the images or in a folder of their own.

    Raises:
      DatasetError: if some are in none of the parts, or two parts are the same split.
    """
    if not any(map(_is_labelme, coco_layout.json_files(folder))):
        return None
    has_json = functools.partial(has_files, suffixes=(".json",))
    places = paired(folder, _LABELME_NAMES, has_json) or by_split(
        folder, [Place(root, root) for root in roots(folder) if has_json(root)]
    )
    used = [place.labels for place in places.values()]
    others = (
        file
        for file in coco_layout.json_files(folder)
        if not any(file.is_relative_to(labels) for labels in used)
    )
    if file := next(filter(_is_labelme, others), None):
        listed = ", ".join(map(str, used))
        raise DatasetError(
            f"config.data.dir {folder}: has json files of labelme in {listed}, and"
            f" others outside, such as {file}; move those away."
        )
    return Layout("labelme", places)


def _is_labelme(file: Path) -> bool:
    return coco_layout.kind_of_json(file) == "labelme"


def find_png(folder: Path) -> Layout | None:
    """Finds masks in a folder of their own beside the images."""
    places = paired(folder, _MASK_NAMES, _has_masks)
    return Layout("png", places) if places else None


def _has_masks(folder: Path) -> bool:
    return has_files(folder, _MASK_SUFFIXES) and not has_files(folder, _NO_MASKS)


FINDERS: tuple[Callable[[Path], Layout | None], ...] = (
    find_yolo,
    find_labelme,
    find_png,
)


def _yolo_fields(file: Path) -> dict[str, Any] | None:
    """Reads a yaml file; None unless it names classes."""
    try:
        fields = yaml.safe_load(files.read_text(file))
    except (yaml.YAMLError, RecursionError, ValueError):
        return None  # Tools leave other yaml files in such folders.
    return fields if isinstance(fields, dict) and "names" in fields else None


def _named_places(file: Path, fields: dict[str, Any]) -> dict[str, Place]:
    """Finds the folders of images that the file names, and their labels."""
    found = {}
    for split, keys in _YAML_SPLITS.items():
        named = next((fields[key] for key in keys if fields.get(key)), None)
        if named is None:
            continue
        if not isinstance(named, str):
            raise DatasetError(
                f"{file}: has several folders as {keys[0]!r}; one is supported."
            )
        images = _resolved(file, fields, named)
        if images is not None:
            found[split] = Place(_labels_beside(images), images)
        elif split != "test":
            raise DatasetError(f"{file}: names the folder {named}, which is not there.")
    same = found.get("train") == found.get("validation")
    return {WHOLE: found["train"]} if same and "train" in found else found


def _resolved(file: Path, fields: dict[str, Any], named: str) -> Path | None:
    """Finds a folder relative to `path`, to the file, or as Roboflow writes it."""
    return next(
        (path for path in _readings(file, fields, named) if path.is_dir()), None
    )


def _readings(file: Path, fields: dict[str, Any], named: str) -> Iterator[Path]:
    base = file.parent / str(fields.get("path") or "")
    for start, name in itertools.product((base, file.parent), (named, _below(named))):
        yield start / name
        yield start / name / "images"


def _below(named: str) -> str:
    """Drops the leading ``../`` of a path that was written for another folder."""
    while named.startswith("../"):
        named = named[3:]
    return named


def _labels_beside(images: Path) -> Path:
    """Replaces the last `images` of a path by `labels`, as YOLO programs do."""
    parts = list(images.parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    labels = Path(*parts)
    if not labels.is_dir():
        raise DatasetError(f"{images}: its labels are not in {labels}.")
    return labels
