"""What Fast NMS dropped, and because of which box."""

import dataclasses

import numpy as np

from yolact_jax.ops import boxes as box_ops
from yolact_jax.results.errors.assembly import box_overlaps
from yolact_jax.structures import Predictions


@dataclasses.dataclass(frozen=True)
class Suppressed:
    """A candidate that Fast NMS dropped.

    Attributes:
      label: its class.
      score: of that class, in [0, 1].
      box: [4] float32, fractions of the image.
      anchor: that it came from.
      by: anchor of the better box that it overlaps most.
      overlap: their IoU.
    """

    label: int
    score: float
    box: np.ndarray
    anchor: int
    by: int
    overlap: float


def find_suppressed(
    predictions: Predictions,
    anchors_cxcywh: np.ndarray,
    *,
    score_threshold: float,
    iou_threshold: float,
    top_k: int,
    share: tuple[float, float] = (1.0, 1.0),
    most: int = 300,
) -> list[Suppressed]:
    """Finds what Fast NMS dropped in one image, the best scores first.

    Args:
      predictions: of the image, without the B axis.
      anchors_cxcywh: [A, 4] float32.
      score_threshold: least score of an anchor in its best class.
      iou_threshold: overlap above which the lower score goes.
      top_k: boxes per class that enter NMS.
      share: (x, y), of the network input that the image fills.
      most: how many to return.
    """
    logits = np.asarray(predictions.class_logits, float)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = (shares / shares.sum(axis=1, keepdims=True))[:, 1:]
    entered = np.flatnonzero(scores.max(axis=1) > score_threshold)
    boxes = np.asarray(box_ops.decode(predictions.box_deltas, anchors_cxcywh))
    boxes = boxes / np.array(share * 2, np.float32)
    found: list[Suppressed] = []
    for label in range(scores.shape[1]):
        order = np.argsort(-scores[entered, label], kind="stable")[:top_k]
        rows = entered[order]
        overlaps = np.triu(box_overlaps(boxes[rows], boxes[rows]), 1)
        by = overlaps.argmax(axis=0) if len(rows) else np.zeros(0, int)
        for place in np.flatnonzero(overlaps.max(axis=0, initial=0) > iou_threshold):
            row, other = rows[place], rows[by[place]]
            overlap = float(overlaps[by[place], place])
            score = float(scores[row, label])
            found.append(
                Suppressed(label, score, boxes[row], int(row), int(other), overlap)
            )
    return sorted(found, key=lambda one: -one.score)[:most]
