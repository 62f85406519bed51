"""Which anchors learn which objects, by the rule that the config names."""

import functools

import jax

from yolact_jax.config import Loss
from yolact_jax.ops.anchors import level_shapes
from yolact_jax.ops.atss import match_atss
from yolact_jax.ops.matching import Matches, match_anchors
from yolact_jax.structures import Array, Batch


def match_batch(batch: Batch, anchors_cxcywh: Array, options: Loss) -> Matches:
    """Matches the objects of every image to anchors.

    Args:
      batch: ground truth.
      anchors_cxcywh: [A, 4] float32.
      options: the rule, its thresholds and its measure of overlap.

    Returns:
      Matches with a leading axis B.

    Raises:
      ValueError: if ATSS gets anchors that are not those of the masks' input size.
    """
    crowd = batch.valid & batch.crowd
    image = (batch.boxes, batch.labels, batch.is_object, crowd)
    if options.assignment == "atss":
        mask_size = batch.masks.shape[2], batch.masks.shape[3]
        match = functools.partial(
            match_atss,
            anchors_cxcywh=anchors_cxcywh,
            level_shapes=cell_shapes(len(anchors_cxcywh), mask_size),
            sides=(batch.images.shape[1], batch.images.shape[2]),
            candidates=options.atss_candidates,
            crowd_iou=options.crowd_iou,
        )
        masks = batch.masks if options.overlap == "mask_aware" else None
        return jax.vmap(lambda *x: match(*x))(*image, masks)
    match = functools.partial(
        match_anchors,
        anchors_cxcywh=anchors_cxcywh,
        positive_iou=options.positive_iou,
        negative_iou=options.negative_iou,
        crowd_iou=options.crowd_iou,
    )
    return jax.vmap(lambda *x: match(*x))(*image)


def cell_shapes(
    num_anchors: int, mask_size: tuple[int, int]
) -> tuple[tuple[int, int], ...]:
    """Rows and columns of each pyramid level, whose maps start at half the masks' size.

    Raises:
      ValueError: if the cells of all levels cannot share the anchors equally.
    """
    height, width = mask_size
    shapes = level_shapes((4 * height, 4 * width))
    cells = sum(rows * columns for rows, columns in shapes)
    if num_anchors == 0 or num_anchors % cells:
        raise ValueError(
            f"There are {num_anchors} anchors; with masks of {height} x {width} pixels "
            f"their number must be a multiple of the {cells} cells of all levels."
        )
    return shapes
