"""The files of Pascal SBD, as in its archive.

In `benchmark_RELEASE/dataset` there are images in `img/`, instances as Matlab files in
`inst/`, and the splits as the lists `train.txt` and `val.txt`.
"""

import pathlib
from typing import Any

import numpy as np

from yolact_jax.data import rle
from yolact_jax.data.errors import DatasetError

CLASS_NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person"),
    *("pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
CATEGORY_IDS = tuple(range(1, len(CLASS_NAMES) + 1))
LISTS = {"train": "train.txt", "validation": "val.txt"}
# Where the archive has it, from the folder it was unpacked in.
_ROOTS = (".", "dataset", "benchmark_RELEASE/dataset")


def find_root(folder: pathlib.Path) -> pathlib.Path:
    """Finds the folder of the images in the unpacked archive."""
    parts = ("img", "inst", *LISTS.values())
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


def names(root: pathlib.Path) -> dict[str, list[str]]:
    """Returns the names of the images of each split, without suffix."""
    return {split: (root / file).read_text().split() for split, file in LISTS.items()}


def require_matlab_reader() -> None:
    """Raises unless scipy is installed: only this dataset needs it."""
    try:
        import scipy.io  # noqa: F401
    except ImportError as error:
        raise DatasetError(
            "Pascal SBD comes as Matlab files, which scipy reads: pip install"
            " 'yolact_jax[sbd]'."
        ) from error


def read_instances(file: pathlib.Path) -> tuple[np.ndarray, list[int]]:
    """Reads the structure `GTinst` of a Matlab file.

    Returns:
      [h, w] uint8, 0 for background and i for the i-th instance, counted from 1; and
      the category ids 1..20 of the instances.

    Raises:
      DatasetError: if the file is missing or damaged, or its parts do not fit.
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
    unknown = sorted(set(category_ids) - set(CATEGORY_IDS))
    if unknown:
        raise DatasetError(f"{file}: has categories {unknown}, not 1..20.")
    numbers = sorted(set(np.unique(instances).tolist()) - {0})
    if numbers != list(range(1, len(category_ids) + 1)):
        raise DatasetError(
            f"{file}: shows the instances {numbers}, but has categories for"
            f" {len(category_ids)}."
        )
    return instances, category_ids


def annotation(mask: np.ndarray, category_id: int) -> dict[str, Any]:
    """Makes the COCO-format annotation of a [h, w] bool mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    # Without the last row and column, as in the conversion that the paper used.
    extent = columns[-1] - columns[0], rows[-1] - rows[0]
    return {
        "category_id": category_id,
        "bbox": [float(v) for v in (columns[0], rows[0], *extent)],
        "area": float(mask.sum()),
        "iscrowd": 0,
        "segmentation": rle.encode(mask),
    }
