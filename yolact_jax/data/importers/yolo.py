"""YOLO label files: lines of a class and a normalized outline or box."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.importers import content, files, objects
from yolact_jax.data.numbers import shown


def from_yolo(
    labels_dir: Path,
    images_dir: Path,
    classes: Path | Sequence[str],
    *,
    boxes_as_rectangles: bool = False,
    skip_bad: bool = False,
) -> content.Imported:
    """Reads one txt file per image, named like it.

    Args:
      labels_dir: the label files.
      images_dir: the images as viewers show them; those without a label file have no
        objects.
      classes: names of class 0, 1 and so on, or the file that lists them.
      boxes_as_rectangles: take lines of a class and a box as rectangular objects.
      skip_bad: leave out files and lines that cannot be used instead of raising.

    Raises:
      DatasetError: with every problem found.
    """
    is_file = isinstance(classes, Path)
    names = read_class_names(classes) if is_file else tuple(classes)

    def read(_: str, file: Path, photo: objects.Photo) -> objects.Labels:
        return _read(file, photo.size, names, boxes_as_rectangles)

    leave_out = [images_dir, classes] if is_file else [images_dir]
    return content.import_labels(
        images_dir,
        {"": files.list_labels(labels_dir, (".txt",), leave_out)},
        read,
        class_names=names,
        leave_out=[labels_dir],
        skip_bad=skip_bad,
    )


def read_class_names(file: Path) -> tuple[str, ...]:
    """Reads the `names` of a yaml file, or the lines of a text file.

    Raises:
      DatasetError: if the file cannot be read, or a name is missing, empty or repeated.
    """
    lines = [line.strip() for line in files.read_text(file).rstrip().splitlines()]
    is_yaml = any(line.startswith("names:") for line in lines)
    if is_yaml or file.suffix.lower() in (".yaml", ".yml"):
        lines = _yaml_names(file)
    objects.require_names(lines, file)
    return tuple(lines)


def _yaml_names(file: Path) -> list[Any]:
    """Reads the `names` of a yaml file; numbers become text."""
    try:
        fields = yaml.safe_load(files.read_text(file))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DatasetError(f"{file}: is not valid yaml ({reason}).") from error
    names = fields.get("names") if isinstance(fields, dict) else None
    if isinstance(names, dict):
        if list(names) != list(range(len(names))):
            raise DatasetError(
                f"{file}: has `names` of the classes {shown(list(names))}, not 0, 1 and"
                " so on."
            )
        names = list(names.values())
    if not isinstance(names, list):
        raise DatasetError(f"{file}: has no list `names` of the classes.")
    count = fields.get("nc", len(names))
    if count != len(names):
        raise DatasetError(
            f"{file}: has `nc` {shown(count)}, but `names` of {len(names)} classes."
        )
    return [str(name) if type(name) is int else name for name in names]


def _read(
    file: Path, size: objects.Size, names: Sequence[str], boxes_as_rectangles: bool
) -> objects.Labels:
    """Reads one label file."""
    lines = files.read_text(file).splitlines()
    filled = [(n, line.split()) for n, line in enumerate(lines, 1) if line.strip()]

    def parse(words: list[str]) -> objects.Object:
        return _object(words, size, names, boxes_as_rectangles)

    return objects.Labels(size, *objects.sifted(f"{file}: line", filled, parse))


def _object(
    words: list[str],
    size: objects.Size,
    names: Sequence[str],
    boxes_as_rectangles: bool,
) -> objects.Object:
    """Reads one line."""
    try:
        label, *values = map(float, words)
    except ValueError as error:
        raise ValueError(f"is not a class and numbers ({shown(str(error))})") from error
    if label not in range(len(names)):
        raise ValueError(
            f"has class {words[0][:20]}, but there are names for 0 to {len(names) - 1}"
        )
    points = _points(values, boxes_as_rectangles)
    most = objects.MAX_OVERSHOOT
    if not ((-most <= points) & (points <= 1 + most)).all():
        raise ValueError("has a coordinate that is not in 0..1, nor within 1 % of it")
    ring = objects.outline((points.clip(0, 1) * size[::-1]).tolist(), size)
    return names[int(label)], [ring]


def _points(values: list[float], boxes_as_rectangles: bool) -> np.ndarray:
    """Returns the corners of an outline or a box, [n, 2] fractions of the image."""
    if len(values) == 4 and boxes_as_rectangles:
        x, y, width, height = values
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
        return (x, y) + corners * (width / 2, height / 2)
    if len(values) == 4:
        raise ValueError(
            "has an outline of 4 numbers: it is a box; boxes_as_rectangles makes"
            " rectangular objects of boxes"
        )
    if len(values) < 6 or len(values) % 2:
        raise ValueError(
            f"has an outline of {len(values)} numbers; 3 points or more need an even"
            " number from 6 on"
        )
    return np.reshape(values, (-1, 2))
