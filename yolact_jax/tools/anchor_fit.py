"""How well anchors fit the objects of a dataset, and which would fit better."""

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np

from yolact_jax.config import NUM_LEVELS, Anchors, InputFrame
from yolact_jax.data.augment import view
from yolact_jax.data.records.dataset import RecordSource
from yolact_jax.ops.anchors import level_shapes

# Sides in pixels of the network input, as COCO sorts objects by their area.
SIZES = {"small": (0.0, 32.0), "medium": (32.0, 96.0), "large": (96.0, math.inf)}
_ITERATIONS = 100
_MOST_FITTED = 10_000  # Objects that a proposal is fitted to.
_FIRST_STEP, _LAST_STEP = math.sqrt(2), 1.02  # Factors of a scale.
_LEAST_CELLS = 1.5  # Smaller anchors of coarse levels meet objects by chance.
_LEAST_GAIN = 0.01  # Of recall and mean overlap together.


@dataclasses.dataclass(frozen=True)
class Fit:
    """How many objects have an anchor that can be positive for them.

    Attributes:
      mean_overlap: mean IoU of the objects with their best anchor, in [0, 1].
      recall: share of all objects that can have a positive anchor, see `measure`.
      by_size: size, see `SIZES` -> (objects, recall).
      by_level: level, "P3" to "P7" -> (objects whose best anchor is there, recall).
    """

    mean_overlap: float
    recall: float
    by_size: dict[str, tuple[int, float]]
    by_level: dict[str, tuple[int, float]]


def object_boxes(source: RecordSource, frame: InputFrame) -> np.ndarray:
    """Returns the boxes of all objects in the network input, without augmentation.

    Crowds and boxes without area in the image are left out.

    Returns:
      [n, 4] float64 (x1, y1, x2, y2), pixels of the network input.
    """
    found = [np.zeros((0, 4))]
    for example in source:
        whole = view.whole(example.height, example.width, frame)
        annotations = example.annotations
        found.append(whole.boxes(annotations.boxes_px[~annotations.crowd]))
    boxes = np.concatenate(found) * np.tile(frame.size[::-1], 2)
    return boxes[(extents_of(boxes) > 0).all(axis=1)]


def extents_of(boxes: np.ndarray) -> np.ndarray:
    """Returns width and height of [n, 4] boxes (x1, y1, x2, y2), [n, 2]."""
    return boxes[:, 2:] - boxes[:, :2]


def overlaps(extents: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """Returns the IoU of boxes with the same center, [n, s] float64.

    Args:
      extents: [n, 2], width and height.
      shapes: [s, 2], the same.
    """
    shared = np.minimum(extents[:, None], shapes[None]).prod(axis=2)
    areas = extents.prod(axis=1)[:, None] + shapes.prod(axis=1)[None]
    return shared / (areas - shared)


def anchor_shapes(anchors: Anchors) -> tuple[np.ndarray, np.ndarray]:
    """Returns width and height of the anchors, [s, 2] pixels, and their levels, [s]."""
    shapes, levels = [], []
    for level, scales in enumerate(anchors.scales_px):
        for scale in scales:
            for ratio in anchors.aspect_ratios:
                width = scale * math.sqrt(ratio)
                height = width if anchors.square else scale / math.sqrt(ratio)
                shapes.append((width, height))
                levels.append(level)
    return np.array(shapes), np.array(levels)


def grid_overlaps(boxes: np.ndarray, anchors: Anchors, frame: InputFrame) -> np.ndarray:
    """Returns the best IoU of boxes with the anchors of each shape, [n, s] float64.

    Of anchors of one shape the one whose center is nearest overlaps most.

    Args:
      boxes: [n, 4], from `object_boxes`.
      anchors: s shapes, see `anchor_shapes`.
      frame: the network input.
    """
    shapes, levels = anchor_shapes(anchors)
    extents, found = extents_of(boxes)[:, None], np.empty((len(boxes), len(shapes)))
    for level, offsets in enumerate(_center_offsets(boxes, frame)):
        of_level = shapes[levels == level]
        reach = (extents + of_level) / 2 - offsets[:, None]
        sides = np.minimum(np.minimum(extents, of_level), reach)
        shared = np.maximum(sides, 0).prod(axis=2)
        areas = extents.prod(axis=2) + of_level.prod(axis=1)
        found[:, levels == level] = shared / (areas - shared)
    return found


def hold_center(boxes: np.ndarray, frame: InputFrame) -> np.ndarray:
    """Whether boxes hold the center of an anchor of any level, [n] bool.

    ATSS has no anchor for those that hold none.
    """
    half = extents_of(boxes) / 2
    every = [(offsets < half).all(axis=1) for offsets in _center_offsets(boxes, frame)]
    return np.any(every, axis=0)


def _center_offsets(boxes: np.ndarray, frame: InputFrame) -> list[np.ndarray]:
    """Distances of centers of boxes from the nearest of each level, [n, 2] pixels."""
    centers, found = (boxes[:, :2] + boxes[:, 2:]) / 2, []
    for rows, columns in level_shapes(frame.size):
        cell = np.array([frame.width / columns, frame.height / rows])
        nearest = np.clip(np.floor(centers / cell), 0, (columns - 1, rows - 1))
        found.append(np.abs(centers - (nearest + 0.5) * cell))
    return found


def measure(
    boxes: np.ndarray, anchors: Anchors, frame: InputFrame, positive_iou: float | None
) -> Fit:
    """Measures how well the anchors of the grid fit objects.

    Args:
      boxes: [n, 4], from `object_boxes`; n > 0.
      anchors: shapes of the anchors.
      frame: the network input.
      positive_iou: least overlap of a positive anchor; None for ATSS, which needs the
        center of an anchor in the object instead.
    """
    levels = anchor_shapes(anchors)[1]
    every = grid_overlaps(boxes, anchors, frame)
    best = every.max(axis=1)
    is_atss = positive_iou is None
    matched = hold_center(boxes, frame) if is_atss else best >= positive_iou
    level = levels[every.argmax(axis=1)]
    side = np.sqrt(extents_of(boxes).prod(axis=1))

    def part(chosen: np.ndarray) -> tuple[int, float]:
        count = int(chosen.sum())
        return count, float(matched[chosen].mean()) if count else math.nan

    return Fit(
        mean_overlap=float(best.mean()),
        recall=float(matched.mean()),
        by_size={n: part((side >= a) & (side < b)) for n, (a, b) in SIZES.items()},
        by_level={f"P{3 + i}": part(level == i) for i in range(NUM_LEVELS)},
    )


def share_between_centers(extents: np.ndarray, frame: InputFrame) -> float:
    """Share of objects that hold no center of an anchor of P3, if placed at random.

    Along each axis an object holds one with a chance of its extent over that of a cell.

    Args:
      extents: [n, 2], width and height in pixels of the network input; n > 0.
      frame: the network input.

    Returns:
      The share, in [0, 1].
    """
    rows, columns = level_shapes(frame.size)[0]
    cells = extents * [columns / frame.width, rows / frame.height]
    return float(1 - np.minimum(cells, 1).prod(axis=1).mean())


def propose(
    boxes: np.ndarray, anchors: Anchors, frame: InputFrame, positive_iou: float | None
) -> Anchors:
    """Proposes as many scales and ratios as there are, fitted to the objects.

    Starts at the anchors that there are; at those with other ratios; and at scales of
    squares as large as the objects, with these ratios.  Ratios and sizes are clustered
    by k-means with 1 - IoU for a distance (Redmon and Farhadi 2017).  Then each scale
    moves while that makes the sum of recall and mean overlap larger, on the grid.
    Scales above P3 have at least 1.5 cells.

    Args:
      boxes: [n, 4], from `object_boxes`; n > 0.
      anchors: what there is.
      frame: the network input.
      positive_iou: as for `measure`.

    Returns:
      The best; `anchors` itself if nothing is better by one point.
    """
    chosen = np.linspace(0, len(boxes) - 1, min(len(boxes), _MOST_FITTED)).astype(int)
    boxes = boxes[chosen]
    extents = extents_of(boxes)
    sides, num_ratios = np.sqrt(extents.prod(axis=1)), len(anchors.aspect_ratios)
    # All of area 1: sorted by ratio, quantiles start at different ratios.
    order = np.argsort(extents[:, 0] / extents[:, 1], kind="stable")
    found = k_means((extents / sides[:, None])[order], num_ratios, presorted=True)
    ratios = tuple(float(f"{r:.2g}") for r in np.sort(found[:, 0] / found[:, 1]))
    fitted = dataclasses.replace(anchors, aspect_ratios=ratios, square=False)
    squares = np.stack([sides, sides], axis=1)
    clustered = k_means(squares, np.size(anchors.scales_px))[:, 0]

    held = None if positive_iou else hold_center(boxes, frame).mean()

    def goodness(candidate: Anchors) -> float:
        best = grid_overlaps(boxes, candidate, frame).max(axis=1)
        recall = (best >= positive_iou).mean() if held is None else held
        return float(best.mean() + recall)

    starts = anchors, fitted, _with_scales(fitted, clustered)
    found = max((_improved(start, goodness) for start in starts), key=goodness)
    return found if goodness(found) >= goodness(anchors) + _LEAST_GAIN else anchors


def _improved(anchors: Anchors, goodness: Callable[[Anchors], float]) -> Anchors:
    """Moves one scale after the other by ever smaller factors, while that helps."""
    best, step = goodness(anchors), _FIRST_STEP
    while step > _LAST_STEP:
        before = best
        for slot, factor in itertools.product(
            range(np.size(anchors.scales_px)), (step, 1 / step)
        ):
            scales = np.concatenate(anchors.scales_px)
            scales[slot] *= factor
            moved = _with_scales(anchors, scales)
            if (found := goodness(moved)) > best:
                anchors, best = moved, found
        if best == before:
            step = math.sqrt(step)
    return anchors


def _with_scales(anchors: Anchors, scales: np.ndarray) -> Anchors:
    """Replaces the scales, [levels x scales a level], rounded to three digits."""
    by_level = np.reshape(scales, (NUM_LEVELS, -1))
    least = [0.0, *(_LEAST_CELLS * 2**level for level in range(4, 3 + NUM_LEVELS))]
    used = [[float(f"{s:.3g}") for s in row] for row in np.maximum(by_level.T, least).T]
    return dataclasses.replace(anchors, scales_px=tuple(map(tuple, used)))


def k_means(extents: np.ndarray, count: int, *, presorted: bool = False) -> np.ndarray:
    """Finds `count` boxes that overlap most with given ones, [count, 2] by area.

    Starts at quantiles of the area, so that equal boxes always give equal results.  A
    cluster that has no box stays where it is.

    Args:
      extents: [n, 2], width and height; n > 0.
      count: of boxes to find.
      presorted: start at quantiles of the order in which the boxes are.
    """
    order = np.argsort(extents.prod(axis=1), kind="stable")
    order = np.arange(len(extents)) if presorted else order
    places = ((np.arange(count) + 0.5) / count * len(extents)).astype(int)
    means = extents[order[places]].astype(np.float64)
    nearest = np.full(len(extents), -1)
    for _ in range(_ITERATIONS):
        before, nearest = nearest, overlaps(extents, means).argmax(axis=1)
        if (before == nearest).all():
            break
        for cluster in range(count):
            members = extents[nearest == cluster]
            if len(members):
                means[cluster] = np.exp(np.log(members).mean(axis=0))
    return means[np.argsort(means.prod(axis=1), kind="stable")]
