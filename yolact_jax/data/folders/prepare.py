"""From a folder of labeled pictures in any layout to prepared records."""

import dataclasses
import functools
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from yolact_jax.data import importers
from yolact_jax.data.errors import gathered
from yolact_jax.data.folders.places import WHOLE, Layout, Place
from yolact_jax.data.folders.recognize import describe, recognize
from yolact_jax.data.folders.split import Content, split
from yolact_jax.data.importers.files import list_folder
from yolact_jax.data.pixels import RGB, Pixels
from yolact_jax.data.records.dataset import Dataset
from yolact_jax.data.records.prepare import file_states, fingerprint_of
from yolact_jax.data.sources.coco_builder import prepare_coco
from yolact_jax.data.sources.coco_json import read_coco
from yolact_jax.files import FROM_FOLDERS, read_json, write_json

_LOGGER = logging.getLogger(__name__)
_SUMMARY = "summary.json"
_VERSION = "1"  # Of what is written; another one converts anew.


@dataclasses.dataclass(frozen=True)
class Options:
    """How a folder is read.

    Attributes:
      validation_fraction: of the images, put aside if the folder has no such part.
      split_seed: chooses them.
      skip_bad: leave out what cannot be used instead of raising.
      allow_outside_paths: whether a `file_name` may lead out of the folder of images.
    """

    validation_fraction: float
    split_seed: int
    skip_bad: bool = False
    allow_outside_paths: bool = False


def prepare_folder(
    folder: Path, data_dir: Path, options: Options, pixels: Pixels = RGB
) -> Dataset:
    """Recognizes a folder, logs what it is, and writes its records, unless they exist.

    Labels that are not in COCO format are converted, to json files in `data_dir`; so
    are sets without a part for validation, which are split.

    Args:
      folder: see `recognize`.
      data_dir: folder of all prepared datasets, created if missing.
      options: how to read it.
      pixels: how many channels every image must have.

    Raises:
      DatasetError: with every problem found.
    """
    folder = folder.expanduser().absolute()
    layout = recognize(folder)
    _LOGGER.info("%s has %s.", folder, describe(layout))
    for path in layout.unused:
        _LOGGER.info("%s is not used.", path)
    places = _places(layout)
    if layout.kind != "coco" or "validation" not in places:
        places = _converted(folder, layout, places, data_dir, options)
    return prepare_coco(
        data_dir=data_dir,
        train_annotations=places["train"].labels,
        train_images=places["train"].images,
        validation_annotations=places["validation"].labels,
        validation_images=places["validation"].images,
        skip_bad=options.skip_bad,
        allow_outside_paths=options.allow_outside_paths,
        pixels=pixels,
    )


def _places(layout: Layout) -> dict[str, Place]:
    """Returns the parts to train and validate on, a whole set as "train"."""
    if WHOLE in layout.places:
        return {"train": layout.places[WHOLE]}
    return {s: p for s, p in layout.places.items() if s in ("train", "validation")}


def _converted(
    folder: Path,
    layout: Layout,
    places: dict[str, Place],
    data_dir: Path,
    options: Options,
) -> dict[str, Place]:
    """Writes a json file per split, unless it was, and returns where they are."""
    data_dir = Path(data_dir).expanduser().absolute()
    out = data_dir / FROM_FOLDERS / _key(folder, layout, data_dir, options)
    if not (out / _SUMMARY).is_file():
        contents, summary = _contents(layout, places, options)
        for name, content in contents.items():
            write_json(out / f"{name}.json", content)
        write_json(out / _SUMMARY, summary)
    summary = read_json(out / _SUMMARY)
    for sentence in summary["said"]:
        _LOGGER.info("%s", sentence)
    if summary["skipped"]:
        count, path = len(summary["skipped"]), out / _SUMMARY
        _LOGGER.warning("Left out %d bad labels or images; %s lists them.", count, path)
    images = places["train"].images, places.get("validation", places["train"]).images
    return {
        name: Place(out / f"{name}.json", place)
        for name, place in zip(("train", "validation"), images, strict=True)
    }


def _key(folder: Path, layout: Layout, data_dir: Path, options: Options) -> str:
    """Names a conversion after all it depends on, wherever the folder is."""
    used = [p for place in layout.places.values() for p in (place.labels, place.images)]
    outside = [p for p in used if not p.resolve().is_relative_to(folder.resolve())]
    parts = [_VERSION, repr(options)]
    for root in (folder, *outside):
        listed = list_folder(root, (), [data_dir])
        names = [path.relative_to(root).as_posix() for path in listed.others]
        parts += file_states(root, names)
    return fingerprint_of(parts)


def _contents(
    layout: Layout, places: Mapping[str, Place], options: Options
) -> tuple[dict[str, Content], dict[str, list[str]]]:
    """Reads all splits, and makes the one for validation if there is none."""
    read = functools.partial(_read, layout, options)
    found = gathered(
        {name: functools.partial(read, place) for name, place in places.items()}
    )
    contents = _with_common_classes({name: found[name][0] for name in found})
    said = [f"{name}: {found[name][2]}." for name in found if found[name][2]]
    skipped = [sentence for name in found for sentence in found[name][1]]
    if "validation" not in contents:
        contents, num_near, problems = split(
            contents["train"],
            places["train"].images,
            fraction=options.validation_fraction,
            seed=options.split_seed,
            skip_bad=options.skip_bad,
        )
        skipped += problems
        sizes = [len(contents[name]["images"]) for name in ("train", "validation")]
        said.append(
            f"No part for validation was found: {sizes[1]} of {sum(sizes)} images are"
            f" put aside by data.split_seed {options.split_seed}; {num_near} are near"
            " copies of another and stay with it."
        )
    return contents, {"said": said, "skipped": skipped}


def _read(
    layout: Layout, options: Options, place: Place
) -> tuple[Content, tuple[str, ...], str]:
    """Reads the labels of a split: content, what was left out, what there is."""
    if layout.kind == "coco":
        return _read_coco(place, options)
    read: Callable[..., importers.Imported]
    arguments: tuple[Any, ...] = (place.labels, place.images)
    if layout.kind == "yolo":
        read, arguments = importers.from_yolo, (*arguments, layout.classes)
    else:
        read = {"labelme": importers.from_labelme, "png": importers.from_png}[
            layout.kind
        ]
    imported = read(*arguments, skip_bad=options.skip_bad)
    return imported.content, imported.skipped, imported.summary


def _read_coco(place: Place, options: Options) -> tuple[Content, tuple[str, ...], str]:
    """Reads a json file in COCO format, checked, and all its fields."""
    coco = read_coco(
        place.labels,
        place.images,
        skip_bad=options.skip_bad,
        allow_outside_paths=options.allow_outside_paths,
    )
    content = {
        "images": list(coco.images),
        "annotations": [e for entries in coco.annotations.values() for e in entries],
        "categories": [{"id": i, "name": name} for i, name in coco.categories],
    }
    return content, coco.skipped, ""


def _with_common_classes(contents: dict[str, Content]) -> dict[str, Content]:
    """Gives splits of label files the classes of all of them, sorted by name.

    A class may be in one split only.  A list that is the same everywhere stays.
    """
    lists = {json.dumps(content["categories"]) for content in contents.values()}
    if len(lists) == 1:
        return contents
    names = sorted({c["name"] for x in contents.values() for c in x["categories"]})
    ids = {name: number for number, name in enumerate(names, start=1)}
    categories = [{"id": ids[name], "name": name} for name in names]
    return {
        split: {
            **content,
            "annotations": _renumbered(content, ids),
            "categories": categories,
        }
        for split, content in contents.items()
    }


def _renumbered(content: Content, ids: Mapping[str, int]) -> list[dict[str, Any]]:
    new = {c["id"]: ids[c["name"]] for c in content["categories"]}
    return [
        {**entry, "category_id": new[entry["category_id"]]}
        for entry in content["annotations"]
    ]
