"""From raw predictions to detections and full-size masks, all on the device."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from yolact_jax.ops import boxes as box_ops
from yolact_jax.ops import candidates
from yolact_jax.ops import masks as mask_ops
from yolact_jax.ops.nms import Kept, cross_class_nms, fast_nms
from yolact_jax.ops.sequential_nms import sequential_nms
from yolact_jax.structures import Detections, Predictions

NMS_VARIANTS = ("fast", "cross_class", "sequential")
"""Fast NMS per class, Fast NMS over all classes, and the traditional algorithm."""

_MASKS_AT_ONCE = 4


@dataclasses.dataclass(frozen=True)
class DetectOptions:
    """Sizes that shape the compiled program; thresholds are arguments instead.

    Attributes:
      top_k: boxes per class that enter suppression.
      max_detections: D, detections kept per image; "cross_class" keeps up to `top_k`.
      nms: one of `NMS_VARIANTS`.
      input_size: side of the network input, pixels, in which "sequential" measures.
      capacity: candidates above the score threshold up to which only these are
        scored and sorted, which is faster and changes nothing; 0 always takes all.
    """

    top_k: int = 200
    max_detections: int = 100
    nms: str = "fast"
    input_size: float = 550.0
    capacity: int = 1024


def detect(
    predictions: Predictions,
    anchors_cxcywh: jax.Array,
    *,
    score_threshold: jax.Array | float,
    iou_threshold: jax.Array | float,
    options: DetectOptions,
) -> Detections:
    """Decodes the predictions of a batch and suppresses duplicates.

    Args:
      predictions: network outputs.
      anchors_cxcywh: [A, 4] float32.
      score_threshold: least score an anchor needs in its best class; may be traced.
      iou_threshold: overlap above which the lower score goes; may be traced.
      options: static sizes.

    Returns:
      Detections [B, D].
    """
    # Decoded here for both ways below, which then see the same boxes to the last bit.
    boxes = box_ops.decode(predictions.box_deltas, anchors_cxcywh[None])
    inputs = (boxes, predictions.class_logits, predictions.coefficients)
    num_anchors = anchors_cxcywh.shape[0]
    detect_one = functools.partial(
        _detect_one,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        options=options,
    )

    def among_all() -> Detections:
        index, valid = jnp.arange(num_anchors), jnp.ones(num_anchors, bool)
        return jax.vmap(lambda *image: detect_one(*image, index, valid))(*inputs)

    def among_candidates(mask) -> Detections:
        def one(mask, *image) -> Detections:
            index, valid = candidates.compact(mask, options.capacity)
            return detect_one(*(x[index] for x in image), index, valid)

        return jax.vmap(one)(mask, *inputs)

    if not min(options.top_k, num_anchors) <= options.capacity < num_anchors:
        return among_all()
    mask = candidates.may_score_above(predictions.class_logits, score_threshold)
    fits = jnp.all(jnp.sum(mask, axis=-1) <= options.capacity)
    return jax.lax.cond(fits, lambda: among_candidates(mask), among_all)


def _detect_one(
    boxes, logits, coefficients, anchor_index, valid, **arguments
) -> Detections:
    """Detections among the anchors listed, of one image."""
    scores = jnp.where(valid[:, None], jax.nn.softmax(logits)[:, 1:], 0.0)
    kept = _suppress(boxes, scores, **arguments)
    return Detections(
        boxes=boxes[kept.anchor_index],
        scores=kept.scores,
        labels=kept.labels,
        coefficients=coefficients[kept.anchor_index],
        anchor_index=anchor_index[kept.anchor_index],
        valid=kept.valid,
    )


def _suppress(
    boxes, scores, score_threshold, iou_threshold, options: DetectOptions
) -> Kept:
    thresholds = {"score_threshold": score_threshold, "iou_threshold": iou_threshold}
    if options.nms == "cross_class":
        return cross_class_nms(boxes, scores, top_k=options.top_k, **thresholds)
    limit = {"max_detections": options.max_detections}
    if options.nms == "sequential":
        size = options.input_size
        return sequential_nms(boxes, scores, input_size=size, **limit, **thresholds)
    return fast_nms(boxes, scores, top_k=options.top_k, **limit, **thresholds)


def rescore_masks(
    detections: Detections,
    prototypes: jax.Array,
    mask_iou_fn: Callable[[jax.Array], jax.Array],
) -> Detections:
    """Adds the scores of the masks: box score times predicted IoU (YOLACT++).

    Args:
      detections: of one image, without the B axis.
      prototypes: [Hp, Wp, K] float32.
      mask_iou_fn: maps [D, Hp, Wp] soft masks to the predicted IoU [D, C].

    Returns:
      The detections, in the same order.
    """
    soft = mask_ops.assemble_masks(prototypes, detections.coefficients)
    ious = mask_iou_fn(mask_ops.crop_masks(soft, detections.boxes))
    ious = jnp.take_along_axis(ious, detections.labels[:, None], axis=1)[:, 0]
    return detections.replace(mask_scores=detections.scores * ious)


def full_size_masks(
    detections: Detections,
    prototypes: jax.Array,
    valid_size: jax.Array,
    canvas_size: tuple[int, int],
) -> jax.Array:
    """Assembles, crops, enlarges and thresholds the masks of one image.

    Works through the detections a few at a time, so the float masks of a large
    image never exist all at once.

    Args:
      detections: of one image, without the B axis.
      prototypes: [Hp, Wp, K] float32.
      valid_size: [2] int32, height and width of the image on its canvas, pixels.
      canvas_size: static height and width of the canvas, pixels.

    Returns:
      [D, height, ceil(width / 8)] uint8 with eight pixels a byte along the rows, as
      `jnp.packbits` makes them.
    """
    count = detections.boxes.shape[0]
    padding = -count % _MASKS_AT_ONCE

    def some_masks(inputs) -> jax.Array:
        boxes, coefficients = inputs
        soft = mask_ops.assemble_masks(prototypes, coefficients)
        soft = mask_ops.crop_masks(soft, boxes)
        return mask_ops.enlarge_and_pack(soft, valid_size, canvas_size)

    def in_groups(x) -> jax.Array:
        x = jnp.pad(x, ((0, padding), (0, 0)))
        return x.reshape(-1, _MASKS_AT_ONCE, x.shape[-1])

    inputs = (in_groups(detections.boxes), in_groups(detections.coefficients))
    packed = jax.lax.map(some_masks, inputs)
    return packed.reshape(-1, *packed.shape[2:])[:count]
