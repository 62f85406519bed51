"""Adaptive assignment of objects to anchors (ATSS), by boxes or by masks."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from yolact_jax.ops import boxes as box_ops
from yolact_jax.ops.largest import largest
from yolact_jax.ops.matching import Matches, ignore_crowds
from yolact_jax.structures import Array


def match_atss(
    boxes: jax.Array,
    labels: jax.Array,
    is_object: jax.Array,
    is_crowd: jax.Array,
    masks: jax.Array | None,
    anchors_cxcywh: Array,
    *,
    level_cells: Sequence[int],
    candidates: int,
    crowd_iou: float,
    sides: tuple[int, int] = (1, 1),
) -> Matches:
    """Matches the objects of one image to anchors by adaptive thresholds.

    ATSS (Zhang et al. 2020, algorithm 1): the candidates of an object are, on each
    level, the anchors of the cells nearest to its center.  Those are positive whose
    overlap reaches ``mean + standard deviation`` of the overlaps of all its candidates
    and whose center is inside its box.  An anchor that several objects want goes to
    the one it overlaps most.  All others are background; there are no neutral anchors
    but those inside crowds.  An object without an anchor center in it has no anchor.

    Args:
      boxes: [G, 4] float32.
      labels: [G] int32, foreground classes from 0.
      is_object: [G] bool, slots that hold an object.
      is_crowd: [G] bool, slots that hold a crowd region; disjoint from `is_object`.
      masks: [G, h, w], in [0, 1], any dtype: overlap is `mask_aware_iou`; None: it is
        the IoU of the boxes.
      anchors_cxcywh: [A, 4] float32.
      level_cells: cells of each level; all cells have equally many anchors.
      candidates: cells of each level whose anchors may be positive for an object, as
        its authors count them.
      crowd_iou: share of an anchor inside a crowd above which it is neutral.
      sides: height and width of the network input, in any unit.
    """
    anchors_cxcywh = jnp.asarray(anchors_cxcywh)
    anchors = box_ops.cxcywh_to_xyxy(anchors_cxcywh)
    index = nearest_anchors(
        box_ops.in_squares(boxes, sides),
        box_ops.in_squares(anchors_cxcywh, sides),
        level_cells,
        candidates,
    )
    if masks is None:
        overlaps = _rowwise_iou(boxes, anchors[index])
    else:
        overlaps = mask_aware_iou(boxes, masks, anchors[index])
    enough = overlaps >= adaptive_threshold(overlaps)[:, None]
    inside = _is_inside(anchors_cxcywh[index, :2], boxes)
    positive = enough & inside & (overlaps > 0) & is_object[:, None]

    rows = jnp.arange(len(boxes))[:, None]
    table = jnp.full((len(boxes), len(anchors)), -1.0)
    table = table.at[rows, index].set(jnp.where(positive, overlaps, -1.0))
    object_index = jnp.argmax(table, axis=0).astype(jnp.int32)
    class_target = jnp.where(jnp.max(table, axis=0) > 0, labels[object_index] + 1, 0)
    class_target = ignore_crowds(class_target, boxes, is_crowd, anchors, crowd_iou)
    return Matches(class_target.astype(jnp.int32), object_index)


def nearest_anchors(
    boxes: jax.Array,
    anchors_cxcywh: jax.Array,
    level_cells: Sequence[int],
    candidates: int,
) -> jax.Array:
    """Finds on each level the anchors of the cells nearest to the centers of boxes.

    Args:
      boxes: [G, 4] float32.
      anchors_cxcywh: [A, 4] float32.
      level_cells: cells of each level, whose sum divides A.
      candidates: N, cells wanted of each level; smaller levels give all they have.

    Returns:
      [G, A / sum(level_cells) * sum of min(N, cells)] int32; of equally near cells the
      first ones.
    """
    per_cell = len(anchors_cxcywh) // sum(level_cells)
    centers = box_ops.xyxy_to_cxcywh(boxes)[:, None, :2]
    # The anchors of a cell have the same center.
    cell_centers = anchors_cxcywh[None, ::per_cell, :2]
    found, start = [], 0
    for count in level_cells:
        level = cell_centers[:, start : start + count]
        distance = jnp.sum(jnp.square(centers - level), axis=-1)
        _, index = largest(-distance, min(candidates, count))
        found.append(start + index)
        start += count
    cells = jnp.concatenate(found, axis=1).astype(jnp.int32)[..., None]
    anchors = per_cell * cells + jnp.arange(per_cell, dtype=jnp.int32)[None, None]
    return anchors.reshape(len(boxes), -1)


def adaptive_threshold(overlaps: jax.Array) -> jax.Array:
    """Mean plus standard deviation (of a sample, n - 1) of [G, N] rows, [G] float32."""
    return jnp.mean(overlaps, axis=1) + jnp.std(overlaps, axis=1, ddof=1)


def mask_aware_iou(boxes: jax.Array, masks: jax.Array, anchors: jax.Array) -> jax.Array:
    """Overlap of anchors with objects that counts the pixels of their masks.

    maIoU (Oksuz et al. 2021, equations 3 to 5): inside the box B of an object, pixels
    of its mask M weigh ``|B| / |M|`` and all others nothing, so that the weights of B
    still sum to its area: ``maIoU = |B| / |M| * |A and M| / |A or B|``.

    Args:
      boxes: [G, 4] float32.
      masks: [G, h, w], in [0, 1], any dtype, of the whole image.  An object without any
        pixel has the IoU of its box.
      anchors: [G, N, 4] float32, for each object its own.

    Returns:
      [G, N] float32 in [0, 1].
    """
    covered = jax.vmap(_share_inside)(masks, anchors)
    iou = _rowwise_iou(boxes, anchors)
    box_area = box_ops.area(boxes)[:, None]
    # Of the usual IoU: intersection = iou * union, and areas = intersection + union.
    union = (box_area + box_ops.area(anchors)) / (1.0 + iou)
    has_mask = jnp.any(masks, axis=(1, 2))[:, None]
    weighted = jnp.nan_to_num(box_area * covered / union)
    # Masks on a coarse grid may leave their box by a part of a pixel.
    return jnp.where(has_mask, jnp.minimum(weighted, 1.0), iou)


def _share_inside(mask: jax.Array, anchors: jax.Array) -> jax.Array:
    """Share of a mask [h, w] inside each of [N, 4] anchors, by its integral image."""
    height, width = mask.shape
    integral = jnp.cumsum(jnp.cumsum(mask.astype(jnp.float32), 0), 1)
    integral = jnp.pad(integral, ((1, 0), (1, 0)))
    x1, y1, x2, y2 = jnp.moveaxis(anchors, -1, 0)

    def up_to(y, x):
        # The sum left of and above a point is bilinear between the corners of pixels.
        where = [jnp.clip(y, 0, 1) * height, jnp.clip(x, 0, 1) * width]
        return jax.scipy.ndimage.map_coordinates(integral, where, order=1)

    inside = up_to(y2, x2) - up_to(y1, x2) - up_to(y2, x1) + up_to(y1, x1)
    return inside / jnp.maximum(integral[-1, -1], 1.0)


def _rowwise_iou(boxes: jax.Array, anchors: jax.Array) -> jax.Array:
    """IoU of [G, 4] boxes with [G, N, 4] anchors, 0 where neither has an area."""
    iou = jax.vmap(lambda box, group: box_ops.pairwise_iou(box[None], group)[0])
    return jnp.nan_to_num(iou(boxes, anchors))


def _is_inside(points: jax.Array, boxes: jax.Array) -> jax.Array:
    """Whether [G, N, 2] points are inside [G, 4] boxes, not on their sides."""
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    return jnp.all((points > low) & (points < high), axis=-1)
