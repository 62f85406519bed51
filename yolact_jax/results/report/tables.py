"""The numbers of a report as CSV files, for one's own analysis."""

import csv
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolact_jax.files import replacing
from yolact_jax.results.errors.scores import BestThreshold
from yolact_jax.results.errors.tide import HIT, IGNORED, KINDS, Errors
from yolact_jax.results.report.numbers import Evaluated

Row = Mapping[str, Any]


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Writes these columns of rows, below their names also without any row."""
    with (
        replacing(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(row[name]) for name in columns] for row in rows)


def _cell(value: Any) -> Any:
    """Keeps a text from being run as a formula by a spreadsheet; None is empty."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


def detection_rows(evaluated: Evaluated) -> Iterator[dict[str, Any]]:
    """Yields every mask with its image, class, score, and what is wrong with it."""
    errors, scenes = evaluated.errors["mask"], evaluated.scenes["mask"]
    matches = errors.matches
    for row in range(len(matches.image)):
        scene = scenes[matches.image[row]]
        overlaps = scene.overlaps[matches.place[row]]
        yield {
            "image_id": scene.image_id,
            "class": evaluated.names[matches.labels[row]],
            "score": round(float(matches.scores[row]), 6),
            "error": str(errors.kinds[row]),
            "overlap": round(float(overlaps.max(initial=0.0)), 6),
        }


def image_rows(evaluated: Evaluated) -> list[dict[str, Any]]:
    """Counts objects, detections and errors of the masks of every image."""
    errors = evaluated.errors["mask"]
    counts = {kind: _by_image(errors, kind) for kind in (HIT, IGNORED, *KINDS)}
    objects = _truths(errors, ~errors.matches.crowd)
    found = np.bincount(errors.matches.image, minlength=errors.matches.num_images)
    names = {i["id"]: i.get("file_name", "") for i in evaluated.truth["images"]}
    return [
        {
            "image_id": scene.image_id,
            "file_name": names[scene.image_id],
            "objects": int(objects[number]),
            "detections": int(found[number]),
            **{kind: int(count[number]) for kind, count in counts.items()},
        }
        for number, scene in enumerate(evaluated.scenes["mask"])
    ]


def _by_image(errors: Errors, kind: str) -> np.ndarray:
    if kind == "missed":
        return _truths(errors, errors.missed)
    images = errors.matches.image[errors.kinds == kind]
    return np.bincount(images, minlength=errors.matches.num_images)


def _truths(errors: Errors, chosen: np.ndarray) -> np.ndarray:
    images = errors.matches.truth_image[chosen].astype(int)
    return np.bincount(images, minlength=errors.matches.num_images)


def metric_rows(numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every AP and AR as a row of kind, name and value."""
    rows = []
    for name, value in numbers["metrics"].items():
        kind, _, rest = name.partition("_")
        rows.append({"kind": kind, "metric": rest, "value": value})
    for kind in ("box", "mask"):
        for name, value in numbers[kind]["recalls"].items():
            rows.append({"kind": kind, "metric": name, "value": value})
    return rows


def error_rows(numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each kind of error costs, as rows."""
    return [
        {"kind": kind, "error": name} | row
        for kind in ("box", "mask")
        for name, row in numbers[kind]["tide"].items()
    ]


def curve_rows(numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Precision by recall, as rows."""
    return [
        {"kind": kind, "curve": name, "recall": round(i / 100, 2), "precision": value}
        for kind in ("box", "mask")
        for name, curve in numbers[kind]["curves"].items()
        for i, value in enumerate(curve)
    ]


def confusion_rows(numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Pairs of true and detected class that occur, as rows."""
    names = [*numbers["class_names"], "(background)"]
    return [
        {"kind": kind, "true": names[i], "detected": names[j], "count": count}
        for kind in ("box", "mask")
        for i, row in enumerate(numbers[kind]["confusion"])
        for j, count in enumerate(row)
        if count
    ]


@dataclasses.dataclass(frozen=True)
class Table:
    """A file of a report.

    Attributes:
      name: of the file.
      columns: their names, which every row has.
      rows: its content.
    """

    name: str
    columns: Sequence[str]
    rows: Iterable[Row]


def all_tables(evaluated: Evaluated, numbers: Mapping[str, Any]) -> list[Table]:
    """Every table that a report leaves beside its page."""
    contents = {
        "metrics.csv": metric_rows(numbers),
        "classes.csv": numbers["classes"],
        "sizes.csv": numbers["sizes"],
        "images.csv": image_rows(evaluated),
        "detections.csv": detection_rows(evaluated),
        "errors.csv": error_rows(numbers),
        "precision_recall.csv": curve_rows(numbers),
        "confusion.csv": confusion_rows(numbers),
    }
    return [Table(name, _COLUMNS[name], rows) for name, rows in contents.items()]


_COLUMNS = {
    "metrics.csv": ("kind", "metric", "value"),
    "classes.csv": (
        *("class", "objects", "detections"),
        *("box_AP", "box_AP50", "mask_AP", "mask_AP50"),
        *(field.name for field in dataclasses.fields(BestThreshold)),
    ),
    "sizes.csv": ("kind", "size", "class", "objects", "AP", "AP50", "AR"),
    "images.csv": (
        *("image_id", "file_name", "objects", "detections", HIT, IGNORED),
        *KINDS,
    ),
    "detections.csv": ("image_id", "class", "score", "error", "overlap"),
    "errors.csv": ("kind", "error", "count", "alone", "in_turn"),
    "precision_recall.csv": ("kind", "curve", "recall", "precision"),
    "confusion.csv": ("kind", "true", "detected", "count"),
}
