"""Box losses, among them those by overlap, DIoU and CIoU."""

import jax
import jax.numpy as jnp

from yolact_jax.losses.terms import box_loss
from yolact_jax.ops import boxes as box_ops
from yolact_jax.structures import Array

_LEAST = 1e-9  # area, length or squared length, as fractions of the image
_MOST_SIZE_DELTA = 30.0  # exp(0.2 * 30) is 400 times the anchor
# At an IoU of 0.5 to 0.9 smooth L1 pulls the deltas 10 to 3 times as hard as DIoU does.
# The authors of CIoU have this factor too in YOLACT, if for boxes of squashed deltas.
_OVERLAP_FACTOR = 5.0


def diou_loss(boxes: jax.Array, targets: jax.Array) -> jax.Array:
    """Distance-IoU loss of boxes, row by row (Zheng et al. 2020, equation 7).

    ``L = 1 - IoU + rho^2 / c^2``, with the distance rho of the two centers and the
    diagonal c of the smallest box around both.

    Args:
      boxes: [..., 4] float32, predicted.
      targets: [..., 4] float32.

    Returns:
      [...] float32 in [0, 2].
    """
    apart = jnp.sum(boxes.reshape(*boxes.shape[:-1], 2, 2), axis=-2)
    apart = apart - jnp.sum(targets.reshape(*targets.shape[:-1], 2, 2), axis=-2)
    distance = jnp.sum(jnp.square(apart / 2), axis=-1)
    outer = jnp.maximum(boxes[..., 2:], targets[..., 2:]) - jnp.minimum(
        boxes[..., :2], targets[..., :2]
    )
    diagonal = jnp.sum(jnp.square(outer), axis=-1)
    return 1.0 - _iou(boxes, targets) + distance / jnp.maximum(diagonal, _LEAST)


def ciou_loss(boxes: jax.Array, targets: jax.Array) -> jax.Array:
    """Complete-IoU loss of boxes, row by row (Zheng et al. 2020, equations 8 to 11).

    ``L = L_DIoU + alpha * v``, with ``v = 4 / pi^2 (atan(w*/h*) - atan(w/h))^2`` of the
    target and the predicted width and height, and ``alpha = v / (1 - IoU + v)``, a
    constant for the gradient.  Arguments and shapes are those of `diou_loss`.
    """
    v = 4 / jnp.pi**2 * jnp.square(_angle(targets) - _angle(boxes))
    iou = _iou(boxes, targets)
    alpha = jax.lax.stop_gradient(v / jnp.maximum(1.0 - iou + v, _LEAST))
    return diou_loss(boxes, targets) + alpha * v


def _overlap_loss(
    box_deltas, boxes, anchors_cxcywh, positive, kind: str, sides: tuple[int, int]
) -> jax.Array:
    """DIoU or CIoU loss of the decoded boxes; arguments as for `box_term`."""
    # Rows that do not count predict their anchor exactly: behind a mere `where` of the
    # costs, the gradient of a wild box would be 0 * inf.
    deltas = jnp.where(positive[:, None], box_deltas, 0.0)
    anchors = box_ops.cxcywh_to_xyxy(anchors_cxcywh)
    targets = jnp.where(positive[:, None], boxes, anchors)
    offsets, sizes = jnp.split(deltas, 2, axis=-1)
    deltas = jnp.concatenate([offsets, jnp.minimum(sizes, _MOST_SIZE_DELTA)], axis=-1)
    loss = {"diou": diou_loss, "ciou": ciou_loss}[kind]
    predicted = box_ops.decode(deltas, anchors_cxcywh)
    costs = loss(
        box_ops.in_squares(predicted, sides), box_ops.in_squares(targets, sides)
    )
    return _OVERLAP_FACTOR * jnp.sum(jnp.where(positive, costs, 0.0))


def box_term(
    box_deltas: jax.Array,
    boxes: jax.Array,
    anchors_cxcywh: Array,
    positive: jax.Array,
    *,
    kind: str,
    sides: tuple[int, int] = (1, 1),
) -> jax.Array:
    """The box loss that a config names, summed over positive anchors.

    DIoU and CIoU losses count five times, so that one weight suits all kinds.

    Args:
      box_deltas: [A, 4] float32, predicted.
      boxes: [A, 4] float32, the object of each anchor.
      anchors_cxcywh: [A, 4] float32.
      positive: [A] bool.
      kind: "smooth_l1", "diou" or "ciou".
      sides: height and width of the network input, in any unit.
    """
    if kind != "smooth_l1":
        return _overlap_loss(box_deltas, boxes, anchors_cxcywh, positive, kind, sides)
    return box_loss(box_deltas, box_ops.encode(boxes, anchors_cxcywh), positive)


def _iou(boxes: jax.Array, targets: jax.Array) -> jax.Array:
    inner = jnp.minimum(boxes[..., 2:], targets[..., 2:]) - jnp.maximum(
        boxes[..., :2], targets[..., :2]
    )
    intersection = jnp.prod(jnp.maximum(inner, 0.0), axis=-1)
    union = box_ops.area(boxes) + box_ops.area(targets) - intersection
    return intersection / jnp.maximum(union, _LEAST)


def _angle(boxes: jax.Array) -> jax.Array:
    """Angle whose tangent is width over height, both taken to be above 0."""
    size = jnp.maximum(boxes[..., 2:] - boxes[..., :2], _LEAST)
    return jnp.arctan2(size[..., 0], size[..., 1])
