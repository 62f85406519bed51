"""Checks of the entries of COCO-format json files, each problem one sentence."""

from collections.abc import Iterator
from importlib.resources.abc import Traversable
from typing import Any

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.sources.segmentation_checks import (
    is_finite,
    is_int,
    segmentation_problem,
)

Entry = dict[str, Any]
# Field of an image, not of COCO: whether its annotations are about the picture that
# viewers show, turned by the EXIF orientation of the file, or the pixels as stored.
ORIENTATION_APPLIED = "exif_orientation_applied"


def check_categories(entries: list, file: str) -> tuple[tuple[int, str], ...]:
    """Returns (id, name) pairs in ascending order of id.

    Args:
      entries: the `categories` list.
      file: name of the json file, for messages.

    Raises:
      DatasetError: an entry has no id or name, or ids or names repeat.
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
        return f"is {entry!r}, not an object with `id` and `name`"
    if not is_int(entry.get("id")):
        return f"has `id` {entry.get('id')!r}, not an integer"
    if not isinstance(entry.get("name"), str):
        return f"has `name` {entry.get('name')!r}, not a string"
    if entry["id"] in names:
        return f"has `id` {entry['id']}, which an earlier category has too"
    if entry["name"] in names.values():
        return f"has `name` {entry['name']!r}, which an earlier category has too"
    return None


def check_images(
    entries: list, file: str, folder: Traversable
) -> tuple[list[Entry], list[str]]:
    """Splits image entries into good ones and problems.

    Args:
      entries: the `images` list.
      file: name of the json file, for messages.
      folder: where the image files are.

    Returns:
      The good entries in their order, and one sentence for each other entry.
    """
    present = {path.name for path in folder.iterdir()}
    good, problems, seen = [], [], set()
    for index, entry in enumerate(entries):
        problem = _image_problem(entry, seen, present, folder)
        if problem:
            problems.append(f"{file}: {_called('image', entry, index)} {problem}.")
        else:
            seen.add(entry["id"])
            good.append(entry)
    return good, problems


def _image_problem(
    entry: Any, seen: set[int], present: set[str], folder: Traversable
) -> str | None:
    """What is wrong with an image entry, given the ids before it."""
    if not isinstance(entry, dict):
        return f"is {entry!r}, not an object"
    if not is_int(entry.get("id")):
        return f"has `id` {entry.get('id')!r}, not an integer"
    if entry["id"] in seen:
        return "has an `id` that an earlier image has too"
    for field in ("height", "width"):
        if not is_int(entry.get(field)) or entry[field] < 1:
            return f"has `{field}` {entry.get(field)!r}, not a positive integer"
    applied = entry.get(ORIENTATION_APPLIED)
    if not isinstance(applied, bool | None):
        return f"has `{ORIENTATION_APPLIED}` {applied!r}, not true or false"
    name = entry.get("file_name")
    if not isinstance(name, str) or not name:
        return f"has `file_name` {name!r}, not the name of a file"
    # File names may have folders in them; most have not, and need no disk access.
    if name not in present and not (folder / name).is_file():
        return f"has `file_name` {name!r}, which is not in {folder}"
    return None


def check_annotations(
    entries: list,
    file: str,
    *,
    sizes: dict[int, tuple[int, int]],
    known_image_ids: set[int],
    category_ids: set[int],
) -> tuple[list[Entry], list[str]]:
    """Splits annotation entries into good ones and problems.

    Args:
      entries: the `annotations` list.
      file: name of the json file, for messages.
      sizes: id of each good image -> (height, width), pixels.
      known_image_ids: ids of all images; annotations of those that are not good are
        left out without a sentence of their own.
      category_ids: the known categories.

    Returns:
      The good entries in their order, and the sentences for the others.
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
        yield f"is {entry!r}, not an object"
        return
    if not is_int(entry.get("id")):
        yield f"has `id` {entry.get('id')!r}, not an integer"
    elif entry["id"] in seen:
        yield "has an `id` that an earlier annotation has too"
    for field, known in (("image_id", image_ids), ("category_id", category_ids)):
        if not is_int(entry.get(field)) or entry[field] not in known:
            section = "images" if field == "image_id" else "categories"
            yield f"has `{field}` {entry.get(field)!r}, which is not in `{section}`"
    crowd = entry.get("iscrowd", 0)
    if not isinstance(crowd, int) or crowd not in (0, 1):
        yield f"has `iscrowd` {crowd!r}, not 0 or 1"
    area = entry.get("area")
    if not is_finite(area) or area < 0:
        yield f"has `area` {area!r}, not a number of square pixels"


def _shape_problems(entry: Entry, size: tuple[int, int]) -> Iterator[str]:
    """What is wrong with the box and the segmentation of an annotation."""
    where = f"of image {entry['image_id']}"
    box_problem = _box_problem(entry.get("bbox"), size)
    if box_problem:
        yield f"{where} has `bbox` {entry.get('bbox')!r}, {box_problem}"
    problem = segmentation_problem(entry.get("segmentation"), size)
    if problem:
        yield f"{where} has {problem}"


def _box_problem(box: Any, size: tuple[int, int]) -> str | None:
    """What is wrong with an xywh box; overshoot and zero area are not wrong."""
    if not isinstance(box, list) or len(box) != 4:
        return "not four numbers x, y, width, height"
    if not all(map(is_finite, box)):
        return "not four finite numbers"
    x, y, width, height = box
    if width < 0 or height < 0:
        return "with a negative width or height"
    if x > size[1] or y > size[0] or x + width < 0 or y + height < 0:
        return f"wholly outside the image of {size[0]} x {size[1]} pixels"
    return None


def _called(kind: str, entry: Any, index: int) -> str:
    """Names an entry by its id if it has one, else by its place in the list."""
    entry_id = entry.get("id") if isinstance(entry, dict) else None
    return f"{kind} number {index}" if entry_id is None else f"{kind} {entry_id}"
