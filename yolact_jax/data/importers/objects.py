"""Objects of label files as COCO-format annotations: checked, clipped and measured."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pycocotools import mask as coco_mask

from yolact_jax.data import headers, images, rings
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.numbers import (
    coordinate_problem,
    shown,
    side_problem,
    text_problem,
)
from yolact_jax.data.sources.coco_checks import ORIENTATION_APPLIED

MAX_OVERSHOOT = 0.01  # Of a side: what rounding and clumsy clicks make.

_T = TypeVar("_T")
# (height, width), pixels.
Size = tuple[int, int]
# An object: name of its class, and its `segmentation` in COCO format.
Object = tuple[str, Any]


@dataclasses.dataclass(frozen=True)
class Photo:
    """An image whose annotations are converted.

    Attributes:
      size: as viewers show it, turned by its EXIF orientation.
      stored_size: without that.
      is_turned: whether the file has an orientation.
    """

    size: Size
    stored_size: Size
    is_turned: bool

    def size_like(self, stated: Size) -> Size:
        """Returns the size that annotations state, if it is one of the two.

        Raises:
          ValueError: with what the annotations "have".
        """
        found = next((s for s in (self.size, self.stored_size) if s == stated), None)
        if found is None:
            raise ValueError(
                f"has {shown(stated[0])} x {shown(stated[1])} pixels (height x width),"
                f" but the image has {self.size[0]} x {self.size[1]}"
            )
        return found  # Of integers, also where 640.0 is stated.

    def entry(self, size: Size) -> dict[str, Any]:
        """Makes the COCO entry of the image for annotations that refer to `size`.

        If the size decides nothing, they refer to the image as viewers show it.
        """
        fields = {"height": size[0], "width": size[1]}
        told = {ORIENTATION_APPLIED: size == self.size} if self.is_turned else {}
        return fields | told


def read_photo(path: Path) -> Photo:
    """Reads an image.

    Raises:
      DatasetError: if it is damaged.
    """
    data = headers.read_file(path)
    header = headers.read_header(data, name=str(path))
    images.preview(data, name=str(path))
    size, stored = header.size(header.orientation), header.size(1)
    if problem := side_problem(max(size)):
        raise DatasetError(f"{path}: has a side of {problem}.")
    return Photo(size, stored, header.orientation != 1)


@dataclasses.dataclass(frozen=True)
class Labels:
    """The content of a label file.

    Attributes:
      size: of the image, to which the objects refer.
      objects: the objects.
      problems: one sentence for each object that cannot be used.
    """

    size: Size
    objects: Sequence[Object]
    problems: Sequence[str]


def sifted(
    where: str, items: Iterable[tuple[int, Any]], parse: Callable[[Any], _T]
) -> tuple[list[_T], list[str]]:
    """Parses each item; returns the results, and one sentence for each bad item.

    Args:
      where: what messages call an item, without its number.
      items: (number, item) pairs.
      parse: raises ValueError with what the item "has" or "is".
    """
    good, problems = [], []
    for number, item in items:
        try:
            good.append(parse(item))
        except ValueError as error:
            problems.append(f"{where} {number} {error}.")
    return good, problems


def outline(points: Sequence[Sequence[float]], size: Size) -> list[float]:
    """Makes a ring, x and y in turn; points up to 1 % outside move into the image.

    Args:
      points: (x, y), pixels; not checked yet.
      size: of the image.

    Raises:
      ValueError: with what the object "has" or "is".
    """
    if problem := coordinate_problem([v for point in points for v in point], size):
        raise ValueError(f"has the coordinate {problem}")
    if len(points) < 3:
        raise ValueError(
            f"has an outline of {len(points)} points; 3 or more are needed"
        )
    ring, sides = np.array(points, np.float64), np.array(size[::-1])
    inside = np.clip(ring, 0, sides)
    ring = np.where(np.abs(ring - inside) <= MAX_OVERSHOOT * sides, inside, ring)
    if (ring.max(axis=0) < 0).any() or (ring.min(axis=0) > sides).any():
        raise ValueError(f"is outside the image of {size[0]} x {size[1]} pixels")
    return ring.ravel().tolist()


def require_names(names: Iterable[Any], file: Path) -> None:
    """Refuses what cannot be the name of a class.

    Raises:
      DatasetError: with every problem found.
    """
    counts = collections.Counter(name for name in names if isinstance(name, str))
    problems = [
        f"{file}: class number {number} has the name {problem}."
        for number, name in enumerate(names)
        if (problem := name_problem(name))
    ]
    problems += [
        f"{file}: {count} classes have the name {name!r}."
        for name, count in counts.items()
        if count > 1
    ]
    if problems or not names:
        raise DatasetError(problems or f"{file}: names no class.")


def name_problem(name: Any) -> str | None:
    """Says what is wrong with the name of a class."""
    if isinstance(name, str) and not name.strip():
        return f"{name!r}, which is empty"
    return text_problem(name)


def measured(image_entry: dict[str, Any], segmentation: Any) -> dict[str, Any]:
    """Returns the fields of an annotation that follow from its outline or mask."""
    size = image_entry["height"], image_entry["width"]
    encoded = encode(segmentation, size)
    if isinstance(segmentation, dict):
        bbox = coco_mask.toBbox(encoded).tolist()
    else:
        points = np.concatenate([np.reshape(ring, (-1, 2)) for ring in segmentation])
        points = np.clip(points, 0, size[::-1])
        low = points.min(axis=0)
        bbox = [*low.tolist(), *(points.max(axis=0) - low).tolist()]
    return {
        "image_id": image_entry["id"],
        "bbox": bbox,
        "area": float(coco_mask.area(encoded)),
        "iscrowd": 0,
        "segmentation": segmentation,
    }


def encode(segmentation: Any, size: Size) -> Any:
    """Returns the run lengths of an object, as pycocotools makes them."""
    if isinstance(segmentation, dict):
        return {**segmentation, "counts": segmentation["counts"].encode()}
    outlines: Any = rings.clipped(segmentation, size)
    return coco_mask.merge(coco_mask.frPyObjects(outlines, *size))
