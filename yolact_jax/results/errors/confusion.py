"""Which class is taken for which, regardless of the detection's own class."""

from collections.abc import Sequence

import numpy as np

from yolact_jax.results.errors.scenes import Scene


def confusion_matrix(
    scenes: Sequence[Scene],
    num_classes: int,
    *,
    score_threshold: float = 0.3,
    least_overlap: float = 0.5,
) -> np.ndarray:
    """Counts pairs of true and detected class; the last of each is the background.

    Detections of at least the threshold, best score first, take the object left that
    they overlap most, whatever its class.  What is on a crowd only is left out.

    Args:
      scenes: from `make_scenes`.
      num_classes: C.
      score_threshold: least score of a detection.
      least_overlap: least IoU of a pair.

    Returns:
      [C + 1, C + 1] int64, rows are true classes, columns detected ones.  The last
      column counts missed objects, the last row detections of nothing.
    """
    matrix = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    for scene in scenes:
        truths, labels = _pairs(scene, score_threshold, least_overlap)
        names = np.append(scene.truth_labels, num_classes)
        np.add.at(matrix, (names[truths], labels), 1)
        left = np.setdiff1d(np.flatnonzero(~scene.crowd), truths)
        np.add.at(matrix, (scene.truth_labels[left], num_classes), 1)
    return matrix


def _pairs(scene: Scene, score_threshold: float, least_overlap: float):
    """Object, or -1, and class of each detection that counts."""
    free = ~scene.crowd
    truths, labels = [], []
    order = np.argsort(-scene.scores, kind="stable")
    for index in order[scene.scores[order] >= score_threshold]:
        overlaps = scene.overlaps[index]
        fitting = np.where(free & (overlaps >= least_overlap), overlaps, -1.0)
        best = int(fitting.argmax()) if len(fitting) else -1
        if best >= 0 and fitting[best] < 0:
            if (overlaps[scene.crowd] >= least_overlap).any():
                continue
            best = -1
        if best >= 0:
            free[best] = False
        truths.append(best)
        labels.append(scene.labels[index])
    return np.array(truths, np.int64), np.array(labels, np.int64)
