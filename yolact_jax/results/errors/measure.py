"""The errors of YOLACT's own steps, measured over many images."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from yolact_jax.config import InputFrame
from yolact_jax.data import rle
from yolact_jax.results.errors.assembly import ImageParts
from yolact_jax.results.errors.bounds import bound_precision, bound_scenes
from yolact_jax.results.errors.mask_oracles import mask_budget, redo
from yolact_jax.results.errors.neighbors import failure_rates, find_pairs
from yolact_jax.results.errors.scenes import truth_rle
from yolact_jax.structures import Detections, Predictions

_DISTANCES = (0.0, 0.5, 1.0, 1.5, 2.0)
_CROWDING = (2.0, 3.0, 5.0, 9.0)


def image_parts(
    image: dict,
    annotations: list[dict],
    found: tuple[Detections, Predictions],
    label_of: dict[int, int],
    frame: InputFrame,
) -> ImageParts:
    """Brings together what the network made of an image and what is there.

    Args:
      image: its COCO entry.
      annotations: its COCO annotations.
      found: from an `Inspector`.
      label_of: from category id to label.
      frame: the network input.
    """
    detections, predictions = found
    inside = np.clip(detections.boxes, 0, 1)
    # As in the result files, boxes without area are left out.
    kept = (inside[:, 2:] > inside[:, :2]).all(axis=1)
    scores = detections.scores
    if detections.mask_scores is not None:
        scores = detections.mask_scores
    size = image["height"], image["width"]
    prototypes = np.asarray(predictions.prototypes, np.float32)
    cells = prototypes.shape[0], prototypes.shape[1]
    masks = [rle.decode(truth_rle(a, size)) for a in annotations]
    boxes = np.array([a["bbox"] for a in annotations], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return ImageParts(
        image_id=image["id"],
        prototypes=prototypes,
        boxes=np.asarray(detections.boxes)[kept],
        labels=np.asarray(detections.labels)[kept].astype(np.int64),
        scores=np.asarray(scores)[kept].astype(float),
        coefficients=np.asarray(detections.coefficients)[kept],
        truth_masks=np.array(masks, bool).reshape(-1, *size),
        truth_boxes=boxes / [size[1], size[0], size[1], size[0]],
        truth_labels=np.array([label_of[a["category_id"]] for a in annotations], int),
        truth_areas=np.array([a["area"] for a in annotations], float),
        crowd=np.array([bool(a.get("iscrowd", 0)) for a in annotations], bool),
        shown=frame.used_cells(*size, cells) if frame.letterbox else None,
    )


def measure_masks(
    images: Iterable[ImageParts], num_classes: int, *, max_detections: int
) -> dict[str, Any]:
    """Measures the errors of YOLACT's own steps.

    Args:
      images: consumed one after the other.
      num_classes: C.
      max_detections: how many detections per image and class count.

    Returns:
      `images`, their number; `budget`, see `mask_budget`; `bounds`, see
      `bound_precision`; `by_distance` and `by_crowding`, see `failure_rates`.
    """
    redone, bounds, pairs = [], [], []
    for parts in images:
        redone.append(redo(parts))
        bounds.append(bound_scenes(parts))
        pairs += find_pairs(parts)
    return {
        "images": len(redone),
        "budget": mask_budget(redone, num_classes, max_detections=max_detections),
        "bounds": bound_precision(bounds, num_classes),
        "by_distance": failure_rates(pairs, "distance", _DISTANCES),
        "by_crowding": failure_rates(pairs, "crowding", _CROWDING),
    }
