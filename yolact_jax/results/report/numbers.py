"""Everything that a report shows, as plain numbers."""

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from yolact_jax.results.errors import images, precision, tide
from yolact_jax.results.errors.confusion import confusion_matrix
from yolact_jax.results.errors.matches import SIZES, THRESHOLDS, Matches, match
from yolact_jax.results.errors.scenes import (
    Kind,
    Scene,
    class_names,
    label_of_category,
    make_scenes,
)
from yolact_jax.results.errors.scores import best_thresholds, calibration

KINDS: tuple[Kind, ...] = ("box", "mask")
CONFUSION_SCORE = 0.3
ALL_CLASSES = "all classes"
_RECALL_LIMITS = (1, 10, 100)
_TRUTH_FIELDS = {
    "images": ("id", "height", "width"),
    "annotations": (
        "image_id",
        "category_id",
        "bbox",
        "area",
        "iscrowd",
        "segmentation",
    ),
}


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """What an evaluation found, and what is there.

    Attributes:
      truth: a COCO annotation dictionary.
      results: box entries and mask entries, as from `coco_results`, by kind.
      image_ids: images that were evaluated.
      max_detections: how many detections per image and class count.
    """

    truth: dict
    results: dict[Kind, list[dict]]
    image_ids: Sequence[int]
    max_detections: int

    @functools.cached_property
    def names(self) -> list[str]:
        """Name of each class."""
        return class_names(self.truth)

    @functools.cached_property
    def classes(self) -> dict[int, str]:
        """Name of each category id."""
        return dict(zip(label_of_category(self.truth), self.names, strict=True))

    @functools.cached_property
    def fingerprint(self) -> str:
        """Changes whenever the ids or sizes of the images or their objects do."""
        digest = hashlib.sha256()
        for kind, fields in _TRUTH_FIELDS.items():
            for entry in self.truth[kind]:
                values = [entry.get(field) for field in fields]
                digest.update(json.dumps(values, default=str).encode())
        return digest.hexdigest()[:16]

    @functools.cached_property
    def scenes(self) -> dict[Kind, list[Scene]]:
        """Objects, detections and overlaps of each image, by kind."""
        return {
            kind: make_scenes(self.truth, self.results[kind], kind, self.image_ids)
            for kind in KINDS
        }

    @functools.cached_property
    def matches(self) -> dict[Kind, Matches]:
        """Which detection finds which object, by kind."""
        count, most = len(self.names), self.max_detections
        return {k: match(self.scenes[k], count, max_detections=most) for k in KINDS}

    @functools.cached_property
    def errors(self) -> dict[Kind, tide.Errors]:
        """What is wrong with each detection, by kind."""
        return {k: tide.find_errors(self.scenes[k], self.matches[k]) for k in KINDS}

    def of_size(self, kind: Kind, size: str) -> Matches:
        """The matches of objects of one of `SIZES`."""
        return match(
            self.scenes[kind],
            len(self.names),
            max_detections=self.max_detections,
            areas=SIZES[size],
        )


def class_recall(matches: Matches, most: int) -> np.ndarray:
    """[C] float64, share of the objects found, a mean over thresholds; nan without any.

    Args:
      matches: of all images.
      most: detections that count, per image and class, the best of them.
    """
    result = np.full(matches.num_classes, np.nan)
    for label, rows, truths in precision.class_rows(matches):
        if len(truths):
            # What comes later changes nothing for what is before.
            hits = matches.hit[rows[matches.rank[rows] < most]] >= 0
            result[label] = (hits.sum(axis=0) / len(truths)).mean()
    return result


def measure(evaluated: Evaluated) -> dict[str, Any]:
    """Computes all numbers of a report but those that need the network.

    Returns:
      What JSON can hold, with None where a number is not defined: `images`, `objects`,
      `class_names`, `classes` and `sizes` (rows), and by kind "box" and "mask":
      `recalls`, `curves`, `confusion`, `calibration`, `crowding` and `tide`.
    """
    matches = evaluated.matches["mask"]
    sizes = size_table(evaluated)
    return plain(
        {
            "images": matches.num_images,
            "objects": int((~matches.crowd).sum()),
            "class_names": evaluated.names,
            "classes": class_table(evaluated),
            "sizes": sizes,
            **{kind: _of_kind(evaluated, kind, sizes) for kind in KINDS},
        }
    )


def _of_kind(evaluated: Evaluated, kind: Kind, sizes: list[dict]) -> dict[str, Any]:
    matches = evaluated.matches[kind]
    return {
        "AP50": tide.precision_without(evaluated.errors[kind], ()),
        "recalls": _recalls(evaluated, kind) | _recalls_by_size(kind, sizes),
        "curves": mean_curves(matches),
        "confusion": confusion_matrix(
            evaluated.scenes[kind],
            len(evaluated.names),
            score_threshold=CONFUSION_SCORE,
        ),
        "calibration": dataclasses.asdict(calibration(matches)),
        "crowding": images.by_crowding(matches),
        "tide": tide.budget(evaluated.errors[kind]),
    }


def class_table(evaluated: Evaluated) -> list[dict[str, Any]]:
    """A row for every class: objects, detections, AP, and the best threshold.

    AP is over IoU 0.50 to 0.95; the threshold is that of the masks with the best F1
    at IoU 0.5.
    """
    matches = evaluated.matches["mask"]
    aps = {k: precision.class_precision(evaluated.matches[k]) for k in KINDS}
    best = best_thresholds(matches)
    rows = []
    for label, name in enumerate(evaluated.names):
        truths = (matches.truth_labels == label) & ~matches.crowd
        row: dict[str, Any] = {"class": name, "objects": int(truths.sum())}
        row["detections"] = int((matches.labels == label).sum())
        for kind in KINDS:
            row[f"{kind}_AP"] = float(aps[kind][label].mean())
            row[f"{kind}_AP50"] = float(aps[kind][label, 0])
        rows.append(row | dataclasses.asdict(best[label]))
    return rows


def _recalls(evaluated: Evaluated, kind: Kind) -> dict[str, float]:
    """COCO's average recall with at most 1, 10 and 100 detections, all sizes."""
    limits = sorted({min(n, evaluated.max_detections) for n in _RECALL_LIMITS})
    by_class = {n: class_recall(evaluated.matches[kind], n) for n in limits}
    return {f"AR{n}": precision.mean_of_known(v).item() for n, v in by_class.items()}


def _recalls_by_size(kind: Kind, sizes: list[dict]) -> dict[str, float]:
    return {
        f"AR{row['size']}": row["AR"]
        for row in sizes
        if row["kind"] == kind and row["class"] == ALL_CLASSES and row["size"] != "all"
    }


def size_table(evaluated: Evaluated) -> list[dict[str, Any]]:
    """A row for each kind, size of `SIZES` and class, and for all classes together.

    Returns:
      `kind`, `size`, `class`, `objects`, and COCO's `AP`, `AP50` and `AR`; nan where
      there is no object.
    """
    rows = []
    for kind in KINDS:
        for size in SIZES:
            matches = evaluated.matches[kind]
            if size != "all":
                matches = evaluated.of_size(kind, size)
            rows += [
                {"kind": kind, "size": size, "class": name} | values
                for name, values in _by_class(evaluated, matches)
            ]
    return rows


def _by_class(evaluated: Evaluated, matches: Matches) -> Iterator[tuple[str, dict]]:
    """Yields the numbers of all classes together, then those of each."""
    aps = precision.class_precision(matches)
    table = np.stack(
        [aps.mean(axis=1), aps[:, 0], class_recall(matches, evaluated.max_detections)]
    )
    labels = matches.truth_labels[~matches.crowd].astype(int)
    counts = np.bincount(labels, minlength=len(evaluated.names))
    means = precision.mean_of_known(table.T)
    for name, count, values in (
        (ALL_CLASSES, counts.sum(), means),
        *zip(evaluated.names, counts, table.T, strict=True),
    ):
        numbers = dict(zip(("AP", "AP50", "AR"), values.tolist(), strict=True))
        yield name, {"objects": int(count)} | numbers


def mean_curves(matches: Matches) -> dict[str, np.ndarray]:
    """Precision at recall 0, 0.01, ... 1, a mean over the classes that have objects.

    Returns:
      "IoU 0.50", "IoU 0.75" and "mean", which is over all thresholds, each [101].
    """
    table = []
    for _, rows, truths in precision.class_rows(matches):
        if len(truths):
            table.append(
                [
                    _curve(matches, rows, column, len(truths))
                    for column in range(len(THRESHOLDS))
                ]
            )
    curves = (
        np.mean(table, axis=0) if table else np.full((len(THRESHOLDS), 101), np.nan)
    )
    return {"IoU 0.50": curves[0], "IoU 0.75": curves[5], "mean": curves.mean(axis=0)}


def _curve(matches: Matches, rows: np.ndarray, column: int, count: int) -> np.ndarray:
    rows = rows[~matches.ignored[rows, column]]
    hits = matches.hit[rows, column] >= 0
    curve = precision.curve(hits, np.ones(len(rows)), count)
    return precision.interpolated(*curve)


def plain(value: Any) -> Any:
    """Turns arrays into lists, NumPy numbers into Python's, and nan into None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
