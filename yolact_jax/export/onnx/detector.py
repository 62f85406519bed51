"""The whole detector: pixels in, boxes, scores, labels and full-size masks out."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from yolact_jax.config import Eval, InputFrame
from yolact_jax.export.onnx import letterbox, masks, network, nms, ops, pixels
from yolact_jax.export.onnx.graph import Graph, Value, apply
from yolact_jax.export.onnx.layers import Map, Weights
from yolact_jax.models.normalize import Normalization
from yolact_jax.ops.boxes import CENTER_VARIANCE, SIZE_VARIANCE
from yolact_jax.ops.nms.variants import slots


@dataclasses.dataclass(frozen=True)
class Detector:
    """What the exported program depends on besides the weights.

    Attributes:
      frame: the network input, and how images are put on it.
      num_classes: C.
      anchors_cxcywh: [A, 4] float32.
      normalization: of the pixels.
      options: which NMS, its sizes, and the default thresholds.
      default_score: least score of an object where no other is given.
      dtype: type in which convolutions run.
      without_default: inputs that must be given, since some runtimes ignore those that
        may be left out.
    """

    frame: InputFrame
    num_classes: int
    anchors_cxcywh: np.ndarray
    normalization: Normalization
    options: Eval
    default_score: float
    dtype: Any = np.float32
    without_default: tuple[str, ...] = ()

    @property
    def slots(self) -> int:
        """D, detections of an image."""
        options = self.options
        return slots(options.nms, options.top_k, options.max_detections)


def write_detector(detector: Detector, variables: Mapping[str, Any]) -> Graph:
    """Writes all nodes from the pixels to the masks.

    Inputs are ``image`` [batch, height, width, N] uint8, RGB or the channels after
    their window, see `data.pixels`, and with defaults
    ``score_thresholds`` [C], ``candidate_threshold``, ``iou_threshold`` and
    ``mask_margin``, as in `inference.options.Choices`.  Outputs have D slots, filled
    from the front: ``boxes`` [batch, D, 4] in pixels inside the image, ``scores``,
    ``labels``, ``count`` [batch], and ``mask_scores`` for YOLACT++; and ``masks``
    [batch, M, height, width] bool for the first M slots, as many as the fullest image
    uses, at least 1.

    Args:
      detector: what to write.
      variables: parameters and batch statistics, on the host.
    """
    graph = Graph()
    shape = ("batch", "height", "width", detector.normalization.channels)
    image = graph.input("image", np.uint8, shape)
    choices = _choices(graph, detector)
    weights = Weights(variables["params"], variables["batch_stats"], detector.dtype)
    frame = detector.frame
    used = letterbox.used_size(image, frame)
    pixel_input = pixels.network_input(image, frame, used, detector.normalization)
    predicted = network.predict(pixel_input, frame.size, weights)
    found = _detect(predicted, detector, choices)
    if "mask_iou_net" in weights:
        found["mask_scores"] = _mask_scores(found, predicted.prototypes, weights)
    found, count = _chosen(found, choices["score_thresholds"], detector.slots)
    found["masks"] = _masks(
        found,
        count,
        predicted.prototypes,
        image,
        choices["mask_margin"],
        letterbox.used_cells(used, frame, predicted.prototypes.size),
    )
    found["boxes"] = _in_pixels(letterbox.to_image(found["boxes"], used, frame), image)
    _name_outputs(graph, found, count, detector.slots)
    return graph


def _choices(graph: Graph, detector: Detector) -> dict[str, Value]:
    options = detector.options
    defaults = {
        "score_thresholds": np.full(detector.num_classes, detector.default_score),
        "candidate_threshold": np.asarray(options.candidate_threshold),
        "iou_threshold": np.asarray(options.iou_threshold),
        "mask_margin": np.asarray(0.0),
    }
    return {
        name: graph.input(
            name,
            np.float32,
            default.shape,
            None if name in detector.without_default else default,
        )
        for name, default in defaults.items()
    }


def _detect(
    predicted: network.Predicted, detector: Detector, choices: dict[str, Value]
) -> dict[str, Value]:
    """Boxes, scores, labels and coefficients in D slots; scores negative if empty."""
    boxes = _decode(predicted.box_deltas, detector.anchors_cxcywh)
    scores = apply("Softmax", predicted.class_logits, axis=-1)
    scores = ops.part(scores, 1, detector.num_classes + 1, 2)
    kept = nms.suppress(
        _in_squares(boxes, detector.frame),
        scores,
        (len(detector.anchors_cxcywh), detector.num_classes),
        detector.options,
        choices["candidate_threshold"],
        choices["iou_threshold"],
    )
    return {
        "boxes": ops.rows(boxes, kept.anchors),
        "scores": kept.scores,
        "labels": kept.labels,
        "coefficients": ops.rows(predicted.coefficients, kept.anchors),
    }


def _decode(deltas: Value, anchors_cxcywh: np.ndarray) -> Value:
    """Does what `ops.boxes.decode` does for [B, A, 4]."""
    anchor_center, anchor_size = np.split(anchors_cxcywh.astype(np.float32), 2, axis=1)
    offsets, log_sizes = ops.part(deltas, 0, 2, 2), ops.part(deltas, 2, 4, 2)
    center = offsets * CENTER_VARIANCE * anchor_size + anchor_center
    size = apply("Exp", log_sizes * SIZE_VARIANCE) * anchor_size
    top_left = center - size / 2.0
    return ops.concatenate([top_left, top_left + size], -1)


def _in_squares(boxes: Value, frame: InputFrame) -> Value:
    """Does what `ops.boxes.in_squares` does."""
    if frame.height == frame.width:
        return boxes
    scale = np.array(frame.size[::-1] * 2, np.float32) / max(frame.size)
    return boxes * scale


def _mask_scores(found: dict[str, Value], prototypes: Map, weights: Weights) -> Value:
    """Scores times the predicted overlaps of the masks, [B, D] (YOLACT++)."""
    size = prototypes.size
    soft = masks.soft_masks(prototypes, found["coefficients"])
    soft = masks.crop(soft, found["boxes"], size)
    ious = network.mask_ious(ops.reshape(soft, -1, 1, *size), size, weights)
    label = ops.reshape(found["labels"], -1, 1)
    of_label = apply("GatherElements", ious, label, axis=1)
    return found["scores"] * ops.reshape_like(of_label, found["scores"])


def _chosen(
    found: dict[str, Value], score_thresholds: Value, slots: int
) -> tuple[dict[str, Value], Value]:
    """Moves what scores enough for its class to the front, and counts it: [B] int64."""
    ranking = found.get("mask_scores", found["scores"])
    least = ops.take(score_thresholds, found["labels"], 0)
    keep = (found["scores"] > 0.0) & (ranking >= least)
    # All different: not every runtime puts the first of equals first.
    places = np.arange(slots, dtype=np.float32)
    keys, order = ops.top_k(ops.cast(keep, np.float32) * float(slots) - places, slots)
    valid = ops.cast(keys > 0.0, np.float32)
    moved = {name: ops.rows(value, order) for name, value in found.items()}
    for name in ("boxes", "scores", "labels", "mask_scores"):
        if name in moved:
            used = ops.expand_dims(valid, -1) if name == "boxes" else valid
            zero = np.int64(0) if name == "labels" else 0.0
            moved[name] = ops.where(used > 0.0, moved[name], zero)
    return moved, ops.cast(ops.total(valid, -1), np.int64)


def _masks(
    found: dict[str, Value],
    count: Value,
    prototypes: Map,
    image: Value,
    margin: Value,
    shown: tuple[Value, Value] | None,
) -> Value:
    """[B, M, H, W] bool: of the slots that an image of the batch fills, at least 1."""
    used = ops.reshape(apply("Max", ops.largest(count, 0), 1), 1)
    boxes, coefficients = (
        ops.part(found[name], 0, used, 1) for name in ("boxes", "coefficients")
    )
    soft = masks.soft_masks(prototypes, coefficients)
    soft = masks.crop(soft, masks.widen(boxes, margin), prototypes.size)
    return masks.enlarge(soft, ops.size(image, 1), ops.size(image, 2), shown)


def _in_pixels(boxes: Value, image: Value) -> Value:
    sides = [ops.expand_dims(ops.size(image, axis), 0) for axis in (2, 1, 2, 1)]
    sizes = ops.cast(ops.concatenate(sides, 0), np.float32)
    return ops.clip(boxes, 0.0, 1.0) * sizes


def _name_outputs(
    graph: Graph, found: dict[str, Value], count: Value, slots: int
) -> None:
    types = {
        "boxes": (np.float32, (slots, 4)),
        "scores": (np.float32, (slots,)),
        "labels": (np.int32, (slots,)),
        "masks": (np.bool_, ("most", "height", "width")),
        "mask_scores": (np.float32, (slots,)),
    }
    for name, (dtype, shape) in types.items():
        if name in found:
            value = found[name]
            value = ops.cast(value, dtype) if name == "labels" else value
            graph.output(name, value, dtype, ("batch", *shape))
    graph.output("count", ops.cast(count, np.int32), np.int32, ("batch",))
