"""Splits the content of a COCO-format file into training and validation."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.folders import duplicates

Content = dict[str, list[dict[str, Any]]]


def split(
    content: Content,
    images_dir: Path,
    *,
    fraction: float,
    seed: int,
    skip_bad: bool = False,
) -> tuple[dict[str, Content], int, list[str]]:
    """Puts a share of the pictures aside for validation.

    Duplicates and near duplicates stay together.  The choice depends on what the files
    hold and the seed, not on their names or order; new pictures move few others.

    Args:
      content: of a whole set.
      images_dir: folder of the images.
      fraction: of the pictures to validate on, in (0, 1).
      seed: another one chooses others.
      skip_bad: leave out damaged pictures instead of raising.

    Returns:
      "train" and "validation" -> content; how many pictures are near another; and one
      sentence for each that was left out.

    Raises:
      DatasetError: if pictures are damaged, or all of them would be on one side.
    """
    paths = [images_dir / entry["file_name"] for entry in content["images"]]
    seen, problems = duplicates.looks(paths)
    if problems and not skip_bad:
        raise DatasetError(problems)
    ids = {content["images"][index]["id"] for index in seen}
    content, looks = _part(content, ids), list(seen.values())
    entries = content["images"]
    groups = duplicates.groups(looks)
    annotated = {entry["image_id"] for entry in content["annotations"]}
    chosen = _chosen(
        groups,
        [look.digest for look in looks],
        [entry["id"] in annotated for entry in entries],
        wanted=max(1, round(fraction * len(entries))),
        seed=seed,
    )
    ids = {entries[index]["id"] for index in chosen}
    if not annotated - ids or not annotated & ids:
        raise DatasetError(
            f"{images_dir}: its {len(entries)} images cannot be split into training and"
            f" validation: {len(groups)} are not near copies of another, and both parts"
            " need one with objects; give a folder for validation."
        )
    parts = {"train": _part(content, ids, False), "validation": _part(content, ids)}
    return parts, len(entries) - len(groups), problems


def _chosen(
    groups: Sequence[Sequence[int]],
    digests: Sequence[str],
    has_objects: Sequence[bool],
    *,
    wanted: int,
    seed: int,
) -> set[int]:
    """Takes groups in random order until there are enough images, some with objects."""

    def order(group: Sequence[int]) -> bytes:
        first = min(digests[index] for index in group)
        return hashlib.sha256(f"{seed} {first}".encode()).digest()

    chosen: set[int] = set()
    for group in sorted(groups, key=order):
        enough = len(chosen) >= wanted and any(has_objects[i] for i in chosen)
        # A group that is most of the images would leave little to train on.
        if not enough and 2 * (len(chosen) + len(group)) <= len(digests) + 1:
            chosen.update(group)
    return chosen


def _part(content: Content, ids: set[int], inside: bool = True) -> Content:
    """Keeps the images with these ids, or the others, and their annotations."""
    kept = {
        "images": [e for e in content["images"] if (e["id"] in ids) == inside],
        "annotations": [
            e for e in content["annotations"] if (e["image_id"] in ids) == inside
        ],
    }
    return {**content, **kept}
