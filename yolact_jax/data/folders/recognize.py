"""Recognizes the layout of a folder of labeled pictures."""

from pathlib import Path

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.folders import coco_layout, label_layouts
from yolact_jax.data.folders.places import WHOLE, Layout

_KINDS = {
    "coco": "json files in COCO format",
    "yolo": "a YOLO data.yaml with label files",
    "labelme": "json files of labelme",
    "png": "masks that number the objects",
}


def recognize(folder: Path) -> Layout:
    """Finds the labels of a folder and the images that they belong to.

    Args:
      folder: with json files in COCO format (also as Roboflow exports them), a YOLO
        data.yaml, json files of labelme, or a folder of masks beside `images`.

    Raises:
      DatasetError: if there is no such folder, it has none of these, or more than one.
    """
    if not folder.is_dir():
        raise DatasetError(f"config.data.dir {folder}: there is no such folder.")
    found = [
        layout
        for find in (coco_layout.find, *label_layouts.FINDERS)
        if (layout := find(folder))
    ]
    if len(found) > 1:
        listed = " and ".join(f"{_KINDS[f.kind]} ({_example(f)})" for f in found)
        raise DatasetError(
            f"config.data.dir {folder}: has two kinds of labels, {listed}; move one of"
            " them away."
        )
    if not found:
        raise DatasetError(
            f"config.data.dir {folder}: has no labels that are recognized; looked for"
            f" {', '.join(_KINDS.values())}."
        )
    layout = found[0]
    if WHOLE not in layout.places and "train" not in layout.places:
        raise DatasetError(
            f"config.data.dir {folder}: has {describe(layout)}, but no part to train"
            " on; name a folder or file `train`."
        )
    return layout


def describe(layout: Layout) -> str:
    """Says in a phrase what was recognized."""
    parts = ", ".join(
        f"{split} from {place.labels} with images in {place.images}"
        for split, place in layout.places.items()
    )
    return f"{_KINDS[layout.kind]}: {parts}"


def _example(layout: Layout) -> Path:
    return layout.classes or next(iter(layout.places.values())).labels
