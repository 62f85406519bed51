"""Matching, hard negatives, losses, gradients, batch statistics against the record."""

import dataclasses
import functools
import re
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from parity.gradients import check_component, check_gradient
from parity.manifest import Manifest
from parity.models import GoldenModel, to_nchw
from parity.records import Row, compare_absolute, compare_scaled, has
from yolact_jax import build
from yolact_jax.losses import yolact
from yolact_jax.models.normalize import normalize_images
from yolact_jax.models.yolact import mask_iou_fn_of
from yolact_jax.ops import boxes as box_ops
from yolact_jax.ops import matching
from yolact_jax.structures import Batch
from yolact_jax.weights.torch_names import torch_key

TERMS = {
    "B": "box",
    "C": "classification",
    "I": "mask_iou",
    "M": "mask",
    "S": "semantic",
}


def cases_of(golden: dict) -> list[str]:
    """Lists the recorded steps, as "A_frozen" or "A_bn": batch and statistics."""
    found = (re.match(r"(\w+_(?:frozen|bn))/", key) for key in golden)
    return sorted({match[1] for match in found if match})


def golden_batch(golden: dict, group: str, manifest: Manifest) -> Batch:
    """Assembles a recorded batch; its masks have the size of the input.

    Args:
      golden: the recorded arrays.
      group: as "A".
      manifest: has the images.

    Returns:
      Images [B, S, S, 3] uint8 and ground truth padded to the largest image.
    """
    names = [str(name) for name in golden[f"{group}/images"]]
    images = np.stack([manifest.image(name) for name in names])
    truths = [_ground_truth(golden, f"{group}/gt{i}_") for i in range(len(names))]
    slots = max(len(truth["labels"]) for truth in truths)

    def padded(field: str) -> np.ndarray:
        rows = [truth[field] for truth in truths]
        widths = [((0, slots - len(r)),) + ((0, 0),) * (r.ndim - 1) for r in rows]
        return np.stack([np.pad(r, w) for r, w in zip(rows, widths, strict=True)])

    fields = ("boxes", "labels", "masks", "valid", "crowd")
    # They stay on the host until a step takes them.
    arrays: dict[str, Any] = {field: padded(field) for field in fields}
    arrays["images"] = images
    return Batch(**arrays)


def _ground_truth(golden: dict, prefix: str) -> dict[str, np.ndarray]:
    count, height, width = golden[f"{prefix}masks_shape"]
    bits = np.unpackbits(golden[f"{prefix}masks_packed"], axis=1)[:, : height * width]
    labels = golden[f"{prefix}labels"]
    crowd = np.asarray(golden.get(f"{prefix}iscrowd", labels < 0), bool)
    return {
        "boxes": golden[f"{prefix}boxes"],
        "labels": np.where(crowd, 0, labels).astype(np.int32),
        "masks": bits.reshape(count, height, width),
        "valid": np.ones(count, bool),
        "crowd": crowd,
    }


@lru_cache(maxsize=1)
def backward_fn(model: GoldenModel, max_masks: int):
    """Compiles terms, outputs, statistics and the gradient of a sum of terms."""
    anchors = jnp.asarray(build.make_anchors(model.config))
    options = dataclasses.replace(model.config.loss, max_masks=max_masks)
    # The original's random choice was replaced by "the first ones" for the record.
    priority = 1 - jnp.arange(len(anchors)) / len(anchors)

    @jax.jit
    def backward(variables, batch, weights):
        def loss_fn(params):
            bound = {"params": params, "batch_stats": variables["batch_stats"]}
            predictions, updates = model.module.apply(
                bound,
                normalize_images(batch.images, model.module.normalization),
                train=True,
                mutable=["batch_stats"],
            )
            terms = yolact.yolact_losses(
                predictions,
                batch,
                anchors,
                priority=jnp.broadcast_to(priority, predictions.box_deltas.shape[:2]),
                options=options,
                mask_iou_fn=mask_iou_fn_of(model.module, bound),
            )
            return _dot(terms, weights), (terms, predictions, updates["batch_stats"])

        gradient, results = jax.grad(loss_fn, has_aux=True)(variables["params"])
        return results, gradient

    return backward


def _dot(terms: yolact.Losses, weights: yolact.Losses) -> jax.Array:
    return jax.tree.map(jnp.multiply, terms, weights).total


def term_weights(model: GoldenModel, only: str | None = None) -> yolact.Losses:
    """Weights for `backward_fn`: 1 for the terms of a model, or for one of `TERMS`."""
    names = [n for n in TERMS if n != "I" or model.module.mask_iou_net is not None]
    return yolact.Losses(**{TERMS[n]: jnp.float32(only in (None, n)) for n in names})


def check_training_step(
    model: GoldenModel, variables: dict, golden: dict, case: str, manifest: Manifest
) -> list[Row]:
    """Compares one step of training, without the update.

    Args:
      model: with `freeze_bn` as the case needs it.
      variables: with the golden weights.
      golden: the recorded arrays.
      case: as "A_frozen", see `cases_of`.
      manifest: has the images.

    Returns:
      The rows.
    """
    group = case.rpartition("_")[0]
    batch = golden_batch(golden, group, manifest)
    run = backward_fn(model, model.config.loss.max_masks)
    (terms, predictions, stats), gradient = jax.device_get(
        run(variables, batch, term_weights(model))
    )
    rows = _check_outputs(predictions, golden, case)
    # Hard negatives depend on the outputs; those with frozen statistics are on record.
    if case.endswith("frozen"):
        rows += _check_matching(model, batch, predictions, golden, group)
    rows += _check_losses(terms, golden, case, "losses")
    rows += check_gradient(gradient, golden, case)
    for name in TERMS:
        if f"{case}/grad_l2_of_{name}" in golden:
            _, part = run(variables, batch, term_weights(model, name))
            rows.append(check_component(jax.device_get(part), golden, case, name))
    rows += _check_statistics(stats, golden, case)
    return rows


def check_unlimited_masks(
    model: GoldenModel, variables: dict, golden: dict, case: str, manifest: Manifest
) -> list[Row]:
    """Compares the losses of a batch when every positive enters the mask loss."""
    if not has(golden, f"{case}/losses_without_limit", f"{case}/num_pos"):
        return []
    batch = golden_batch(golden, case.rpartition("_")[0], manifest)
    most = int(golden[f"{case}/num_pos"].max())
    (terms, _, _), _ = backward_fn(model, most)(variables, batch, term_weights(model))
    return _check_losses(terms, golden, case, "losses_without_limit")


def _check_outputs(predictions, golden, case) -> list[Row]:
    named = {
        "out_loc": predictions.box_deltas,
        "out_conf": predictions.class_logits,
        "out_mask": predictions.coefficients,
        "out_proto": predictions.prototypes,
        "out_segm": to_nchw(predictions.semantic_logits),
    }
    tolerance = 5e-3 if case.endswith("bn") else 1e-3
    rows = []
    for name, array in named.items():
        stage = f"{case}: {name}"
        rows += compare_scaled(golden, f"{case}/{name}", array, stage, tolerance)
    return rows


def _check_matching(model, batch, predictions, golden, group) -> list[Row]:
    anchors = jnp.asarray(build.make_anchors(model.config))
    loss = model.config.loss
    match = functools.partial(
        matching.match_anchors,
        anchors_cxcywh=anchors,
        positive_iou=loss.positive_iou,
        negative_iou=loss.negative_iou,
        crowd_iou=loss.crowd_iou,
    )
    matches = jax.device_get(
        jax.jit(jax.vmap(match))(
            batch.boxes, batch.labels, batch.is_object, batch.valid & batch.crowd
        )
    )
    target, positive = matches.class_target, matches.positive
    index = np.where(positive, matches.object_index, -1)
    wrong = 0
    if f"{group}/conf_t" in golden:
        wrong += np.sum(target != golden[f"{group}/conf_t"])
    if f"{group}/idx_t" in golden:
        wrong += np.sum(index != golden[f"{group}/idx_t"])
    rows = [Row(f"{group}: matching", float(wrong), 0.0, "anchors")]
    if wrong:
        return rows
    image, prior = np.nonzero(positive)
    boxes = batch.boxes[image, matches.object_index[image, prior]]
    deltas = np.asarray(box_ops.encode(jnp.asarray(boxes), anchors[prior]))
    name = f"{group}/pos_loc_t"
    rows += compare_absolute(golden, name, deltas, f"{group}: box targets", 1e-5)
    if has(golden, f"{group}/ohem_neg_image", f"{group}/ohem_neg_prior"):
        rows.append(_check_hard_negatives(predictions, target, golden, group))
    return rows


def _check_hard_negatives(predictions, target, golden, group) -> Row:
    background = jax.nn.log_softmax(jnp.asarray(predictions.class_logits))[..., 0]
    chosen = jax.vmap(lambda b, t: yolact.hard_negatives(b, t, 3))(background, target)
    recorded = np.zeros(target.shape, bool)
    image, prior = golden[f"{group}/ohem_neg_image"], golden[f"{group}/ohem_neg_prior"]
    recorded[image, prior] = True
    different = np.sum(np.asarray(chosen) & ~recorded) / max(len(prior), 1)
    return Row(f"{group}: hard negatives", float(different), 0.01, "different")


def _check_losses(terms, golden, case, key) -> list[Row]:
    if not has(golden, f"{case}/{key}", f"{case}/loss_names"):
        return []
    recorded = np.asarray(golden[f"{case}/{key}"], np.float64)
    exact = golden.get(f"{case}/{key}__fp64", np.full_like(recorded, np.nan))
    rows = []
    for name, value, wide in zip(
        golden[f"{case}/loss_names"], recorded, exact, strict=True
    ):
        scale = abs(value) or 1.0
        error = abs(float(getattr(terms, TERMS[str(name)])) - value) / scale
        noise = abs(value - wide) / scale
        tolerance = 2e-3 if name == "I" else 1e-4
        rows.append(Row(f"{case}: {key} {name}", error, tolerance, "rel", noise))
    return rows


def _check_statistics(stats, golden, case) -> list[Row]:
    flat = flatten_dict({"batch_stats": stats})
    ours = {torch_key(path): np.asarray(array) for path, array in flat.items()}
    rows = []
    for key in golden:
        name = key.partition(f"{case}/bn/")[2]
        if name in ours:
            difference = np.abs(ours[name] - golden[key])
            error = np.max(difference / np.maximum(1, np.abs(golden[key])))
            rows.append(Row(f"{case}: running statistics", float(error), 1e-4, "rel"))
    return rows
