"""How well anchors fit the objects of a dataset, and which would fit better."""

import dataclasses
import math

import numpy as np

from yolact_jax.config import NUM_LEVELS, Anchors, InputFrame
from yolact_jax.data.records.dataset import RecordSource
from yolact_jax.ops.anchors import level_shapes

# Sides in pixels of the network input, as COCO sorts objects by their area.
SIZES = {"small": (0.0, 32.0), "medium": (32.0, 96.0), "large": (96.0, math.inf)}
_ITERATIONS = 100
_SEED = 0


@dataclasses.dataclass(frozen=True)
class Fit:
    """How many objects have an anchor that can be positive for them.

    Attributes:
      mean_overlap: mean IoU of the objects with their best anchor, in [0, 1].
      recall: share of all objects whose best IoU reaches that of positive anchors.
      by_size: size, see `SIZES` -> (objects, recall).
      by_level: level, "P3" to "P7" -> (objects whose best anchor is there, recall).
    """

    mean_overlap: float
    recall: float
    by_size: dict[str, tuple[int, float]]
    by_level: dict[str, tuple[int, float]]


def object_extents(source: RecordSource, frame: InputFrame) -> np.ndarray:
    """Returns width and height of all objects in the network input, [n, 2] pixels.

    Crowds and boxes without area in the image are left out.
    """
    found = [np.zeros((0, 2))]
    for example in source:
        sides = np.array([example.width, example.height], np.float64)
        boxes = example.annotations.boxes_px[~example.annotations.crowd]
        clipped = np.clip(boxes.reshape(-1, 2, 2), 0, sides)
        used = frame.used(example.height, example.width)
        found.append((clipped[:, 1] - clipped[:, 0]) / sides * used[::-1])
    extents = np.concatenate(found)
    return extents[(extents > 0).all(axis=1)]


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


def measure(extents: np.ndarray, anchors: Anchors, positive_iou: float) -> Fit:
    """Measures how well anchors fit objects, wherever these are.

    An anchor at the center of each object is assumed, so this is the most that the grid
    can reach.

    Args:
      extents: [n, 2], from `object_extents`; n > 0.
      anchors: shapes of the anchors.
      positive_iou: least overlap of a positive anchor.
    """
    shapes, levels = anchor_shapes(anchors)
    every = overlaps(extents, shapes)
    best = every.max(axis=1)
    matched = best >= positive_iou
    level = levels[every.argmax(axis=1)]
    side = np.sqrt(extents.prod(axis=1))

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
      extents: [n, 2], from `object_extents`; n > 0.
      frame: the network input.

    Returns:
      The share, in [0, 1].
    """
    rows, columns = level_shapes(frame.size)[0]
    cells = extents * [columns / frame.width, rows / frame.height]
    return float(1 - np.minimum(cells, 1).prod(axis=1).mean())


def propose(extents: np.ndarray, anchors: Anchors) -> Anchors:
    """Proposes as many scales and ratios as there are, fitted to the objects.

    Scales and ratios are clustered separately, by k-means with 1 - IoU for a distance
    (Redmon and Farhadi 2017), so that all levels keep the same ratios: scales of
    squares as large as the objects, ratios of boxes of area 1.

    Args:
      extents: [n, 2], from `object_extents`; n > 0.
      anchors: gives the numbers of scales and ratios; the proposal is not `square`.
    """
    per_level, num_ratios = len(anchors.scales_px[0]), len(anchors.aspect_ratios)
    sides = np.sqrt(extents.prod(axis=1))
    squares = np.stack([sides, sides], axis=1)
    scales = np.sort(k_means(squares, NUM_LEVELS * per_level)[:, 0])
    # All of area 1: sorted by ratio, quantiles start at different ratios.
    order = np.argsort(extents[:, 0] / extents[:, 1], kind="stable")
    found = k_means((extents / sides[:, None])[order], num_ratios, presorted=True)
    ratios = np.sort(found[:, 0] / found[:, 1])
    return dataclasses.replace(
        anchors,
        scales_px=tuple(
            tuple(float(f"{s:.3g}") for s in scales[i : i + per_level])
            for i in range(0, len(scales), per_level)
        ),
        aspect_ratios=tuple(float(f"{ratio:.2g}") for ratio in ratios),
        square=False,
    )


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
