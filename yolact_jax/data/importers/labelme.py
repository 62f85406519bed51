"""Json files of labelme, and of programs that write the same."""

import base64
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.importers import content, files, masks, objects
from yolact_jax.data.numbers import coordinate_problem, shown

_CIRCLE_CORNERS = 64
_MIN_INSIDE = 0.99  # Of the pixels of a mask; rounding may put some outside.


def from_labelme(
    annotations_dir: Path, images_dir: Path, *, skip_bad: bool = False
) -> content.Imported:
    """Reads one json file per image; shapes of one label and group are one object.

    Args:
      annotations_dir: the json files, named like the images.
      images_dir: the images; those without a json file have no objects.
      skip_bad: leave out files and shapes that cannot be used instead of raising.

    Raises:
      DatasetError: with every problem found.
    """
    return content.import_labels(
        images_dir,
        {"": files.list_labels(annotations_dir, (".json",), [images_dir])},
        _read,
        leave_out=[annotations_dir],
        skip_bad=skip_bad,
    )


def _read(_: str, file: Path, photo: objects.Photo) -> objects.Labels:
    """Reads one json file."""
    fields = _fields(file)
    stated: Any = fields.get("imageHeight"), fields.get("imageWidth")
    try:
        size = photo.size if None in stated else photo.size_like(stated)
    except ValueError as error:
        raise DatasetError(f"{file}: {error}.") from error
    shapes = enumerate(fields["shapes"])
    parts, problems = objects.sifted(
        f"{file}: shape", shapes, lambda shape: _part(shape, size)
    )
    by_object: dict[Any, list] = {}
    for place, (label, group, part) in enumerate(parts):
        key = (label, place, None) if group is None else (label, None, group)
        by_object.setdefault(key, []).append(part)
    found = [(key[0], _united(group, size)) for key, group in by_object.items()]
    return objects.Labels(size, found, problems)


def _fields(file: Path) -> dict[str, Any]:
    """Parses a json file as far as the list of its shapes."""
    try:
        fields = json.loads(files.read_text(file))
    except DatasetError:
        raise
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{file}: is not valid json ({error}).") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("shapes"), list):
        raise DatasetError(
            f"{file}: is not a json file of labelme, which has a list `shapes`."
        )
    return fields


def _part(shape: Any, size: objects.Size) -> tuple[str, Any, Any]:
    """Reads one shape: its label, group, and ring or mask."""
    if not isinstance(shape, dict):
        raise ValueError(f"is {shown(shape)}, not an object with `label` and `points`")
    label: Any = shape.get("label")
    group = shape.get("group_id")
    if problem := objects.name_problem(label):
        raise ValueError(f"has `label` {problem}")
    if not isinstance(group, int | str | None):
        raise ValueError(f"has `group_id` {shown(group)}, not a number or a name")
    # Old versions wrote null for polygons.
    kind = shape.get("shape_type") or "polygon"
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise ValueError(
            f"is of type {shown(kind)}, which has no area; objects are of the types"
            f" {', '.join(_READERS)}"
        )
    return label, group, reader(_points(shape, kind, size), shape, size)


def _points(shape: dict[str, Any], kind: str, size: objects.Size) -> list[list[float]]:
    """The points of a shape: two numbers each, as many as its type needs."""
    points = shape.get("points")
    if not isinstance(points, list):
        raise ValueError(f"has `points` {shown(points)}, not a list")
    for point in points:
        if not isinstance(point, list) or len(point) != 2:
            raise ValueError(f"has the point {shown(point)}, not two numbers")
        if problem := coordinate_problem(point, size):
            raise ValueError(f"has the coordinate {problem}")
    if kind in ("circle", "mask") and len(points) != 2:
        raise ValueError(f"is a {kind} of {len(points)} points, not of 2")
    return points


def _polygon(points: list, shape: dict[str, Any], size: objects.Size) -> list[float]:
    """Reads a shape that states its corners."""
    return objects.outline(points, size)


def _rectangle(points: list, shape: dict[str, Any], size: objects.Size) -> list[float]:
    """Reads two opposite corners, or all four."""
    if len(points) == 2:
        (x1, y1), (x2, y2) = points
        points = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    return objects.outline(points, size)


def _circle(points: list, shape: dict[str, Any], size: objects.Size) -> list[float]:
    """Reads a center and a point of the rim."""
    (x, y), rim = points
    radius = math.dist((x, y), rim)
    angles = [2 * math.pi * i / _CIRCLE_CORNERS for i in range(_CIRCLE_CORNERS)]
    rim = [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]
    return objects.outline(rim, size)


def _mask(points: list, shape: dict[str, Any], size: objects.Size) -> dict[str, Any]:
    """Reads a PNG file in base64, whose upper left pixel is at the first point."""
    encoded: Any = shape.get("mask")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (TypeError, ValueError) as error:
        raise ValueError(f"has a `mask` that is not base64 ({error})") from error

    def check(mask_size: objects.Size) -> None:
        if mask_size[0] > size[0] or mask_size[1] > size[1]:
            raise ValueError(
                f"has a `mask` of {mask_size[0]} x {mask_size[1]} pixels (height x"
                f" width), more than the image of {size[0]} x {size[1]}"
            )

    whole = np.zeros(size, np.uint8, order="F")
    rows, columns = np.nonzero(masks.decode(data, ("PNG",), check))
    rows, columns = rows + round(points[0][1]), columns + round(points[0][0])
    inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
    whole[rows[inside], columns[inside]] = 1
    if not inside.any() or inside.mean() < _MIN_INSIDE:
        raise ValueError(
            "has a `mask` without pixels, or with pixels outside the image"
        )
    encoded = coco_mask.encode(whole)
    return {"size": list(size), "counts": encoded["counts"].decode()}


_READERS: dict[str, Callable] = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "oriented_rectangle": _polygon,
    "rotation": _polygon,
    "circle": _circle,
    "mask": _mask,
}


def _united(parts: Sequence[Any], size: objects.Size) -> Any:
    """Merges the rings and masks of one object."""
    if all(isinstance(part, list) for part in parts):
        return list(parts)
    encoded = [
        objects.encode([part] if isinstance(part, list) else part, size)
        for part in parts
    ]
    merged: Any = coco_mask.merge(encoded)
    return {"size": list(size), "counts": merged["counts"].decode()}
