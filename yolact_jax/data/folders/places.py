"""Where the labels and images of a split are, and which split a name means."""

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

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
    """Lists the folders in a folder by name, without hidden ones."""
    if not folder.is_dir():
        return []
    return sorted(
        p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")
    )


def roots(folder: Path) -> dict[str, Path]:
    """Finds the folders that are named after splits; `WHOLE` alone if none is."""
    found = {split_of(sub.name): sub for sub in subfolders(folder) if _is_split(sub)}
    return found or {WHOLE: folder}


def paired(folder: Path, names: Iterable[str]) -> dict[str, Place]:
    """Finds labels that lie beside their images, by split.

    They are ``train/NAME`` and ``train/images``, or ``NAME/train`` and
    ``images/train``, or ``NAME`` and ``images``.

    Args:
      folder: the whole folder.
      names: what folders of labels may be called.
    """
    for name in names:
        found = _paired(folder, name)
        if found:
            return found
    return {}


def _paired(folder: Path, name: str) -> dict[str, Place]:
    labels, images = folder / name, folder / "images"
    if labels.is_dir() and images.is_dir():
        inner = {split: root for split, root in roots(labels).items() if split != WHOLE}
        if inner and all((images / root.name).is_dir() for root in inner.values()):
            return {s: Place(root, images / root.name) for s, root in inner.items()}
        return {WHOLE: Place(labels, images)}
    return {
        split: Place(root / name, root / "images")
        for split, root in roots(folder).items()
        if (root / name).is_dir() and (root / "images").is_dir()
    }


def has_files(folder: Path, suffixes: Iterable[str]) -> bool:
    """Whether files with one of the suffixes are in a folder or its subfolders."""
    wanted = tuple(suffixes)
    return any(path.suffix.lower() in wanted for path in folder.rglob("*"))


def _is_split(folder: Path) -> bool:
    return folder.name.lower() in _SPLIT_OF
