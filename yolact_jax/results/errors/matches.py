"""Which detection finds which object, by COCO's rules."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from yolact_jax.results.errors.scenes import Scene, each_with_offset

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""COCO's least IoU of a hit."""

SIZES = {
    "all": (0.0, np.inf),
    "s": (0.0, 32.0**2),
    "m": (32.0**2, 96.0**2),
    "l": (96.0**2, np.inf),
}
"""COCO's sizes of objects: least and largest area in square pixels, both included."""


@dataclasses.dataclass(frozen=True)
class Matches:
    """N detections of all images, M annotations, T thresholds.

    Attributes:
      image: [N] int64, place of the image among the scenes.
      place: [N] int64, place of the detection among those of its scene.
      rank: [N] int64, how many of its image and class have a better score.
      labels: [N] int64.
      scores: [N] float64.
      hit: [N, T] int64, number of the annotation that the detection finds, or -1.
      ignored: [N, T] bool, whether it counts neither as hit nor as miss.
      truth_image: [M] int64.
      truth_place: [M] int64, place of the annotation among those of its scene.
      truth_labels: [M] int64.
      crowd: [M] bool; crowds, and objects of other sizes, need not be found.
      num_images: how many scenes there are.
      num_classes: how many classes there are.
    """

    image: np.ndarray
    place: np.ndarray
    rank: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    truth_image: np.ndarray
    truth_place: np.ndarray
    truth_labels: np.ndarray
    crowd: np.ndarray
    num_images: int
    num_classes: int


def match(
    scenes: Sequence[Scene],
    num_classes: int,
    *,
    max_detections: int,
    thresholds: np.ndarray = THRESHOLDS,
    areas: tuple[float, float] = SIZES["all"],
) -> Matches:
    """Matches as pycocotools does: best score first, each to the best object left.

    Args:
      scenes: from `make_scenes`.
      num_classes: C; labels count from 0.
      max_detections: per image and class, the best of them; the others are left out.
      thresholds: [T] float64, least IoU of a hit.
      areas: least and largest area of the objects to be found, square pixels; others
        count as crowds do, and so do detections of other sizes that find nothing.
    """
    parts = [
        _match_image(number, offset, scene, max_detections, thresholds, areas)
        for number, (offset, scene) in enumerate(each_with_offset(scenes))
    ]
    empty = _match_image(0, 0, _EMPTY, max_detections, thresholds, areas)
    columns = [np.concatenate(c) for c in zip(empty, *parts, strict=True)]
    return Matches(
        *columns,
        truth_image=_join([np.full(len(s.crowd), i) for i, s in enumerate(scenes)]),
        truth_place=_join([np.arange(len(s.crowd)) for s in scenes]),
        truth_labels=_join([s.truth_labels for s in scenes]),
        crowd=_join([_spare(s, areas) for s in scenes]).astype(bool),
        num_images=len(scenes),
        num_classes=num_classes,
    )


_NONE = np.zeros(0, np.int64)
_EMPTY = Scene(0, _NONE, _NONE, _NONE, _NONE, _NONE, _NONE, np.zeros((0, 0)))


def _join(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *parts])


def outside(areas: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """[n] bool, which areas are below the least or above the largest."""
    return (areas < span[0]) | (areas > span[1])


def _spare(scene: Scene, areas: tuple[float, float]) -> np.ndarray:
    """[G] bool, annotations that need not be found."""
    return scene.crowd.astype(bool) | outside(scene.truth_areas, areas)


def _match_image(number: int, offset: int, scene: Scene, most: int, thresholds, areas):
    order = np.argsort(-scene.scores, kind="stable")
    rank = _rank_in_class(scene.labels[order])
    order, rank = order[rank < most], rank[rank < most]
    same = scene.labels[order][:, None] == scene.truth_labels[None]
    spare = _spare(scene, areas)
    overlaps = np.where(same, scene.overlaps[order], -1.0)
    chosen = _greedy(overlaps, scene.crowd.astype(bool), spare, thresholds)
    strange = outside(scene.areas[order], areas)[:, None]
    ignored = np.where(chosen >= 0, np.append(spare, False)[chosen], strange)
    hit = np.where((chosen >= 0) & ~ignored, chosen + offset, -1)
    image, labels = np.full(len(order), number), scene.labels[order].astype(np.int64)
    return image, order, rank, labels, scene.scores[order], hit, ignored


def _rank_in_class(labels: np.ndarray) -> np.ndarray:
    """How many of the same label are before each, [n] int64."""
    order = np.argsort(labels, kind="stable")
    _, first, place = np.unique(labels[order], return_index=True, return_inverse=True)
    rank = np.empty(len(labels), np.int64)
    rank[order] = np.arange(len(labels)) - first[place]
    return rank


def _greedy(
    overlaps: np.ndarray, crowd: np.ndarray, spare: np.ndarray, thresholds
) -> np.ndarray:
    """[d, T] int64, column of the annotation that each detection takes, or -1.

    An object is taken once, a crowd often; what need not be found is taken only by what
    finds nothing else; of equal overlaps the last wins.  A negative overlap never
    counts.
    """
    count, num_truths = overlaps.shape
    chosen = np.full((count, len(thresholds)), -1)
    least = np.minimum(thresholds, 1 - 1e-10)
    free = np.ones((len(thresholds), num_truths), bool)
    rows = np.arange(len(thresholds))
    for index in np.flatnonzero((overlaps >= least.min()).any(axis=1)):
        fits = free & (overlaps[index] >= least[:, None])
        # What must be found goes first, whatever the overlaps.
        rank = np.where(fits, overlaps[index] + 2.0 * ~spare, -1.0)
        best = num_truths - 1 - np.argmax(rank[:, ::-1], axis=1)
        found = fits.any(axis=1)
        chosen[index] = np.where(found, best, -1)
        free[rows[found], best[found]] &= crowd[best[found]]
    return chosen
