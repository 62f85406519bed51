"""Detections, boxes in pixels, full-size masks and mask scores against the record."""

import dataclasses
import json
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pycocotools import mask as coco_mask

from parity.models import GoldenModel
from parity.records import Row, compare_scaled, has
from yolact_jax import build
from yolact_jax.inference.detect import (
    detect,
    rescore_masks,
)
from yolact_jax.inference.masks import full_size_masks
from yolact_jax.models.yolact import mask_iou_fn_of
from yolact_jax.ops import masks as mask_ops
from yolact_jax.structures import Detections, Predictions

VARIANTS = {"fast": "fast", "cross": "cross_class", "trad": "sequential"}
CANDIDATE_THRESHOLD = 0.05
IOU_THRESHOLD = 0.5
_SCORE_TOLERANCE = 2e-3
_CANVAS = 640  # holds nearly every recorded image: one compilation
_SMALL_AREA = 400


@lru_cache(maxsize=3)
def _detect_fn(model: GoldenModel, nms: str, canvas: int):
    anchors = jnp.asarray(build.make_anchors(model.config))
    options = dataclasses.replace(model.config.eval, nms=nms)

    @jax.jit
    def run(variables, predictions, image_size, score_threshold, iou_threshold):
        detections = detect(
            predictions,
            anchors,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            options=options,
            input_size=model.input_size,
        )
        one = jax.tree.map(lambda x: x[0], detections)
        prototypes = predictions.prototypes[0]
        mask_iou_fn = mask_iou_fn_of(model.module, variables)
        if mask_iou_fn is not None:
            one = rescore_masks(one, prototypes, mask_iou_fn)
        return one, full_size_masks(one, prototypes, image_size, (canvas, canvas))

    return run


def whole_pixels(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scales boxes to an image, orders their corners, truncates to whole pixels.

    Only the low end of the top-left and the high end of the bottom-right corner are
    clamped, as in the original, so a box wholly outside stays outside.

    Args:
      boxes: [..., 4] float32.
      height: of the image, pixels.
      width: of the image, pixels.

    Returns:
      [..., 4] float32 holding whole numbers.
    """
    size = np.array([width, height], np.float32)
    points = np.reshape(np.asarray(boxes), (*boxes.shape[:-1], 2, 2)) * size
    corners = np.sort(points, axis=-2)
    low, high = np.maximum(corners[..., 0, :], 0), np.minimum(corners[..., 1, :], size)
    return np.trunc(np.concatenate([low, high], axis=-1))


def check_detections(
    model: GoldenModel,
    variables: dict,
    predictions: Predictions,
    golden: dict,
    prefix: str,
    image_size: tuple[int, int],
) -> list[Row]:
    """Compares what each NMS variant makes of the predictions of one image.

    Args:
      model: the model.
      variables: with the golden weights.
      predictions: network outputs, B = 1.
      golden: the recorded arrays.
      prefix: of the image in `golden`.
      image_size: height and width of the original image, pixels.

    Returns:
      The rows.
    """
    rows = []
    if f"{prefix}cand_prior" in golden:
        rows.append(_check_candidates(predictions, golden, prefix))
    canvas = max(_CANVAS, -(-max(image_size) // 8) * 8)
    for name, nms in VARIANTS.items():
        if not has(golden, f"{prefix}{name}_prior", f"{prefix}{name}_class"):
            continue
        detections, packed = jax.device_get(
            _detect_fn(model, nms, canvas)(
                variables,
                predictions,
                jnp.asarray(image_size),
                CANDIDATE_THRESHOLD,
                IOU_THRESHOLD,
            )
        )
        masks = np.unpackbits(packed, axis=-1)[:, : image_size[0], : image_size[1]]
        rows += _check_variant(
            detections, masks, golden, f"{prefix}{name}", name, image_size
        )
        if name == "fast":
            rows += _check_soft_masks(
                model, variables, predictions, detections, golden, prefix
            )
    return rows


def _check_candidates(predictions, golden, prefix) -> Row:
    scores = np.asarray(jax.nn.softmax(predictions.class_logits[0]))[:, 1:]
    candidates = np.flatnonzero(scores.max(1) > CANDIDATE_THRESHOLD)
    recorded = golden[prefix + "cand_prior"]
    different = np.setxor1d(candidates, recorded)
    # An anchor whose score lies on the threshold may go either way.
    clear = np.abs(scores[different].max(1) - CANDIDATE_THRESHOLD) > _SCORE_TOLERANCE
    return Row("candidates", float(clear.sum()), 0.0, "anchors")


def pair_up(detections: Detections, golden: dict, name: str) -> np.ndarray:
    """Finds for each recorded detection the slot of ours; -1 where there is none."""
    ours = {
        (int(label), int(anchor)): slot
        for slot, (label, anchor, valid) in enumerate(
            zip(
                detections.labels,
                detections.anchor_index,
                detections.valid,
                strict=True,
            )
        )
        if valid
    }
    recorded = zip(golden[f"{name}_class"], golden[f"{name}_prior"], strict=True)
    return np.array([ours.get((int(c), int(p)), -1) for c, p in recorded], int)


def _check_variant(detections, masks, golden, name, stage, image_size) -> list[Row]:
    slots = pair_up(detections, golden, name)
    lost = np.sum(slots < 0)
    extra = int(detections.valid.sum()) - np.sum(slots >= 0)
    here, slots = slots >= 0, slots[slots >= 0]

    boxes_px = whole_pixels(detections.boxes, *image_size)
    rows = [Row(f"{stage}: set", float(max(lost, extra)), 1.0, "swaps")]
    for key, title, values, tolerance, unit in (
        ("score", "scores", detections.scores, _SCORE_TOLERANCE, ""),
        ("box", "boxes", detections.boxes, 1e-3, ""),
        ("post_box", "pixel boxes", boxes_px, 1.0, "px"),
        ("coeff", "coefficients", detections.coefficients, 1e-2, ""),
        (
            "post_mask_score",
            "mask scores",
            detections.mask_scores,
            _SCORE_TOLERANCE,
            "",
        ),
    ):
        if f"{name}_{key}" in golden:
            difference = np.abs(values[slots] - golden[f"{name}_{key}"][here])
            error = float(np.max(difference, initial=0))
            rows.append(Row(f"{stage}: {title}", error, tolerance, unit))
    if f"{name}_score" in golden:
        # In our order recorded scores must not rise by more than scores may err.
        recorded_scores = golden[f"{name}_score"][here][np.argsort(slots)]
        rises = np.diff(recorded_scores, prepend=np.inf).max(initial=0)
        rows.append(Row(f"{stage}: order", float(rises), _SCORE_TOLERANCE, ""))
    if f"{name}_post_area" in golden:
        rows.append(
            _check_areas(masks[slots], golden[f"{name}_post_area"][here], stage)
        )
    if f"{name}_post_rle" in golden:
        rows += _check_masks(masks[slots], golden[f"{name}_post_rle"], here, stage)
    return rows


def _check_areas(masks, recorded, stage) -> Row:
    areas = masks.sum(axis=(1, 2), dtype=np.int64)
    allowed = np.maximum(10, 0.01 * recorded)
    error = np.max(np.abs(areas - recorded) / allowed, initial=0)
    return Row(f"{stage}: mask areas", float(error), 1.0, "of 1% or 10 px")


def _check_masks(masks, packed_json, here, stage) -> list[Row]:
    counts = np.array(json.loads(bytes(packed_json).decode()), object)[here]
    least_iou, most_pixels = 1.0, 0
    for mask, text in zip(masks, counts, strict=True):
        rle: Any = {"size": list(mask.shape), "counts": text.encode()}
        recorded = coco_mask.decode(rle)
        different = int(np.sum(recorded != mask))
        if recorded.sum() > _SMALL_AREA:
            union = np.sum((recorded | mask) > 0)
            least_iou = min(least_iou, 1 - different / union)
        else:
            most_pixels = max(most_pixels, different)
    return [
        Row(f"{stage}: large masks", 1 - least_iou, 0.01, "1 - IoU"),
        Row(f"{stage}: small masks", float(most_pixels), 10.0, "px"),
    ]


def _check_soft_masks(
    model, variables, predictions, detections, golden, prefix
) -> list[Row]:
    """Compares masks at prototype size, in the recorded order of detections."""
    slots = pair_up(detections, golden, f"{prefix}fast")
    if (slots < 0).any():
        return []
    soft = mask_ops.assemble_masks(
        predictions.prototypes[0], jnp.asarray(detections.coefficients[slots])
    )
    cropped = mask_ops.crop_masks(soft, jnp.asarray(detections.boxes[slots]))
    named = {"proto_masks": soft, "proto_masks_cropped": cropped}
    if model.module.mask_iou_net is not None:
        named["maskiou_in"] = cropped[:, None]
        named["maskiou_out"] = model.module.apply(
            variables, cropped, method="mask_ious"
        )
    rows = []
    for name, array in named.items():
        rows += compare_scaled(golden, prefix + name, np.asarray(array), name, 1e-2)
    return rows
