"""Suppression of duplicates, as in `ops.nms`, for the boxes of a whole batch.

Every image has L lists of N boxes by decreasing score, one per class, or one for all.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from yolact_jax.config import Eval
from yolact_jax.export.onnx import ops
from yolact_jax.export.onnx.graph import Value, apply
from yolact_jax.ops.nms import soft_rules
from yolact_jax.ops.nms.variants import slots


class Kept(NamedTuple):
    """What survived, best first, in D slots.

    Attributes:
      anchors: [B, D] int64.
      labels: [B, D] int64.
      scores: [B, D] float32, negative in slots that are not valid.
    """

    anchors: Value
    labels: Value
    scores: Value


def suppress(
    boxes: Value,
    scores: Value,
    shape: tuple[int, int],
    options: Eval,
    score_threshold: Value,
    iou_threshold: Value,
) -> Kept:
    """Does what `ops.nms.variants.run_nms` does, for every image.

    Args:
      boxes: [B, A, 4] float32.
      scores: [B, A, C] float32.
      shape: A and C.
      options: which NMS, and its sizes.
      score_threshold: [] float32, what the best class of an anchor must exceed.
      iou_threshold: [] float32.

    Raises:
      ValueError: if this kind of NMS has no form in ONNX.
    """
    if options.weighted_boxes:
        raise ValueError(
            "config.eval.weighted_boxes is True, which has no form in ONNX; set it to "
            "False."
        )
    rule = _rule(options.nms)
    agnostic = options.class_agnostic or options.nms == "cross_class"
    ranked = ops.largest(scores, -1, keepdims=True) if agnostic else scores
    entered = ops.largest(ranked, -1, keepdims=True) > score_threshold
    # Written so that nan fails.
    ranked = ops.where(entered & (ranked >= 0.0), ranked, -1.0)
    lists, length = 1 if agnostic else shape[1], min(options.top_k, shape[0])
    ranked = apply("Transpose", ranked, perm=[0, 2, 1])
    ranked, anchors = ops.top_k(ranked, length)
    anchors = ops.reshape(anchors, 0, -1)
    sorted_boxes = ops.reshape(ops.rows(boxes, anchors), 0, lists, length, 4)
    ranked = ops.reshape(rule(sorted_boxes, ranked, iou_threshold, length), 0, -1)
    count = slots(options.nms, options.top_k, options.max_detections)
    best, place = ops.top_k(ranked, min(count, lists * length))
    kept_anchors = apply("GatherElements", anchors, place, axis=1)
    if agnostic:
        labels = apply("ArgMax", ops.rows(scores, kept_anchors), axis=-1, keepdims=0)
    else:
        labels = place // length
    missing = count - min(count, lists * length)
    # Slots without an entry get a score of -1.
    best = ops.pad_end(best + 1.0, missing, 1, 2) - 1.0 if missing else best
    kept_anchors = ops.pad_end(kept_anchors, missing, 1, 2)
    return Kept(kept_anchors, ops.pad_end(labels, missing, 1, 2), best)


Rule = Callable[[Value, Value, Value, int], Value]
"""Maps boxes [B, L, N, 4], scores, IoU threshold and N to new scores [B, L, N]."""


def _fast(boxes, scores, iou_threshold, length) -> Value:
    over = _over(boxes, iou_threshold, length)
    return ops.where(ops.any_true(over, -2), -1.0, scores)


def _cluster(boxes, scores, iou_threshold, length) -> Value:
    over = _over(boxes, iou_threshold, length)
    return ops.where(_survivors(over, scores, length) > 0.0, scores, -1.0)


def _cluster_diou(boxes, scores, iou_threshold, length) -> Value:
    over = ~(_pairwise_diou(boxes) <= iou_threshold) & _upper_triangle(length)
    return ops.where(_survivors(over, scores, length) > 0.0, scores, -1.0)


def _cluster_penalty(boxes, scores, iou_threshold, length) -> Value:
    """Lowers scores as `ops.nms.soft_rules.cluster_penalty`."""
    kept = _survivors(_over(boxes, iou_threshold, length), scores, length)
    better = (ops.expand_dims(kept, -1) > 0.0) & _upper_triangle(length)
    iou = _pairwise_iou(boxes)
    iou = ops.where(apply("IsNaN", iou), 1.0, iou)
    spared = apply("Pow", _pairwise_distance(boxes), soft_rules.DISTANCE_POWER)
    spared = ops.where(apply("IsNaN", spared), 0.0, spared)
    factors = apply("Exp", iou * iou * (-1 / soft_rules.PENALTY_SIGMA)) + spared
    factors = ops.where(better, apply("Min", factors, 1.0), 1.0)
    return ops.where(scores < 0.0, -1.0, scores * ops.product(factors, -2))


def _survivors(over: Value, scores: Value, length: int) -> Value:
    """Repeats Fast NMS until nothing changes: what greedy NMS keeps, 0.0 or 1.0."""
    over = ops.cast(over, np.float32)

    def refine(kept: Value) -> tuple[Value, Value]:
        dropped = ops.largest(over * ops.expand_dims(kept, -1), -2)
        survivors = 1.0 - dropped
        return survivors, ops.any_true(survivors > kept) | ops.any_true(
            kept > survivors
        )

    return scores.graph.loop(length, scores * 0.0 + 1.0, refine)


def _matrix(boxes, scores, iou_threshold, length, *, linear: bool = False) -> Value:
    """Lowers scores as `ops.nms.soft_rules.matrix_decay`."""
    del iou_threshold
    better = _upper_triangle(length)
    iou = _pairwise_iou(boxes)
    iou = ops.where(apply("IsNaN", iou), 1.0, iou)
    iou = iou * better.astype(np.float32)
    worst = ops.expand_dims(ops.largest(iou, -2), -1)
    if linear:
        ratio = (1.0 - iou) / apply("Max", 1.0 - worst, 1e-6)
    else:
        ratio = apply("Exp", (iou * iou - worst * worst) * -soft_rules.MATRIX_SIGMA)
    ratio = apply("Where", better, ratio, 1.0)
    factors = ops.clip(ops.smallest(ratio, -2), 0.0, 1.0)
    return ops.where(scores < 0.0, -1.0, scores * factors)


def _matrix_linear(boxes, scores, iou_threshold, length) -> Value:
    return _matrix(boxes, scores, iou_threshold, length, linear=True)


RULES: dict[str, Rule] = {
    "fast": _fast,
    "cross_class": _fast,
    "cluster": _cluster,
    "cluster_diou": _cluster_diou,
    "cluster_penalty": _cluster_penalty,
    # Other ways to what Cluster NMS finds.
    "greedy_matrix": _cluster,
    "greedy_loop": _cluster,
    "matrix": _matrix,
    "matrix_linear": _matrix_linear,
}
"""The kinds of NMS that have a form in ONNX."""


def _rule(name: str) -> Rule:
    if name not in RULES:
        raise ValueError(
            f"config.eval.nms is {name!r}, which picks one box after the other and has "
            f"no form in ONNX; choose one of {', '.join(RULES)}."
        )
    return RULES[name]


def _over(boxes: Value, iou_threshold: Value, length: int) -> Value:
    """[B, L, N, N] bool: is box i better than box j, and over it?"""
    # "Not (<=)", so that nan counts.
    return ~(_pairwise_iou(boxes) <= iou_threshold) & _upper_triangle(length)


def _upper_triangle(length: int) -> np.ndarray:
    return np.triu(np.ones((length, length), bool), k=1)


def _pairwise_iou(boxes: Value) -> Value:
    """[B, L, N, N] overlaps of [B, L, N, 4] boxes; nan of two without area."""
    x1, y1, x2, y2 = ops.columns(boxes, 4)
    width = _pairs("Min", x2) - _pairs("Max", x1)
    height = _pairs("Min", y2) - _pairs("Max", y1)
    intersection = apply("Relu", width) * apply("Relu", height)
    area = (x2 - x1) * (y2 - y1)
    return intersection / (_pairs("Add", area) - intersection)


def _pairwise_diou(boxes: Value) -> Value:
    """[B, L, N, N], as `ops.boxes.pairwise_diou`."""
    return _pairwise_iou(boxes) - _pairwise_distance(boxes)


def _pairwise_distance(boxes: Value) -> Value:
    """[B, L, N, N], as `ops.boxes.pairwise_distance`."""
    x1, y1, x2, y2 = ops.columns(boxes, 4)
    width = _pairs("Max", x2) - _pairs("Min", x1)
    height = _pairs("Max", y2) - _pairs("Min", y1)
    across, down = _pairs("Sub", x1 + x2) * 0.5, _pairs("Sub", y1 + y2) * 0.5
    # Where all four corners are one point, so are the centers.
    diagonal = apply("Max", width * width + height * height, 1e-30)
    return (across * across + down * down) / diagonal


def _pairs(kind: str, side: Value) -> Value:
    """An operator on all pairs of [B, L, N, 1], [B, L, N, N]."""
    return apply(kind, side, apply("Transpose", side, perm=[0, 1, 3, 2]))
