"""Names of classes: those of the published models, given ones, a comparison."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yolact_jax.data.sources import sbd_files

COCO_NAMES = tuple(
    """person, bicycle, car, motorcycle, airplane, bus, train, truck, boat,
    traffic light, fire hydrant, stop sign, parking meter, bench, bird, cat, dog,
    horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag,
    tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat,
    baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup,
    fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot,
    hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table,
    toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster,
    sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier,
    toothbrush""".replace("\n    ", " ").split(", ")
)
# COCO numbered 90 categories and annotated 80 of them.
_COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO_IDS = tuple(i for i in range(1, 91) if i not in _COCO_GAPS)

_FILES = (".txt", ".names", ".csv", ".json", ".yaml", ".yml")

PASCAL_NAMES, PASCAL_IDS = sbd_files.CLASS_NAMES, sbd_files.CATEGORY_IDS


def parse_class_names(text: str) -> tuple[str, ...]:
    """Reads class names, in the order of the labels.

    Args:
      text: a UTF-8 file with one name a line, or the names separated by commas.

    Raises:
      ValueError: if there is no name, one is repeated, or the file is missing or not
        text.
    """
    try:
        # Not of Path, for which a long list is no name of a file but an error.
        is_file = os.path.isfile(text)
        words = Path(text).read_text("utf-8-sig") if is_file else text
    except (OSError, ValueError) as error:
        raise ValueError(
            f"`class_names` {text[:80]} cannot be read: {error}."
        ) from None
    if not is_file and _names_a_file(text):
        raise ValueError(
            f"`class_names` {text[:80]} does not exist; give a file with one name a "
            f"line, or names separated by commas."
        )
    parts = words.splitlines() if is_file else words.split(",")
    names = tuple(part.strip() for part in parts if part.strip())
    repeated = sorted({name for name in names if names.count(name) > 1})
    if not names or repeated:
        fault = f"repeats {repeated[0]}" if repeated else "has no name"
        raise ValueError(
            f"`class_names` {text[:80]} {fault}; give a file with one name a line, or "
            f"names separated by commas."
        )
    return names


def _names_a_file(text: str) -> bool:
    """Whether a text looks like a path, and not like the name of an only class."""
    has_folder = "/" in text or os.sep in text
    return "," not in text and (has_folder or text.lower().endswith(_FILES))


def are_classes(names: Any, ids: Any) -> bool:
    """Whether these are lists of different names and of as many different integers."""
    return (
        isinstance(names, list)
        and isinstance(ids, list)
        and all(isinstance(name, str) for name in names)
        and all(type(number) is int for number in ids)
        and len(names) == len(ids) == len(set(names)) == len(set(ids))
    )


def require_same(
    names: Sequence[str], others: Sequence[str], owner: str, other: str
) -> None:
    """Compares two lists of classes, in the order of the labels.

    Args:
      names: the classes.
      others: what they should be.
      owner: what to call the owner of `names` in messages.
      other: the same for `others`.

    Raises:
      ValueError: naming the first difference.
    """
    if len(names) != len(others):
        raise ValueError(
            f"{owner} has {len(names)} classes and {other} {len(others)}; names and "
            f"order must be the same."
        )
    for label, (name, expected) in enumerate(zip(names, others, strict=True)):
        if name != expected:
            raise ValueError(
                f"class {label} is {name!r} in {owner} and {expected!r} in {other}; "
                f"names and order must be the same."
            )
