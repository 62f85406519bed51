"""Finds json files in COCO format and the folders of their images."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.folders.places import WHOLE, Layout, Place, split_of, subfolders
from yolact_jax.data.sources.coco_json import file_names

_START_BYTES = 1 << 16
_LIST = r'"{}"\s*:\s*\['
_COCO = re.compile(_LIST.format("(images|annotations|categories)").encode())
_LABELME = re.compile(_LIST.format("shapes").encode())
_INSTANCES = "instances"
_TRIED = 20  # Files of each json file that decide which folder has them.


def kind_of_json(file: Path) -> str:
    """Tells "coco", "labelme" or "" from the start of a json file, or all of it."""
    with file.open("rb") as opened:
        data = opened.read(_START_BYTES)
        kind = _kind(data)
        return kind or _kind(data + opened.read())


def json_files(folder: Path) -> Iterator[Path]:
    """Yields json files in a folder and its subfolders, to a depth of two."""
    inner = subfolders(folder)
    for place in (folder, *inner, *itertools.chain(*map(subfolders, inner))):
        yield from sorted(p for p in place.iterdir() if p.suffix.lower() == ".json")


def find(folder: Path) -> Layout | None:
    """Finds the json files of all splits and the folders that have their images.

    Raises:
      DatasetError: if two files may be the same split, or the images are not found.
    """
    every = [file for file in json_files(folder) if kind_of_json(file) == "coco"]
    # COCO has key points and captions of the same images beside its instances.
    instances = [file for file in every if file.name.startswith(_INSTANCES)]
    files = instances or every
    if not files:
        return None
    by_split: dict[str, list[Path]] = {}
    for file in files:
        by_split.setdefault(_split_of_path(file, folder), []).append(file)
    _require_one_each(folder, by_split)
    places = {s: Place(f[0], _images_of(f[0], folder)) for s, f in by_split.items()}
    unused = tuple(file for file in every if file not in files)
    return Layout("coco", places, unused=unused)


def _kind(data: bytes) -> str:
    if _LABELME.search(data):
        return "labelme"
    return "coco" if _COCO.search(data) else ""


def _split_of_path(path: Path, folder: Path) -> str:
    """Reads the split from the name of a file or folder, or of those it is in."""
    found = map(split_of, reversed(path.relative_to(folder).parts))
    return next((split for split in found if split != WHOLE), WHOLE)


def _require_one_each(folder: Path, by_split: dict[str, list[Path]]) -> None:
    """Refuses two files for a split, and files of which only some are splits."""
    for split, files in by_split.items():
        if len(files) > 1 or (split == WHOLE and len(by_split) > 1):
            others = [f for s in by_split for f in by_split[s]]
            named = ", ".join(str(f) for f in (files if len(files) > 1 else others))
            raise DatasetError(
                f"config.data.dir {folder}: it is not clear which of these json files"
                f" to use: {named}; move the others away, or name train and val in"
                " their names."
            )


def _images_of(file: Path, folder: Path) -> Path:
    """Finds the folder under which the files of a json file are.

    Files of other folders may have the same names: those of other splits, or masks.
    """
    names = list(itertools.islice(file_names(file.read_bytes()), _TRIED))
    inner = subfolders(folder)
    candidates = [file.parent, file.parent / "images", folder, *inner]
    candidates += itertools.chain(*map(subfolders, inner))
    counts = {
        place: sum((place / name).is_file() for name in names)
        for place in dict.fromkeys(candidates)
    }
    best = max(counts.values())
    if not best:
        example = names[0] if names else "no file name"
        raise DatasetError(
            f"{file}: its images ({example} first) are in none of the folders of"
            f" {folder}."
        )
    same = {p.resolve(): p for p, count in counts.items() if count == best}.values()
    wanted = _split_of_path(file, folder)
    for fits in (
        lambda place: _split_of_path(place, folder) == wanted,
        lambda place: _split_of_path(place, folder) == WHOLE,
        lambda place: place == file.parent,
        lambda place: "images" in place.relative_to(folder).parts,
    ):
        same = [place for place in same if fits(place)] or same
    first, *others = same
    if others:
        listed = ", ".join(map(str, same))
        raise DatasetError(
            f"{file}: its images may be those of {listed}, which have the same names;"
            " move the others away, or call the folder `images`."
        )
    return first
