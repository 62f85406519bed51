"""Finds annotations that are legal but most likely a mistake."""

import dataclasses
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from yolact_jax.data.example import Annotations

# Boxes drawn by hand are not exact: 2 pixels and a tenth of the outline are let pass.
_TOLERANCE_PX = 2.0
_TOLERANCE_SIDES = 0.1


def outline_boxes_px(annotations: Annotations) -> np.ndarray:
    """Returns the boxes around the outlines of an image's annotations.

    They are [n, 4] float64, (x1, y1, x2, y2) in pixels, not clipped to the image.
    """
    segmentations = annotations.segmentations
    low = np.full((len(annotations), 2), np.inf)
    high = -low
    if len(segmentations.ring_sizes):
        starts = np.cumsum(segmentations.ring_sizes) - segmentations.ring_sizes
        points, owner = segmentations.points_px, segmentations.ring_owner
        np.minimum.at(low, owner, np.minimum.reduceat(points, starts))
        np.maximum.at(high, owner, np.maximum.reduceat(points, starts))
    if segmentations.rle_counts:
        masks: Any = [  # The stubs know no list.
            {"size": segmentations.size, "counts": counts}
            for counts in segmentations.rle_counts
        ]
        boxes = coco_mask.toBbox(masks)
        low[segmentations.rle_owner] = boxes[:, :2]
        high[segmentations.rle_owner] = boxes[:, :2] + boxes[:, 2:]
    return np.concatenate([low, high], axis=1)


def contradicted(annotations: Annotations) -> tuple[np.ndarray, np.ndarray]:
    """Compares the boxes of an image with their outlines, inside the image.

    Boxes without area are ignored.

    Returns:
      [n] bool, whether the box contradicts its outline; and [n] bool, whether it does
      so because it holds two corners instead of a corner, width and height.
    """
    outlines = outline_boxes_px(annotations)
    has_area = (annotations.boxes_xywh_px[:, 2:] > 0).all(axis=1)
    is_wrong = has_area & ~_agree(annotations, annotations.boxes_px, outlines)
    as_corners = _agree(annotations, annotations.boxes_xywh_px, outlines)
    return is_wrong, is_wrong & as_corners


def _agree(
    annotations: Annotations, boxes: np.ndarray, outlines: np.ndarray
) -> np.ndarray:
    """Whether boxes (x1, y1, x2, y2) fit the outlines, [n] bool."""
    limit = np.tile(annotations.segmentations.size[::-1], 2)
    boxes, outlines = np.clip(boxes, 0, limit), np.clip(outlines, 0, limit)
    sides = (outlines[:, 2:] - outlines[:, :2]).max(axis=1)
    tolerance = np.maximum(_TOLERANCE_PX, _TOLERANCE_SIDES * sides)
    return abs(boxes - outlines).max(axis=1) <= tolerance


@dataclasses.dataclass
class Tally:
    """Counts over the images of a split.

    Attributes:
      annotations: all of them.
      crowds: those with `iscrowd` 1.
      contradicted: those whose box contradicts its outline.
      corners: those of them whose box holds two corners.
    """

    annotations: int = 0
    crowds: int = 0
    contradicted: int = 0
    corners: int = 0

    def add(self, annotations: Annotations) -> None:
        """Counts the annotations of one more image."""
        is_wrong, is_corners = contradicted(annotations)
        self.annotations += len(annotations)
        self.crowds += int(annotations.crowd.sum())
        self.contradicted += int(is_wrong.sum())
        self.corners += int(is_corners.sum())

    @property
    def mostly_crowds(self) -> bool:
        """Whether more than half of the annotations are crowds."""
        return 2 * self.crowds > self.annotations

    @property
    def about_crowds(self) -> str:
        """Says in one sentence how many crowds there are and what to do."""
        return (
            f"{self.crowds} of {self.annotations} annotations are crowds (iscrowd 1),"
            " which are not trained on; some tools export every brush mask so: set"
            " `iscrowd` to 0 where a mask is one object."
        )

    def warnings(self, split: str) -> list[str]:
        """Returns one sentence for each suspicious count."""
        found = [f"{split}: {self.about_crowds}"] if self.mostly_crowds else []
        if self.contradicted:
            found.append(
                f"{split}: {self.contradicted} of {self.annotations} annotations have a"
                " `bbox` (x, y, width, height) that contradicts their outline;"
                f" {self.corners} of these would agree as corners (x1, y1, x2, y2)."
            )
        return found
