"""Adaptive assignment of objects to anchors (ATSS), by boxes or by masks."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

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
    level_shapes: Sequence[tuple[int, int]],
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
      level_shapes: rows and columns of each level's cells, which have equally many
        anchors, all at the center of their cell.
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
        level_shapes,
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
    level_shapes: Sequence[tuple[int, int]],
    candidates: int,
) -> jax.Array:
    """Finds on each level the anchors of the cells nearest to the centers of boxes.

    Args:
      boxes: [G, 4] float32.
      anchors_cxcywh: [A, 4] float32.
      level_shapes: rows and columns of each level's cells, a regular grid; their number
        divides A.
      candidates: N, cells wanted of each level; smaller levels give all they have.

    Returns:
      [G, A / cells * sum of min(N, cells of the level)] int32; of equally near cells
      the first ones.
    """
    counts = [rows * columns for rows, columns in level_shapes]
    per_cell = len(anchors_cxcywh) // sum(counts)
    centers = box_ops.xyxy_to_cxcywh(boxes)[:, :2]
    # The anchors of a cell have the same center.
    cell_centers = anchors_cxcywh[::per_cell, :2]
    found, start = [], 0
    for shape, count in zip(level_shapes, counts, strict=True):
        level = cell_centers[start : start + count].reshape(*shape, 2)
        found.append(start + _nearest_cells(centers, level, candidates))
        start += count
    cells = jnp.concatenate(found, axis=1)[..., None]
    anchors = per_cell * cells + jnp.arange(per_cell, dtype=jnp.int32)[None, None]
    return anchors.reshape(len(boxes), -1)


def _nearest_cells(points: jax.Array, grid: jax.Array, count: int) -> jax.Array:
    """Numbers of the cells of a grid [R, C, 2] nearest to points [G, 2], in order."""
    across, column = _nearest(points[:, :1], grid[None, 0, :, 0], count)
    down, row = _nearest(points[:, 1:], grid[None, :, 0, 1], count)
    # Counted from 1, the cell in the i-th nearest row and the j-th nearest column comes
    # after i * j - 1 others, or more.
    ranks = itertools.product(range(row.shape[1]), range(column.shape[1]))
    i, j = np.array([(i, j) for i, j in ranks if (i + 1) * (j + 1) <= count]).T
    cells = row[:, i] * grid.shape[1] + column[:, j]
    _, cells = jax.lax.sort((down[:, i] + across[:, j], cells), num_keys=2)
    return cells[:, : min(count, grid.shape[0] * grid.shape[1])]


def _nearest(points: jax.Array, line: jax.Array, count: int):
    """Squared distances and places of the coordinates [1, n] nearest to [G, 1]."""
    distance, index = largest(-jnp.square(points - line), min(count, line.shape[1]))
    return -distance, index


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
    covered = _share_inside(masks, anchors)
    iou = _rowwise_iou(boxes, anchors)
    box_area = box_ops.area(boxes)[:, None]
    # Of the usual IoU: intersection = iou * union, and areas = intersection + union.
    union = (box_area + box_ops.area(anchors)) / (1.0 + iou)
    has_mask = jnp.any(masks, axis=(1, 2))[:, None]
    weighted = jnp.nan_to_num(box_area * covered / union)
    # Masks on a coarse grid may leave their box by a part of a pixel.
    return jnp.where(has_mask, jnp.minimum(weighted, 1.0), iou)


def _share_inside(masks: jax.Array, anchors: jax.Array) -> jax.Array:
    """Share of each of the masks [G, h, w] inside its anchors [G, N, 4], [G, N]."""
    height, width = masks.shape[1:]
    masks = masks.astype(jnp.float32)
    x1, y1, x2, y2 = jnp.moveaxis(anchors, -1, 0)
    rows, columns = _parts_inside(y1, y2, height), _parts_inside(x1, x2, width)
    # Weights of pixels and not only 0 or 1: half precision would be too coarse.
    by_column = jnp.matmul(rows, masks, precision=jax.lax.Precision.HIGHEST)
    inside = jnp.sum(by_column * columns, axis=-1)
    total = jnp.sum(masks, axis=(1, 2))[:, None]
    return inside / jnp.where(total > 0, total, 1.0)


def _parts_inside(low: jax.Array, high: jax.Array, count: int) -> jax.Array:
    """[G, N, count] shares of the equal parts of [0, 1] between [G, N] bounds."""
    parts = jnp.arange(count, dtype=jnp.float32)[None, None]
    low, high = (count * bound[..., None] - parts for bound in (low, high))
    return jnp.clip(high, 0.0, 1.0) - jnp.clip(low, 0.0, 1.0)


def _rowwise_iou(boxes: jax.Array, anchors: jax.Array) -> jax.Array:
    """IoU of [G, 4] boxes with [G, N, 4] anchors, 0 where neither has an area."""
    iou = jax.vmap(lambda box, group: box_ops.pairwise_iou(box[None], group)[0])
    return jnp.nan_to_num(iou(boxes, anchors))


def _is_inside(points: jax.Array, boxes: jax.Array) -> jax.Array:
    """Whether [G, N, 2] points are inside [G, 4] boxes, not on their sides."""
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    return jnp.all((points > low) & (points < high), axis=-1)
