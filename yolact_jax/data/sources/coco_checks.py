"""Checks the entries of COCO-format json files; each problem is one sentence."""

import itertools
import pathlib
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from typing import Any

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.numbers import (
    coordinate_problem,
    int_problem,
    is_int,
    is_number,
    shown,
    side_problem,
    text_problem,
)
from yolact_jax.data.sources.segmentation_checks import segmentation_problem

Entry = dict[str, Any]
# Field of an image, not of COCO: whether its annotations are about the picture that
# viewers show, turned by the EXIF orientation of the file, or the pixels as stored.
ORIENTATION_APPLIED = "exif_orientation_applied"


def check_categories(entries: list, file: str) -> tuple[tuple[int, str], ...]:
    """Returns the (id, name) pairs of the `categories` list, by ascending id.

    Raises:
      DatasetError: if an entry has no id or name, or ids or names repeat.
    """
    problems, names = [], {}
    for index, entry in enumerate(entries):
        problem = _category_problem(entry, names)
        if problem:
            problems.append(f"{file}: category number {index} {problem}.")
        else:
            names[entry["id"]] = entry["name"]
    if problems:
        raise DatasetError(problems)
    return tuple(sorted(names.items()))


def _category_problem(entry: Any, names: dict[int, str]) -> str | None:
    """What is wrong with a category, given those before it."""
    if not isinstance(entry, dict):
        return f"is {shown(entry)}, not an object with `id` and `name`"
    if problem := int_problem(entry.get("id")):
        return f"has `id` {problem}"
    if problem := text_problem(entry.get("name")):
        return f"has `name` {problem}"
    if entry["id"] in names:
        return f"has `id` {entry['id']}, which an earlier category has too"
    if entry["name"] in names.values():
        return f"has `name` {shown(entry['name'])}, which an earlier category has too"
    return None


def check_images(
    entries: list, file: str, folder: Traversable, allow_outside: bool = False
) -> tuple[list[Entry], list[str]]:
    """Splits image entries into good ones and problems.

    Args:
      entries: the `images` list.
      file: name of the json file, for messages.
      folder: where the image files are.
      allow_outside: whether a `file_name` may lead out of the folder.

    Returns:
      The good entries in their order, with `file_name` as the file is called, and one
      sentence for each other entry.
    """
    present = {path.name for path in folder.iterdir()}
    good, problems, seen = [], [], set()
    for index, entry in enumerate(entries):
        problem = _image_problem(entry, seen)
        try:
            name = None if problem else _found(entry, present, folder, allow_outside)
        except DatasetError as error:
            problem = str(error)
        if problem:
            problems.append(f"{file}: {_called('image', entry, index)} {problem}.")
        else:
            seen.add(entry["id"])
            good.append({**entry, "file_name": name})
    return good, problems


def _image_problem(entry: Any, seen: set[int]) -> str | None:
    """What is wrong with an image entry, given the ids before it."""
    if not isinstance(entry, dict):
        return f"is {shown(entry)}, not an object"
    if problem := int_problem(entry.get("id")):
        return f"has `id` {problem}"
    if entry["id"] in seen:
        return "has an `id` that an earlier image has too"
    for field in ("height", "width"):
        if problem := side_problem(entry.get(field)):
            return f"has `{field}` {problem}"
    applied = entry.get(ORIENTATION_APPLIED)
    if not isinstance(applied, bool | None):
        return f"has `{ORIENTATION_APPLIED}` {shown(applied)}, not true or false"
    problem = text_problem(entry.get("file_name"))
    return f"has `file_name` {problem}" if problem else None


def _found(
    entry: Entry, present: set[str], folder: Traversable, allow_outside: bool
) -> str:
    """Finds the file of an image, and returns its name relative to the folder."""
    name = entry["file_name"]
    has = f"has `file_name` {shown(name)}, which"
    # File names may have folders in them; most have not, and need no disk access.
    if name in present:
        return name
    if not allow_outside and _leads_outside(name):
        raise DatasetError(
            f"{has} leads out of {folder}; config.data.allow_outside_paths allows it"
        )
    for candidate in (name, name.replace("\\", "/")):  # As Windows writes it.
        if _is_file(folder, candidate):
            return candidate
    raise DatasetError(f"{has} is not in {folder}")


def _leads_outside(name: str) -> bool:
    """Whether a path, written in any system's way, is absolute or leaves the folder."""
    path = pathlib.PureWindowsPath(name)
    depth = list(itertools.accumulate(-1 if part == ".." else 1 for part in path.parts))
    return bool(path.anchor) or min(depth, default=0) < 0


def _is_file(folder: Traversable, name: str) -> bool:
    """Whether a file exists; False for impossible names."""
    try:
        return bool(name) and (folder / name).is_file()
    except (OSError, ValueError):
        return False


def check_annotations(
    entries: list,
    file: str,
    *,
    sizes: dict[int, tuple[int, int]],
    known_image_ids: set[int],
    category_ids: set[int],
) -> tuple[list[Entry], list[str]]:
    """Splits annotation entries into good ones, in their order, and problems.

    Args:
      entries: the `annotations` list.
      file: name of the json file, for messages.
      sizes: id of each good image -> (height, width), pixels.
      known_image_ids: ids of all images; annotations of bad ones are left out without
        a sentence of their own.
      category_ids: the known categories.
    """
    good, problems, seen = [], [], set()
    for index, entry in enumerate(entries):
        found = list(_annotation_problems(entry, seen, known_image_ids, category_ids))
        image_id = None if found else entry["image_id"]
        if image_id in sizes:
            found += _shape_problems(entry, sizes[image_id])
        name = _called("annotation", entry, index)
        problems += [f"{file}: {name} {problem}." for problem in found]
        if isinstance(entry, dict) and is_int(entry.get("id")):
            seen.add(entry["id"])
        if image_id in sizes and not found:
            good.append(entry)
    return good, problems


def _annotation_problems(
    entry: Any, seen: set[int], image_ids: set[int], category_ids: set[int]
) -> Iterator[str]:
    """What is wrong with the ids and flags of an annotation."""
    if not isinstance(entry, dict):
        yield f"is {shown(entry)}, not an object"
        return
    if problem := int_problem(entry.get("id")):
        yield f"has `id` {problem}"
    elif entry["id"] in seen:
        yield "has an `id` that an earlier annotation has too"
    for field, known in (("image_id", image_ids), ("category_id", category_ids)):
        if not is_int(entry.get(field)) or entry[field] not in known:
            section = "images" if field == "image_id" else "categories"
            found = shown(entry.get(field))
            yield f"has `{field}` {found}, which is not in `{section}`"
    crowd = entry.get("iscrowd", 0)
    if not isinstance(crowd, int) or crowd not in (0, 1):
        yield f"has `iscrowd` {shown(crowd)}, not 0 or 1"
    area = entry.get("area")
    if not is_number(area) or area < 0:
        yield f"has `area` {shown(area)}, not a number of square pixels"


def _shape_problems(entry: Entry, size: tuple[int, int]) -> Iterator[str]:
    """What is wrong with the box and the segmentation of an annotation."""
    where = f"of image {entry['image_id']}"
    box_problem = _box_problem(entry.get("bbox"), size)
    if box_problem:
        yield f"{where} has `bbox` {shown(entry.get('bbox'))}, {box_problem}"
    problem = segmentation_problem(entry.get("segmentation"), size)
    if problem:
        yield f"{where} has {problem}"


def _box_problem(box: Any, size: tuple[int, int]) -> str | None:
    """Says what is wrong with an xywh box; overshoot and zero area are allowed."""
    if not isinstance(box, list) or len(box) != 4:
        return "not four numbers x, y, width, height"
    if problem := coordinate_problem(box, size):
        return f"with the value {problem}"
    x, y, width, height = box
    if width < 0 or height < 0:
        return "with a negative width or height"
    if x > size[1] or y > size[0] or x + width < 0 or y + height < 0:
        return f"wholly outside the image of {size[0]} x {size[1]} pixels"
    return None


def _called(kind: str, entry: Any, index: int) -> str:
    """Names an entry by its id, or else by its place in the list."""
    entry_id = entry.get("id") if isinstance(entry, dict) else None
    return f"{kind} number {index}" if entry_id is None else f"{kind} {shown(entry_id)}"
