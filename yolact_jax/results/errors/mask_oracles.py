"""What single steps of YOLACT cost, each as AP with that step done right."""

import dataclasses
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from yolact_jax.results.errors import assembly
from yolact_jax.results.errors.assembly import ImageParts
from yolact_jax.results.errors.matches import match
from yolact_jax.results.errors.meant import best_detections, meant_for
from yolact_jax.results.errors.neighbors import covered_neighbors
from yolact_jax.results.errors.precision import mean_precision
from yolact_jax.results.errors.scenes import Scene

VARIANTS = ("as it is", "crop", "leakage", "localization failure", "assembly")


@dataclasses.dataclass(frozen=True)
class Redone:
    """One image with its masks made in several ways.

    Attributes:
      scenes: variant -> objects, detections and the overlaps of the masks.
      mask_pixels: sum over the best detection of each object.
      leaked_pixels: of these, on other objects and not on its own.
    """

    scenes: dict[str, Scene]
    mask_pixels: int
    leaked_pixels: int


def redo(parts: ImageParts) -> Redone:
    """Makes the masks of one image as they are, and with each step done right."""
    targets, nearness = meant_for(parts)
    best = best_detections(targets, nearness, len(parts.crowd))
    table = np.zeros((len(VARIANTS), len(parts.boxes), len(parts.crowd)))
    pixels = np.zeros(2, np.int64)
    for index, target in enumerate(targets):
        masks = _variants(parts, index, int(target))
        rows = [_overlaps(mask, parts) for mask in masks]
        table[:, index] = rows
        if target >= 0 and best[target] == index:
            pixels += masks[0].sum(), _leaked(masks[0], parts, int(target))
    scenes = {n: _scene(parts, v) for n, v in zip(VARIANTS, table, strict=True)}
    return Redone(scenes, *pixels.tolist())


def _overlaps(mask: np.ndarray, parts: ImageParts) -> np.ndarray:
    return assembly.mask_overlaps(mask, parts.truth_masks, parts.crowd)


def _leaked(mask: np.ndarray, parts: ImageParts, target: int) -> int:
    """Pixels of a mask on other objects and not on its own."""
    others = ~parts.crowd
    others[target] = False
    on_others = parts.truth_masks[others].any(axis=0)
    return int((mask & on_others & ~parts.truth_masks[target]).sum())


def _variants(parts: ImageParts, index: int, target: int) -> list[np.ndarray]:
    """[height, width] bool masks of one detection, in the order of `VARIANTS`.

    Only one, the same in all, if it is meant for no object.
    """
    box = parts.boxes[index]
    soft = assembly.assemble(parts.prototypes, parts.coefficients[index : index + 1])[0]
    own = parts.mask(soft, box)
    if target < 0:
        return [own]
    truth = parts.truth_masks[target]
    apart = own.copy()
    for other in covered_neighbors(parts, soft, target):
        apart &= ~(parts.truth_masks[other] & ~truth)
    ideal = parts.ideal(parts.share(truth), box)
    return [
        own,
        parts.mask(soft, parts.truth_boxes[target]),
        parts_on(own, truth),
        apart,
        parts.mask(ideal, box),
    ]


def parts_on(mask: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Keeps the connected parts of a mask that touch an object; all if none does."""
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    touching = np.unique(parts[truth & mask])
    return np.isin(parts, touching) if len(touching) else mask


def _scene(parts: ImageParts, overlaps: np.ndarray) -> Scene:
    return Scene(
        parts.image_id,
        parts.truth_labels,
        parts.truth_areas,
        parts.crowd,
        parts.labels,
        parts.scores,
        overlaps,
    )


def mask_budget(
    images: Sequence[Redone], num_classes: int, *, max_detections: int
) -> dict[str, float]:
    """AP of masks, over IoU 0.50 to 0.95, in each of `VARIANTS`.

    Returns:
      AP by variant, and `leaked`, the share of mask pixels on other objects; nan where
      there is nothing to measure.
    """
    table = {
        name: _mean_ap([i.scenes[name] for i in images], num_classes, max_detections)
        for name in VARIANTS
    }
    pixels = sum(image.mask_pixels for image in images)
    leaked = sum(image.leaked_pixels for image in images)
    return table | {"leaked": leaked / pixels if pixels else float("nan")}


def _mean_ap(scenes: Iterable[Scene], num_classes: int, most: int) -> float:
    matches = match(list(scenes), num_classes, max_detections=most)
    return float(mean_precision(matches).mean())
