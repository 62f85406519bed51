"""Average precision of matches, as COCO computes it, also of weighted images."""

from collections.abc import Iterator

import numpy as np

from yolact_jax.results.errors.matches import Matches

RECALLS = np.linspace(0, 1, 101)


def curve(
    hits: np.ndarray, weights: np.ndarray, num_truths: float
) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision after each detection, best first.

    Args:
      hits: [n] bool, whether each is right.
      weights: [n] float64, how many times each counts.
      num_truths: objects to find, above 0.

    Returns:
      [n] float64 recall, and [n] float64 precision, the best at that or more recall.
    """
    right, wrong = np.cumsum(hits * weights), np.cumsum(~hits * weights)
    precision = right / np.maximum(right + wrong, np.spacing(1))
    return right / num_truths, np.maximum.accumulate(precision[::-1])[::-1]


def interpolated(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """[101] float64, precision at recall 0, 0.01, ... 1; 0 where it is not reached."""
    places = np.searchsorted(recall, RECALLS, side="left")
    return np.append(precision, 0.0)[np.minimum(places, len(precision))]


def average(hits: np.ndarray, weights: np.ndarray, num_truths: float) -> float:
    """Average precision in [0, 1] of detections, best first; nan without objects."""
    if num_truths <= 0:
        return float("nan")
    return float(interpolated(*curve(hits, weights, num_truths)).mean())


def class_rows(matches: Matches) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields each label, its detections best first, and its objects."""
    order = np.argsort(-matches.scores, kind="stable")
    labels = matches.labels[order]
    for label in range(matches.num_classes):
        truths = (matches.truth_labels == label) & ~matches.crowd
        yield label, order[labels == label], np.flatnonzero(truths)


def class_precision(
    matches: Matches, image_weights: np.ndarray | None = None
) -> np.ndarray:
    """[C, T] float64, average precision of every class; nan without objects.

    Args:
      matches: of all images.
      image_weights: [images] float, how many times each image counts; once by default.
    """
    weights = np.ones(matches.num_images) if image_weights is None else image_weights
    result = np.full((matches.num_classes, matches.hit.shape[1]), np.nan)
    for label, rows, truths in class_rows(matches):
        num_truths = weights[matches.truth_image[truths]].sum()
        for column in range(result.shape[1]):
            counted = rows[~matches.ignored[rows, column]]
            hits = matches.hit[counted, column] >= 0
            each = weights[matches.image[counted]]
            result[label, column] = average(hits, each, num_truths)
    return result


def mean_precision(
    matches: Matches, image_weights: np.ndarray | None = None
) -> np.ndarray:
    """[T] float64, the mean over the classes that have objects; nan without any."""
    return mean_of_known(class_precision(matches, image_weights))


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Means over the first axis of what is not nan; nan where nothing is."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=0)
    count = known.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
