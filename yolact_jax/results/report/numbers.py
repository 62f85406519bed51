"""Everything that a report shows, as plain numbers."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from yolact_jax.results.errors import images, precision, tide
from yolact_jax.results.errors.confusion import confusion_matrix
from yolact_jax.results.errors.matches import THRESHOLDS, Matches, match
from yolact_jax.results.errors.scenes import Kind, Scene, class_names, make_scenes
from yolact_jax.results.errors.scores import best_thresholds, calibration

KINDS: tuple[Kind, ...] = ("box", "mask")
CONFUSION_SCORE = 0.3
_RECALL_LIMITS = (1, 10, 100)


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
    def scenes(self) -> dict[Kind, list[Scene]]:
        """Objects, detections and overlaps of each image, by kind."""
        return {
            kind: make_scenes(self.truth, self.results[kind], kind, self.image_ids)
            for kind in KINDS
        }

    @functools.cached_property
    def matches(self) -> dict[Kind, Matches]:
        """Which detection finds which object, by kind."""
        limit = {"max_detections": self.max_detections}
        return {k: match(self.scenes[k], len(self.names), **limit) for k in KINDS}

    @functools.cached_property
    def errors(self) -> dict[Kind, tide.Errors]:
        """What is wrong with each detection, by kind."""
        return {k: tide.find_errors(self.scenes[k], self.matches[k]) for k in KINDS}

    def recalls(self, kind: Kind) -> dict[str, float]:
        """COCO's average recall with at most 1, 10 and 100 detections, all sizes."""
        limits = sorted({min(n, self.max_detections) for n in _RECALL_LIMITS})
        return {f"AR{n}": average_recall(self.matches[kind], n) for n in limits}


def average_recall(matches: Matches, most: int) -> float:
    """Share of objects found, a mean over classes and thresholds, in [0, 1].

    Args:
      matches: of all images.
      most: detections that count, per image and class, the best of them.
    """
    shares = []
    for _, rows, truths in precision.class_rows(matches):
        if len(truths):
            # What comes later changes nothing for what is before.
            hits = matches.hit[rows[matches.rank[rows] < most]] >= 0
            shares.append(hits.sum(axis=0) / len(truths))
    return float(np.mean(shares)) if shares else float("nan")


def measure(evaluated: Evaluated) -> dict[str, Any]:
    """Computes all numbers of a report but those that need the network.

    Returns:
      What JSON can hold, with None where a number is not defined: `images`, `objects`,
      `class_names`, `classes` (a row each), and by kind "box" and "mask": `recalls`,
      `curves`, `confusion`, `calibration`, `crowding` and `tide`.
    """
    matches = evaluated.matches["mask"]
    return plain(
        {
            "images": matches.num_images,
            "objects": int((~matches.crowd).sum()),
            "class_names": evaluated.names,
            "classes": class_table(evaluated),
            **{kind: _of_kind(evaluated, kind) for kind in KINDS},
        }
    )


def _of_kind(evaluated: Evaluated, kind: Kind) -> dict[str, Any]:
    matches = evaluated.matches[kind]
    return {
        "AP50": tide.precision_without(evaluated.errors[kind], ()),
        "recalls": evaluated.recalls(kind),
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
