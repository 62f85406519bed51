"""Converts other label formats to COCO-format json files."""

import json
import pathlib
import tempfile
from typing import Any

from yolact_jax.data import importers
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.importers import content
from yolact_jax.data.records.dataset import coco_ground_truth
from yolact_jax.data.sources.sbd_builder import prepare_sbd
from yolact_jax.files import write_json

_SBD_FILES = {"train": "pascal_sbd_train.json", "validation": "pascal_sbd_val.json"}
# First in the files, to know them again.
_INFO = {"info": {"description": "Written by yolact_jax convert"}}
_IMPORTERS = {
    "labelme": importers.from_labelme,
    "yolo": importers.from_yolo,
    "png": importers.from_png,
}


def convert(
    source: str,
    annotations: pathlib.Path,
    images: pathlib.Path,
    out: pathlib.Path,
    **options: Any,
) -> importers.Imported:
    """Writes the annotations of a folder of images to a COCO-format json file.

    Args:
      source: the format: "labelme", "yolo" or "png".
      annotations: folder of the label files.
      images: folder of the images.
      out: the file to write; an older one is replaced only if it was written here.
      **options: those of the importer, such as `skip_bad`.

    Returns:
      What was written, and what was left out.

    Raises:
      DatasetError: with every problem found; nothing is written then.
    """
    problems = [
        f"{path}: there is no such folder."
        for path in (annotations, images)
        if not path.is_dir()
    ]
    if annotations.resolve() in out.resolve().parents:
        problems.append(
            f"{out}: is in the folder of the label files; the next conversion would"
            " read it as one of them."
        )
    if problems:
        raise DatasetError(problems)
    _require_ours(out)
    imported = _IMPORTERS[source](annotations, images, **options)
    write_json(out, _INFO | imported.content)
    return imported


def convert_sbd(
    folder: pathlib.Path, out: pathlib.Path, *, skip_bad: bool = False
) -> dict[pathlib.Path, importers.Imported]:
    """Writes both splits of Pascal SBD as COCO-format json files.

    Args:
      folder: the unpacked official archive.
      out: folder of the files to write.
      skip_bad: leave out bad images instead of raising.

    Returns:
      Path of each file -> what was written.

    Raises:
      DatasetError: with every problem found; nothing is written then.
    """
    paths = {split: out / file for split, file in _SBD_FILES.items()}
    for path in paths.values():
        _require_ours(path)
    written = {}
    with tempfile.TemporaryDirectory() as records:
        dataset = prepare_sbd(data_dir=records, folder=folder, skip_bad=skip_bad)
        for split, path in paths.items():
            fields = coco_ground_truth(dataset.source(split))
            skipped = tuple(dataset.skipped)
            written[path] = importers.Imported(fields, skipped, content.summary(fields))
    for path, imported in written.items():
        write_json(path, _INFO | imported.content)
    return written


def _require_ours(path: pathlib.Path) -> None:
    """Refuses to replace a file that no conversion wrote."""
    start = json.dumps(_INFO)[:-1].encode()
    if path.is_symlink() or path.exists():
        if path.is_file():
            with path.open("rb") as file:
                if file.read(len(start)) == start:
                    return
        raise DatasetError(
            f"{path}: is there already, and not from a conversion; give another path,"
            " or remove it."
        )
