"""COCO average precision of detected instances, measured by pycocotools."""

import contextlib
import io
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yolact_jax.data import rings
from yolact_jax.results.coco_entries import coco_results, collect_results, write_results

__all__ = [
    "coco_results",
    "collect_results",
    "evaluate_coco",
    "format_table",
    "write_results",
]

_IOU_TYPES: dict[str, Literal["segm", "bbox"]] = {"mask": "segm", "box": "bbox"}
_AREA_SUFFIXES = {"": 0, "s": 1, "m": 2, "l": 3}  # the order of COCOeval's areaRng
_COLUMNS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
_REQUIRED_FIELDS = ("image_id", "category_id", "bbox", "area", "segmentation")


def evaluate_coco(
    ground_truth: dict,
    box_results: Sequence[dict],
    mask_results: Sequence[dict],
    *,
    max_detections: int = 100,
    image_ids: Sequence[int] | None = None,
    per_class: bool = False,
    evaluator: str = "pycocotools",
) -> dict[str, float]:
    """Computes COCO average precision of boxes and masks.

    Args:
      ground_truth: A COCO annotation dictionary; segmentations may be polygons or
        run-length codes, a missing ``iscrowd`` counts as 0. It is not modified.
      box_results: Box entries, as from `coco_results`.
      mask_results: Mask entries, as from `coco_results`.
      max_detections: How many detections per image and class are counted, best first.
      image_ids: Images to evaluate; None takes all images of ``ground_truth``.
      per_class: Whether to add one ``mask_AP/<name>`` and ``box_AP/<name>`` for every
        category.
      evaluator: "pycocotools", whose numbers are those of record, or "faster", the same
        by the package faster-coco-eval.

    Returns:
      ``mask_AP``, ``mask_AP50``, ``mask_AP75``, ``mask_APs``, ``mask_APm``,
      ``mask_APl`` and the same with ``box_``, fractions in [0, 1]; s, m, l are objects
      below 32**2, between, and above 96**2 square pixels. A value is nan where there
      is no ground truth of that kind (pycocotools reports -1 there).

    Raises:
      ValueError: If an annotation lacks a field, a result names an image or category
        that ``ground_truth`` lacks, a polygon has a coordinate that is not finite, or
        ``max_detections`` is below 1.
    """
    if max_detections < 1:
        raise ValueError(f"max_detections is {max_detections}, must be at least 1.")
    make_evaluator = _evaluator(evaluator)
    truth = _index_ground_truth(ground_truth)
    image_ids = sorted(truth.imgs if image_ids is None else set(image_ids))
    _check_image_ids(image_ids, truth)
    names = [truth.cats[i].get("name", str(i)) for i in sorted(truth.cats)]
    metrics = {}
    for kind, results in (("mask", mask_results), ("box", box_results)):
        _check_results(results, truth, kind)
        precision = _precision(
            truth, results, kind, image_ids, max_detections, make_evaluator
        )
        metrics |= _summary(precision, kind)
        if per_class:
            for k, name in enumerate(names):
                metrics[f"{kind}_AP/{name}"] = _mean(precision[:, :, k, 0])
    return metrics


def format_table(metrics: dict[str, float]) -> str:
    """Formats AP in percent: a row for boxes and masks, and one for every class.

    "-" stands for nan; there is no trailing newline.
    """
    lines = ["      " + "".join(f"{name:>7}" for name in _COLUMNS)]
    for kind in ("box", "mask"):
        cells = (_cell(metrics[f"{kind}_{name}"]) for name in _COLUMNS)
        lines.append(f"{kind:<6}" + "".join(cells))
    names = [key.partition("/")[2] for key in metrics if key.startswith("mask_AP/")]
    if names:
        width = max(map(len, [*names, "class"]))
        lines += ["", f"{'class':<{width}}{'box AP':>9}{'mask AP':>9}"]
    for name in names:
        cells = (_cell(metrics[f"{kind}_AP/{name}"], 9) for kind in ("box", "mask"))
        lines.append(f"{name:<{width}}" + "".join(cells))
    return "\n".join(lines)


def _index_ground_truth(ground_truth: dict) -> COCO:
    """Indexes a copy, with ids counted from 1: COCOeval takes id 0 for "no match"."""
    annotations = []
    images = {image["id"]: image for image in ground_truth["images"]}
    for number, annotation in enumerate(ground_truth["annotations"], start=1):
        for field in _REQUIRED_FIELDS:
            if annotation.get(field) in (None, [], {}):
                raise ValueError(
                    f"annotation {annotation.get('id')} of ground_truth has no "
                    f"{field!r}, must have {', '.join(_REQUIRED_FIELDS)}."
                )
        entry = {"iscrowd": 0} | annotation | {"id": number}
        image = images.get(entry["image_id"])
        if image and isinstance(entry["segmentation"], list):
            size = image["height"], image["width"]
            entry["segmentation"] = rings.clipped(entry["segmentation"], size)
        annotations.append(entry)
    return _index(ground_truth["images"], ground_truth["categories"], annotations)


def _check_results(results: Sequence[dict], truth: COCO, kind: str) -> None:
    for number, result in enumerate(results):
        for field, known in (("image_id", truth.imgs), ("category_id", truth.cats)):
            if result[field] not in known:
                raise ValueError(
                    f"{field} {result[field]} of {kind} result {number} is not in "
                    f"ground_truth, which has {len(known)} others."
                )


def _index_results(results: Sequence[dict], truth: COCO, kind: str) -> COCO:
    """Indexes a copy of the results; unlike COCO.loadRes, accepts an empty list."""
    annotations = []
    for number, result in enumerate(results, start=1):
        area = (
            float(coco_mask.area(result["segmentation"]))
            if kind == "mask"
            else result["bbox"][2] * result["bbox"][3]
        )
        annotations.append(result | {"id": number, "area": area, "iscrowd": 0})
    return _index(truth.dataset["images"], truth.dataset["categories"], annotations)


def _index(images: list, categories: list, annotations: list) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": images,
        "categories": categories,
        "annotations": annotations,
    }
    with _silence():
        coco.createIndex()
    return coco


def _check_image_ids(image_ids: Sequence[int], truth: COCO) -> None:
    missing = [i for i in image_ids if i not in truth.imgs]
    if missing:
        raise ValueError(
            f"image_ids has {missing[0]}, must be among the {len(truth.imgs)} images "
            "of ground_truth."
        )


def _precision(
    truth: COCO,
    results: Sequence[dict],
    kind: str,
    image_ids: list[int],
    most: int,
    make_evaluator: Callable[[COCO, COCO, Any], Any],
) -> np.ndarray:
    """Interpolated precision, -1 where there is no ground truth.

    One class after the other: pycocotools keeps kilobytes for each of class, image and
    size, and copies all that it is given.
    """
    of_class: dict[int, list[dict]] = {category: [] for category in sorted(truth.cats)}
    for result in results:
        of_class[result["category_id"]].append(result)
    parts = []
    for category, some in of_class.items():
        annotations = [
            a for a in truth.dataset["annotations"] if a["category_id"] == category
        ]
        part = _index(truth.dataset["images"], [truth.cats[category]], annotations)
        found = _index_results(some, part, kind)
        evaluator = make_evaluator(part, found, _IOU_TYPES[kind])
        evaluator.params.imgIds = image_ids
        # COCOeval.summarize is not used: it knows no limit but 100.
        evaluator.params.maxDets = [most]
        with _silence():
            evaluator.evaluate()
            evaluator.accumulate()
        parts.append(evaluator.eval["precision"][..., 0])
    none = np.zeros((10, 101, 0, len(_AREA_SUFFIXES)))  # There may be no class at all.
    return np.concatenate([none, *parts], axis=2)


def _evaluator(name: str) -> Callable[[COCO, COCO, Any], Any]:
    """Returns the class that measures.

    Raises:
      ValueError: if it is unknown or its package is missing.
    """
    if name == "pycocotools":
        return COCOeval
    if name != "faster":
        raise ValueError(f"evaluator is {name!r}, must be 'pycocotools' or 'faster'.")
    try:
        from faster_coco_eval import COCOeval_faster
    except ImportError as error:
        raise ValueError(
            "evaluator 'faster' needs the package faster-coco-eval; install "
            "yolact_jax[faster]."
        ) from error
    return lambda truth, found, kind: COCOeval_faster(cast("Any", truth), found, kind)


def _summary(precision: np.ndarray, kind: str) -> dict[str, float]:
    summary = {
        f"{kind}_AP{suffix}": _mean(precision[..., area])
        for suffix, area in _AREA_SUFFIXES.items()
    }
    # IoU thresholds are 0.50, 0.55, ... 0.95.
    summary[f"{kind}_AP50"] = _mean(precision[0, ..., 0])
    summary[f"{kind}_AP75"] = _mean(precision[5, ..., 0])
    return {f"{kind}_{name}": summary[f"{kind}_{name}"] for name in _COLUMNS}


def _mean(precision: np.ndarray) -> float:
    present = precision[precision > -1]
    return float(present.mean()) if present.size else float("nan")


def _cell(fraction: float, width: int = 7) -> str:
    return f"{'-' if np.isnan(fraction) else f'{100 * fraction:.2f}':>{width}}"


def _silence() -> contextlib.redirect_stdout:
    return contextlib.redirect_stdout(io.StringIO())
