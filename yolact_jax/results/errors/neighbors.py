"""Localization failure: neighbors of one class under one mask."""

import dataclasses
import itertools

import numpy as np

from yolact_jax.results.errors import assembly
from yolact_jax.results.errors.assembly import ImageParts
from yolact_jax.results.errors.meant import best_detections, meant_for

COVERED = 0.5
"""Share of an object above which a mask covers it."""
FARTHEST = 3.0
"""Largest distance of neighbors: between centers, in mean object sides."""
FOUND_IOU = 0.5


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two neighbors of one class, each with a detection.

    Attributes:
      distance: between the centers, in means of their sides (roots of box areas).
      crowding: objects of this class in the image.
      coefficient_distance: of the two detections, Euclidean.
      failed: whether the uncropped mask of one of them covers both.
    """

    distance: float
    crowding: int
    coefficient_distance: float
    failed: bool


def covered_neighbors(parts: ImageParts, soft: np.ndarray, target: int) -> list[int]:
    """Objects of the target's class that an uncropped mask covers along with it.

    Args:
      parts: of the image.
      soft: [Hp, Wp] float32, assembled and not cropped.
      target: the object that the mask is meant for.
    """
    same = (parts.truth_labels == parts.truth_labels[target]) & ~parts.crowd
    near = [i for i in np.flatnonzero(same).tolist() if i != target]
    near = [i for i in near if distance(parts, target, i) <= FARTHEST]
    if not near or not _covers(parts, soft, target):
        return []
    return [i for i in near if _covers(parts, soft, i)]


def _covers(parts: ImageParts, soft: np.ndarray, number: int) -> bool:
    share = parts.share(parts.truth_masks[number])
    total = share.sum()
    return bool(total > 0 and share[soft > 0.5].sum() > COVERED * total)


def distance(parts: ImageParts, first: int, second: int) -> float:
    """Between the centers of two objects, in means of their sides."""
    height, width = parts.size
    boxes = parts.truth_boxes[[first, second]] * [width, height, width, height]
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = np.sqrt(np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1))
    return float(np.linalg.norm(centers[0] - centers[1]) / max(sides.mean(), 1e-9))


def find_pairs(parts: ImageParts) -> list[Pair]:
    """All pairs of neighbors of one class that two detections find by box."""
    best = best_detections(*meant_for(parts), len(parts.crowd), FOUND_IOU)
    soft = assembly.assemble(parts.prototypes, parts.coefficients)
    covered = {
        int(i): covered_neighbors(parts, soft[best[i]], int(i))
        for i in np.flatnonzero(best >= 0)
    }
    pairs = []
    for i, j in itertools.combinations(covered, 2):
        if parts.truth_labels[i] == parts.truth_labels[j]:
            apart = distance(parts, i, j)
            if apart <= FARTHEST:
                pairs.append(_pair(parts, best, covered, i, j, apart))
    return pairs


def _pair(parts: ImageParts, best, covered, i: int, j: int, apart: float) -> Pair:
    both = parts.coefficients[[best[i], best[j]]]
    same = (parts.truth_labels == parts.truth_labels[i]) & ~parts.crowd
    return Pair(
        distance=apart,
        crowding=int(same.sum()),
        coefficient_distance=float(np.linalg.norm(both[0] - both[1])),
        failed=j in covered[i] or i in covered[j],
    )


def failure_rates(
    pairs: list[Pair], by: str, edges: tuple[float, ...]
) -> list[dict[str, float]]:
    """Rate of failed pairs in groups of distance or crowding.

    Args:
      pairs: of all images.
      by: "distance" or "crowding".
      edges: first value of each group; the last has no end.

    Returns:
      For each group `distance_from` or `crowding_from`, `pairs`, `failed` (their share;
      nan without pairs), and `coefficient_distance`, the median.
    """
    values = np.array([getattr(pair, by) for pair in pairs], float)
    failed = np.array([pair.failed for pair in pairs], bool)
    apart = np.array([pair.coefficient_distance for pair in pairs], float)
    rows = []
    for first, last in itertools.pairwise([*edges, np.inf]):
        inside = (values >= first) & (values < last)
        count = int(inside.sum())
        rows.append(
            {
                f"{by}_from": first,
                "pairs": count,
                "failed": float(failed[inside].mean()) if count else float("nan"),
                "coefficient_distance": float(np.median(apart[inside]))
                if count
                else float("nan"),
            }
        )
    return rows
