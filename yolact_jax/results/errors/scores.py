"""What a score is worth: calibration, and the threshold of the best F1."""

import dataclasses

import numpy as np

from yolact_jax.results.errors.matches import Matches
from yolact_jax.results.errors.precision import class_rows


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Detections by score, in bins of equal width.

    Attributes:
      count: [bins] int64.
      score: [bins] float64, mean score; nan in an empty bin.
      precision: [bins] float64, share of right ones; nan in an empty bin.
      error: mean of their difference over all detections (ECE); nan without any.
    """

    count: np.ndarray
    score: np.ndarray
    precision: np.ndarray
    error: float


def calibration(matches: Matches, column: int = 0, bins: int = 10) -> Calibration:
    """Compares scores with the share of right detections.

    Args:
      matches: of all images.
      column: which threshold of the matches makes a detection right; IoU 0.5 by
        default.
      bins: of equal width over [0, 1]; scores above 1 go to the last.
    """
    counted = ~matches.ignored[:, column]
    scores, right = matches.scores[counted], matches.hit[counted, column] >= 0
    place = np.clip((scores * bins).astype(int), 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, v, minlength=bins) for v in (scores, right)]
    with np.errstate(invalid="ignore"):
        score, precision = (total / np.where(count, count, np.nan) for total in sums)
    gap = np.abs(sums[0] - sums[1]).sum()
    error = float(gap / len(scores)) if len(scores) else float("nan")
    return Calibration(count, score, precision, error)


@dataclasses.dataclass(frozen=True)
class BestThreshold:
    """The threshold of a class with the highest F1; all nan without objects.

    Attributes:
      threshold: least score to keep.
      f1: harmonic mean of precision and recall there.
      precision: there.
      recall: there.
    """

    threshold: float
    f1: float
    precision: float
    recall: float


def best_thresholds(matches: Matches, column: int = 0) -> list[BestThreshold]:
    """Finds for every class the threshold with the best F1; the highest of equals.

    Args:
      matches: of all images.
      column: which threshold of the matches makes a detection right; IoU 0.5 by
        default.
    """
    found = []
    for _, rows, truths in class_rows(matches):
        rows = rows[~matches.ignored[rows, column]]
        hits = matches.hit[rows, column] >= 0
        found.append(_best(matches.scores[rows], hits, len(truths)))
    return found


def _best(scores: np.ndarray, hits: np.ndarray, num_truths: int) -> BestThreshold:
    if not num_truths:
        return BestThreshold(*[float("nan")] * 4)
    # A threshold keeps all detections of equal score or none.
    ends = np.flatnonzero(np.append(np.diff(scores) != 0, True)[: len(scores)])
    if not len(ends):
        return BestThreshold(float("nan"), 0.0, float("nan"), 0.0)
    right = np.cumsum(hits)[ends]
    f1 = 2 * right / (ends + 1 + num_truths)
    best = int(f1.argmax())
    return BestThreshold(
        threshold=float(scores[ends[best]]),
        f1=float(f1[best]),
        precision=float(right[best] / (ends[best] + 1)),
        recall=float(right[best] / num_truths),
    )
