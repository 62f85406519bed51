"""Other annotation formats as COCO-format content.

Each importer returns what `json.dump` writes, or raises with all problems it found.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from yolact_jax.data import images
from yolact_jax.data.errors import DatasetError

_CIRCLE_CORNERS = 64

# An object: name of its class, and its `segmentation` in COCO format.
_Object = tuple[str, Any]
# Makes the objects of an image from its path and (height, width).
_Reader = Callable[[Path, tuple[int, int]], list[_Object]]


def from_labelme(annotations_dir: Path, images_dir: Path) -> dict:
    """Reads labelme's json files; shapes of one label and group are one object.

    Args:
      annotations_dir: one json file per image, named like it.
      images_dir: the images; those without a json file have no objects.

    Raises:
      DatasetError: with every problem found.
    """

    def read(image: Path, size: tuple[int, int]) -> list[_Object]:
        file = annotations_dir / f"{image.stem}.json"
        return _labelme_objects(file) if file.is_file() else []

    return _import(images_dir, read, sorted(annotations_dir.glob("*.json")))


def _labelme_objects(file: Path) -> list[_Object]:
    """Reads one json file."""
    try:
        parts: dict[Any, list[list[float]]] = {}
        for place, shape in enumerate(json.loads(file.read_bytes())["shapes"]):
            group = shape.get("group_id")
            key = (shape["label"], place if group is None else f"group {group}")
            parts.setdefault(key, []).append(_labelme_ring(shape))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{file}: is not a json file of labelme with polygons, rectangles and"
            f" circles in `shapes` ({type(error).__name__}: {error})."
        ) from error
    return [(label, rings) for (label, _), rings in parts.items()]


def _labelme_ring(shape: dict[str, Any]) -> list[float]:
    """Outline of one shape, x and y in turn."""
    kind, points = shape.get("shape_type", "polygon"), shape["points"]
    if kind == "rectangle" and len(points) == 2:
        (x1, y1), (x2, y2) = points
        points = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    elif kind == "circle":
        (x, y), rim = points
        radius = math.dist((x, y), rim)
        angles = [2 * math.pi * i / _CIRCLE_CORNERS for i in range(_CIRCLE_CORNERS)]
        points = [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]
    elif kind not in ("polygon", "rectangle"):
        raise ValueError(f"a shape of type {kind!r}")
    if len(points) < 3:
        raise ValueError(f"a {kind} of {len(points)} points")
    return [float(value) for point in points for value in point]


def from_yolo(labels_dir: Path, images_dir: Path, class_names: Sequence[str]) -> dict:
    """Reads YOLO segmentation labels: lines of a class and a normalised outline.

    Args:
      labels_dir: one txt file per image, named like it.
      images_dir: the images; those without a txt file have no objects.
      class_names: name of class 0, 1 and so on.

    Raises:
      DatasetError: with every problem found.
    """

    def read(image: Path, size: tuple[int, int]) -> list[_Object]:
        file = labels_dir / f"{image.stem}.txt"
        lines = file.read_text().splitlines() if file.is_file() else []
        return [
            _yolo_object(f"{file}: line {number}", line.split(), size, class_names)
            for number, line in enumerate(lines, start=1)
            if line.strip()
        ]

    return _import(images_dir, read, sorted(labels_dir.glob("*.txt")), class_names)


def _yolo_object(
    where: str, words: list[str], size: tuple[int, int], class_names: Sequence[str]
) -> _Object:
    """Reads one line."""
    try:
        label, values = int(words[0]), list(map(float, words[1:]))
    except ValueError as error:
        raise DatasetError(f"{where} is not a class and numbers ({error}).") from error
    if not 0 <= label < len(class_names):
        raise DatasetError(
            f"{where} has class {label}, but there are names for 0 to"
            f" {len(class_names) - 1}."
        )
    if len(values) < 6 or len(values) % 2:
        raise DatasetError(
            f"{where} has an outline of {len(values)} numbers; 3 points or more need an"
            " even number from 6 on."
        )
    if not all(0 <= value <= 1 for value in values):
        raise DatasetError(f"{where} has a coordinate that is not in 0..1.")
    points = np.reshape(values, (-1, 2)) * (size[1], size[0])
    return class_names[label], [points.ravel().tolist()]


def from_png(masks_dir: Path, images_dir: Path, class_name: str) -> dict:
    """Reads masks whose pixel values number the objects; 0 is background.

    Args:
      masks_dir: one PNG file of 8 or 16 bits and one channel per image, named like it;
        or a folder of such files for each class, named by the class.
      images_dir: the images; those without a mask have no objects.
      class_name: the class of files that are in no folder of a class.

    Raises:
      DatasetError: with every problem found.
    """
    folders = {path.name: path for path in sorted(masks_dir.iterdir()) if path.is_dir()}
    folders = folders or {class_name: masks_dir}

    def read(image: Path, size: tuple[int, int]) -> list[_Object]:
        return [
            (name, segmentation)
            for name, folder in folders.items()
            if (folder / f"{image.stem}.png").is_file()
            for segmentation in _png_masks(folder / f"{image.stem}.png", size)
        ]

    files = [path for folder in folders.values() for path in folder.glob("*.png")]
    return _import(images_dir, read, sorted(files))


def _png_masks(file: Path, size: tuple[int, int]) -> Iterator[dict[str, Any]]:
    """Yields the mask of each number in a file as run lengths."""
    data = np.frombuffer(file.read_bytes(), np.uint8)
    numbers = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if numbers is None or numbers.ndim != 2:
        raise DatasetError(f"{file}: is not a PNG file with one channel.")
    if numbers.shape != size:
        raise DatasetError(
            f"{file}: has {numbers.shape[0]} x {numbers.shape[1]} pixels (height x"
            f" width), but the image has {size[0]} x {size[1]}."
        )
    for number in np.unique(numbers[numbers > 0]):
        encoded = coco_mask.encode(np.asfortranarray(numbers == number, np.uint8))
        yield {"size": list(size), "counts": encoded["counts"].decode()}


def _import(
    images_dir: Path,
    read: _Reader,
    files: Sequence[Path],
    class_names: Sequence[str] = (),
) -> dict[str, list]:
    """Goes through the images.

    Args:
      images_dir: the images.
      read: makes the objects of an image.
      files: the annotation files, each of which needs an image.
      class_names: in the order of category ids; by default those that occur, sorted.

    Raises:
      DatasetError: with every problem found.
    """
    paths = images.image_files(images_dir)
    stems = {path.stem for path in paths}
    lonely = [file for file in files if file.stem not in stems]
    problems = [
        f"{file}: has no image of that name in {images_dir}." for file in lonely
    ]
    entries, objects = [], []
    for image_id, path in enumerate(paths, start=1):
        try:
            size, found = _read_image(path, read)
        except DatasetError as error:
            problems += error.problems
            continue
        entries.append({"id": image_id, "file_name": path.name, **size})
        objects += [(entries[-1], name, segmentation) for name, segmentation in found]
    if not problems and not objects:
        problems.append(f"{images_dir}: no image has an object.")
    if problems:
        raise DatasetError(problems)
    return _content(entries, objects, class_names)


def _read_image(path: Path, read: _Reader) -> tuple[dict[str, int], list[_Object]]:
    """Returns the size and the objects of an image."""
    height, width = images.decode_image(path.read_bytes(), name=str(path)).shape[:2]
    return {"height": height, "width": width}, read(path, (height, width))


def _content(
    entries: list[dict], objects: list[tuple], class_names: Sequence[str]
) -> dict[str, list]:
    """Puts together what the json file holds; ids count from 1."""
    names = class_names or sorted({name for _, name, _ in objects})
    ids = {name: category_id for category_id, name in enumerate(names, start=1)}
    return {
        "images": entries,
        "annotations": [
            {"id": place, "category_id": ids[name], **_measured(entry, segmentation)}
            for place, (entry, name, segmentation) in enumerate(objects, start=1)
        ],
        "categories": [{"id": ids[name], "name": name} for name in names],
    }


def _measured(image_entry: dict[str, Any], segmentation: Any) -> dict[str, Any]:
    """The fields of an annotation that follow from its outline or mask."""
    if isinstance(segmentation, dict):
        encoded = {**segmentation, "counts": segmentation["counts"].encode()}
        bbox = coco_mask.toBbox(encoded).tolist()
    else:
        size = image_entry["height"], image_entry["width"]
        encoded = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
        points = np.concatenate([np.reshape(ring, (-1, 2)) for ring in segmentation])
        low = points.min(axis=0)
        bbox = [*low.tolist(), *(points.max(axis=0) - low).tolist()]
    return {
        "image_id": image_entry["id"],
        "bbox": bbox,
        "area": float(coco_mask.area(encoded)),
        "iscrowd": 0,
        "segmentation": segmentation,
    }
