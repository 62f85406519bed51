"""Where the labels and images of a split are, and which split a name means."""

import dataclasses
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from yolact_jax.data.errors import DatasetError
from yolact_jax.files import is_output

SPLITS = ("train", "validation", "test")
WHOLE = "whole"
"""The split of a folder that does not say which split it is."""

_NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_SPLIT_OF = {name: split for split, names in _NAMES.items() for name in names}


@dataclasses.dataclass(frozen=True)
class Place:
    """The labels and images of a split.

    Attributes:
      labels: json file in COCO format, or folder of label files.
      images: folder of the images.
    """

    labels: Path
    images: Path


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the labels in a folder are stored.

    Attributes:
      kind: "coco", "labelme", "yolo" or "png".
      places: split name, or `WHOLE` alone -> where it is.
      classes: yolo: the file that names the classes.
      unused: label files that are not used, such as captions.
    """

    kind: str
    places: dict[str, Place]
    classes: Path | None = None
    unused: tuple[Path, ...] = ()


def split_of(name: str) -> str:
    """Tells which split a file or folder is from a word of its name, else `WHOLE`.

    >>> split_of("instances_val2017.json")
    'validation'
    """
    words = re.findall("[a-z]+", name.lower())
    return next((_SPLIT_OF[word] for word in words if word in _SPLIT_OF), WHOLE)


def subfolders(folder: Path) -> list[Path]:
    """Lists the folders in a folder by name, without hidden ones, runs and records."""
    if not folder.is_dir():
        return []
    return sorted(
        p
        for p in folder.iterdir()
        if p.is_dir() and not p.name.startswith(".") and not is_output(p)
    )


def roots(folder: Path) -> list[Path]:
    """Finds the folders that are named after splits; the whole folder if none is."""
    return _split_folders(folder) or [folder]


def by_split(folder: Path, places: Iterable[Place]) -> dict[str, Place]:
    """Finds the split of each place by the first part of its path that names one.

    Args:
      folder: that all are in.
      places: by root or by labels.

    Raises:
      DatasetError: if two are the same split.
    """
    found: dict[str, Place] = {}
    for place in places:
        parts = place.labels.relative_to(folder).parts
        splits = (_SPLIT_OF.get(part.lower(), WHOLE) for part in parts)
        split = next((split for split in splits if split != WHOLE), WHOLE)
        if split in found:
            raise DatasetError(
                f"config.data.dir {folder}: both {found[split].labels} and"
                f" {place.labels} are the {split} part by their names; move one of them"
                " away."
            )
        found[split] = place
    return found


def paired(
    folder: Path, names: Iterable[str], has_labels: Callable[[Path], bool]
) -> dict[str, Place]:
    """Finds labels that lie beside their images, by split.

    They are ``train/NAME`` and ``train/images``, or ``NAME/train`` and
    ``images/train``, or ``NAME`` and ``images``.

    Args:
      folder: the whole folder.
      names: what folders of labels may be called.
      has_labels: tells folders of labels from others that are called so.

    Raises:
      DatasetError: if two folders are the same split, or only one of labels and images
        has a folder for a split.
    """
    for name in names:
        places = [p for p in _paired(folder, name) if has_labels(p.labels)]
        if places:
            _require_splits_of_both(places)
            return by_split(folder, places)
    return {}


def _paired(folder: Path, name: str) -> list[Place]:
    labels, images = folder / name, folder / "images"
    if labels.is_dir() and images.is_dir():
        inner = _split_folders(labels)
        if inner and all((images / root.name).is_dir() for root in inner):
            return [Place(root, images / root.name) for root in inner]
        return [Place(labels, images)]
    return [
        Place(root / name, root / "images")
        for root in roots(folder)
        if (root / name).is_dir() and (root / "images").is_dir()
    ]


def _require_splits_of_both(places: Iterable[Place]) -> None:
    """Refuses labels in folders of splits with images that are not, and the reverse."""
    for place in places:
        labels, images = (
            [sub.name for sub in _split_folders(root)]
            for root in (place.labels, place.images)
        )
        others = len(subfolders(place.labels)) > len(labels)  # Of classes, perhaps.
        if set(labels) != set(images) and not (labels and others):
            raise DatasetError(
                f"{place.labels} has the folders of splits {labels or 'none'}, and"
                f" {place.images} has {images or 'none'}; both must have the same."
            )


def _split_folders(folder: Path) -> list[Path]:
    return [sub for sub in subfolders(folder) if sub.name.lower() in _SPLIT_OF]


def has_files(folder: Path, suffixes: Iterable[str]) -> bool:
    """Whether files with one of the suffixes are in a folder or its subfolders."""
    wanted = tuple(suffixes)
    return any(path.suffix.lower() in wanted for path in folder.rglob("*"))
