"""Records of Pascal SBD, the semantic boundaries dataset with its instances.

The official archive has, in `benchmark_RELEASE/dataset`, images in `img/`, instances as
Matlab files in `inst/`, and the split as the lists `train.txt` and `val.txt`.
"""

import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from yolact_jax.data import images, prepare, records
from yolact_jax.data.dataset import Dataset
from yolact_jax.data.errors import DatasetError

CLASS_NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person"),
    *("pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_CATEGORY_IDS = tuple(range(1, len(CLASS_NAMES) + 1))
_LABELS = {category_id: label for label, category_id in enumerate(_CATEGORY_IDS)}
_LISTS = {"train": "train.txt", "validation": "val.txt"}
# Where the archive has it, from the folder it was unpacked in.
_ROOTS = (".", "dataset", "benchmark_RELEASE/dataset")


@dataclasses.dataclass(eq=False, kw_only=True)
class SbdConfig(prepare.RecordsConfig):
    """The images to write.

    Attributes:
      folder: with `img` and `inst`.
      names: split name -> names of its images, without ending.
    """

    folder: pathlib.Path
    names: dict[str, tuple[str, ...]]


class PascalSbd(prepare.RecordsBuilder):
    """TFDS builder of Pascal SBD; ids count from 1 over train, then validation."""

    name = "pascal_sbd"

    def _split_records(self) -> dict[str, Iterator[dict[str, Any]]]:
        """Split name -> its records."""
        config = self.builder_config
        image_ids, annotation_ids = itertools.count(1), itertools.count(1)
        makers = {
            split: [
                functools.partial(
                    _record, config.folder, name, next(image_ids), annotation_ids
                )
                for name in names
            ]
            for split, names in config.names.items()
        }
        return self.usable_splits(makers)


def prepare_sbd(
    *,
    data_dir: str | os.PathLike,
    folder: str | os.PathLike,
    skip_bad: bool = False,
) -> Dataset:
    """Writes the records of Pascal SBD, unless they are there already.

    Args:
      data_dir: folder of all prepared datasets, made if missing.
      folder: where the official archive was unpacked.
      skip_bad: leave out bad images instead of raising.

    Returns:
      The dataset.

    Raises:
      DatasetError: with every problem found; nothing is written then.
    """
    root = _find_root(pathlib.Path(folder).expanduser().absolute())
    lists = {split: (root / file).read_text() for split, file in _LISTS.items()}
    data_dir = pathlib.Path(data_dir).expanduser().absolute()
    fingerprint = prepare.fingerprint_of(
        ["sbd", str(root.resolve()), f"skip_bad={skip_bad}", *lists.values()]
    )
    found = prepare.find_prepared(PascalSbd, fingerprint, data_dir)
    if found:
        return found
    _require_matlab_reader()
    config = SbdConfig(
        name=fingerprint,
        version=str(PascalSbd.VERSION),
        class_names=CLASS_NAMES,
        category_ids=_CATEGORY_IDS,
        skip_bad=skip_bad,
        folder=root,
        names={split: tuple(text.split()) for split, text in lists.items()},
    )
    return prepare.prepare(PascalSbd, config, data_dir)


def _find_root(folder: pathlib.Path) -> pathlib.Path:
    """Finds the folder of the images in what the archive unpacked to."""
    parts = ("img", "inst", *_LISTS.values())
    for root in (folder / name for name in _ROOTS):
        missing = [part for part in parts if not (root / part).exists()]
        if not missing:
            return root
        if len(missing) < len(parts):
            raise DatasetError(f"Pascal SBD in {root} lacks {', '.join(missing)}.")
    raise DatasetError(
        f"Pascal SBD is not in {folder}; it must have {', '.join(parts)}, there or in"
        " benchmark_RELEASE/dataset."
    )


def _require_matlab_reader() -> None:
    """Raises unless scipy is installed: only this dataset needs it."""
    try:
        import scipy.io  # noqa: F401
    except ImportError as error:
        raise DatasetError(
            "Pascal SBD comes as Matlab files, which scipy reads: pip install"
            " 'yolact_jax[sbd]'."
        ) from error


def _record(
    root: pathlib.Path, name: str, image_id: int, annotation_ids: Iterator[int]
) -> dict[str, Any]:
    """Makes the record of an image.

    Raises:
      DatasetError: one of its two files is missing or damaged.
    """
    instances, category_ids = read_instances(root / "inst" / f"{name}.mat")
    path = root / "img" / f"{name}.jpg"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error}).") from error
    images.decode_image(data, name=str(path), expected_size=instances.shape)
    entry = {
        "id": image_id,
        "file_name": path.name,
        "height": instances.shape[0],
        "width": instances.shape[1],
    }
    annotations = [
        {"id": next(annotation_ids), **_annotation(instances == i + 1, category_id)}
        for i, category_id in enumerate(category_ids)
    ]
    return records.encode_record(entry, annotations, data, _LABELS)


def read_instances(file: pathlib.Path) -> tuple[np.ndarray, list[int]]:
    """Reads a Matlab file of instances.

    Args:
      file: with the structure `GTinst`.

    Returns:
      [h, w] uint8, 0 for background and i for the i-th instance, counted from 1; and
      the category ids 1..20 of the instances.

    Raises:
      DatasetError: the file is missing or damaged, or its parts do not fit.
    """
    import scipy.io

    try:
        content = scipy.io.loadmat(file)["GTinst"][0, 0]
        instances = np.array(content["Segmentation"], np.uint8)
        category_ids = np.array(content["Categories"]).ravel().astype(int).tolist()
    except Exception as error:  # Damaged files fail in many ways.
        raise DatasetError(
            f"{file}: cannot be read as a Matlab file with the instances `GTinst`"
            f" ({error})."
        ) from error
    unknown = sorted(set(category_ids) - set(_CATEGORY_IDS))
    if unknown:
        raise DatasetError(f"{file}: has categories {unknown}, not 1..20.")
    numbers = sorted(set(np.unique(instances).tolist()) - {0})
    if numbers != list(range(1, len(category_ids) + 1)):
        raise DatasetError(
            f"{file}: shows the instances {numbers}, but has categories for"
            f" {len(category_ids)}."
        )
    return instances, category_ids


def _annotation(mask: np.ndarray, category_id: int) -> dict[str, Any]:
    """COCO-format annotation of a mask [h, w] bool."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    # Without the last row and column, as in the conversion that the paper used.
    extent = columns[-1] - columns[0], rows[-1] - rows[0]
    return {
        "category_id": category_id,
        "bbox": [float(v) for v in (columns[0], rows[0], *extent)],
        "area": float(mask.sum()),
        "iscrowd": 0,
        "segmentation": {
            "size": list(mask.shape),
            "counts": encoded["counts"].decode(),
        },
    }
