"""The objects and detections of each image, and how they overlap."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, cast

import numpy as np
from pycocotools import mask as coco_mask

from yolact_jax.data import rings

Kind = Literal["box", "mask"]


@dataclasses.dataclass(frozen=True)
class Scene:
    """The G objects and D detections of one image.

    Attributes:
      image_id: of the image.
      truth_labels: [G] int64, classes counted from 0.
      truth_areas: [G] float64, square pixels, as annotated.
      crowd: [G] bool, whether the annotation is a crowd region.
      labels: [D] int64, classes counted from 0.
      areas: [D] float64, square pixels, of the box or of the mask.
      scores: [D] float64.
      overlaps: [D, G] float64, IoU; on crowds the share of the detection inside.
    """

    image_id: int
    truth_labels: np.ndarray
    truth_areas: np.ndarray
    crowd: np.ndarray
    labels: np.ndarray
    areas: np.ndarray
    scores: np.ndarray
    overlaps: np.ndarray


def make_scenes(
    ground_truth: dict,
    results: Iterable[dict],
    kind: Kind,
    image_ids: Sequence[int] | None = None,
) -> list[Scene]:
    """Overlaps the detections of each image with its objects, across all classes.

    Args:
      ground_truth: a COCO annotation dictionary.
      results: COCO result entries, of boxes or of masks.
      kind: which of the two is compared.
      image_ids: of the images to use; None takes all.

    Returns:
      A scene for every image, by ascending id, as pycocotools orders them.
    """
    label_of = label_of_category(ground_truth)
    images = {image["id"]: image for image in ground_truth["images"]}
    truths = _by_image(ground_truth["annotations"])
    found = _by_image(results)
    wanted = images if image_ids is None else image_ids
    return [
        _scene(images[i], truths.get(i, []), found.get(i, []), kind, label_of)
        for i in sorted(set(wanted))
    ]


def truth_rle(annotation: dict, size: tuple[int, int]) -> dict[str, Any]:
    """Run-length codes an annotation: polygons, or either form of run lengths."""
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, list):
        clipped = cast("Any", rings.clipped(segmentation, size))
        return cast("Any", coco_mask.merge(coco_mask.frPyObjects(clipped, *size)))
    if isinstance(segmentation["counts"], list):
        return cast("Any", coco_mask.frPyObjects(segmentation, *size))
    return segmentation


def _by_image(entries: Iterable[dict]) -> dict[int, list[dict]]:
    groups: dict[int, list[dict]] = {}
    for entry in entries:
        groups.setdefault(entry["image_id"], []).append(entry)
    return groups


def _scene(
    image: dict, truths: list[dict], found: list[dict], kind: Kind, label_of: dict
) -> Scene:
    size = image["height"], image["width"]
    crowd = np.array([bool(t.get("iscrowd", 0)) for t in truths], bool)
    if kind == "mask":
        shapes = [truth_rle(t, size) for t in truths]
        guesses = [f["segmentation"] for f in found]
        areas = coco_mask.area(cast("Any", guesses))
    else:
        shapes, guesses = ([e["bbox"] for e in entries] for entries in (truths, found))
        areas = [width * height for _, _, width, height in guesses]
    return Scene(
        image_id=image["id"],
        truth_labels=_column(truths, label_of),
        truth_areas=np.array([t["area"] for t in truths], float),
        crowd=crowd,
        labels=_column(found, label_of),
        areas=np.array(areas, float),
        scores=np.array([f["score"] for f in found], float),
        overlaps=overlaps(guesses, shapes, crowd),
    )


def _column(entries: list[dict], label_of: dict[int, int]) -> np.ndarray:
    return np.array([label_of[e["category_id"]] for e in entries], np.int64)


def overlaps(found: list, truths: list, crowd: np.ndarray) -> np.ndarray:
    """[D, G] float64 IoU of run-length codes, or of boxes (x, y, width, height)."""
    if not found or not truths:
        return np.zeros((len(found), len(truths)))
    return np.asarray(coco_mask.iou(found, truths, crowd.astype(np.uint8).tolist()))


def label_of_category(ground_truth: dict) -> dict[int, int]:
    """Label of each category id, counted from 0 in the order of ids."""
    return {c["id"]: label for label, c in enumerate(_categories(ground_truth))}


def class_names(ground_truth: dict) -> list[str]:
    """Name of each label of a scene."""
    return [str(c.get("name", c["id"])) for c in _categories(ground_truth)]


def _categories(ground_truth: dict) -> list[dict]:
    return sorted(ground_truth["categories"], key=lambda c: c["id"])


def each_with_offset(scenes: Sequence[Scene]) -> Iterator[tuple[int, Scene]]:
    """Yields scenes with the number of objects in those before."""
    offset = 0
    for scene in scenes:
        yield offset, scene
        offset += len(scene.crowd)
