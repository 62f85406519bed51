"""Matching, hard negatives, losses, gradients, batch statistics against the record."""

import dataclasses
import functools
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from parity.gradients import check_component, check_gradient
from parity.images import load_image
from parity.models import GoldenModel, to_nchw
from parity.records import Row, compare_scaled
from yolact_jax import build
from yolact_jax.losses import yolact
from yolact_jax.models.normalize import normalize_images
from yolact_jax.ops import boxes as box_ops
from yolact_jax.ops import matching
from yolact_jax.structures import Batch
from yolact_jax.training.step import mask_iou_fn_of
from yolact_jax.weights.torch_names import torch_key

TERMS = {
    "B": "box",
    "C": "classification",
    "I": "mask_iou",
    "M": "mask",
    "S": "semantic",
}


def golden_batch(golden: dict, group: str, folder: Path) -> Batch:
    """Assembles a recorded batch; its masks have the size of the input.

    Args:
      golden: the recorded arrays.
      group: "A" or "B".
      folder: where the images are.

    Returns:
      Images [B, 550, 550, 3] uint8 and ground truth padded to the largest image.
    """
    names = [str(name) for name in golden[f"{group}/images"]]
    images = np.stack([load_image(name, folder) for name in names])
    truths = [_ground_truth(golden, f"{group}/gt{i}_") for i in range(len(names))]
    slots = max(len(truth["labels"]) for truth in truths)

    def padded(field: str) -> np.ndarray:
        rows = [truth[field] for truth in truths]
        widths = [((0, slots - len(r)),) + ((0, 0),) * (r.ndim - 1) for r in rows]
        return np.stack([np.pad(r, w) for r, w in zip(rows, widths, strict=True)])

    fields = ("boxes", "labels", "masks", "valid", "crowd")
    return Batch(images=images, **{field: padded(field) for field in fields})


def _ground_truth(golden: dict, prefix: str) -> dict[str, np.ndarray]:
    count, height, width = golden[f"{prefix}masks_shape"]
    bits = np.unpackbits(golden[f"{prefix}masks_packed"], axis=1)[:, : height * width]
    crowd = golden[f"{prefix}iscrowd"].astype(bool)
    return {
        "boxes": golden[f"{prefix}boxes"],
        "labels": np.where(crowd, 0, golden[f"{prefix}labels"]).astype(np.int32),
        "masks": bits.reshape(count, height, width),
        "valid": np.ones(count, bool),
        "crowd": crowd,
    }


@lru_cache(maxsize=1)
def _backward_fn(model: GoldenModel, max_masks: int):
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
    return sum(jax.tree.leaves(jax.tree.map(jnp.multiply, terms, weights)))


def _weights(model: GoldenModel, only: str | None = None) -> yolact.Losses:
    names = [n for n in TERMS if n != "I" or model.module.mask_iou_net is not None]
    return yolact.Losses(**{TERMS[n]: jnp.float32(only in (None, n)) for n in names})


def check_training_step(
    model: GoldenModel, variables: dict, golden: dict, case: str, folder: Path
) -> list[Row]:
    """Compares one step of training, without the update.

    Args:
      model: with `freeze_bn` as the case needs it.
      variables: with the golden weights.
      golden: the recorded arrays.
      case: "A_frozen", "A_bn" or "B_frozen".
      folder: where the images are.

    Returns:
      The rows.
    """
    batch = golden_batch(golden, case[0], folder)
    run = _backward_fn(model, model.config.loss.max_masks)
    (terms, predictions, stats), gradient = jax.device_get(
        run(variables, batch, _weights(model))
    )
    rows = _check_outputs(predictions, golden, case)
    # Hard negatives depend on the outputs; those with frozen statistics are on record.
    if case.endswith("frozen"):
        rows += _check_matching(model, batch, predictions, golden, case[0])
    rows += _check_losses(terms, golden, case, "losses")
    rows += check_gradient(gradient, golden, case)
    if f"{case}/grad_l2_of_B" in golden:
        for name in golden[f"{case}/loss_names"]:
            _, part = run(variables, batch, _weights(model, str(name)))
            rows.append(check_component(jax.device_get(part), golden, case, name))
    rows += _check_statistics(stats, golden, case)
    return rows


def check_unlimited_masks(
    model: GoldenModel, variables: dict, golden: dict, folder: Path
) -> list[Row]:
    """Compares the losses of batch B when every positive enters the mask loss."""
    batch = golden_batch(golden, "B", folder)
    most = int(golden["B_frozen/num_pos"].max())
    (terms, _, _), _ = _backward_fn(model, most)(variables, batch, _weights(model))
    return _check_losses(terms, golden, "B_frozen", "losses_without_limit")


def _check_outputs(predictions, golden, case) -> list[Row]:
    named = {
        "out_loc": predictions.box_deltas,
        "out_conf": predictions.class_logits,
        "out_mask": predictions.coefficients,
        "out_proto": predictions.prototypes,
        "out_segm": to_nchw(predictions.semantic_logits),
    }
    tolerance = 5e-3 if case.endswith("bn") else 1e-3
    return [
        compare_scaled(golden, f"{case}/{name}", array, f"{case}: {name}", tolerance)
        for name, array in named.items()
        if f"{case}/{name}" in golden
    ]


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
    target = matches.class_target
    wrong = np.sum(target != golden[f"{group}/conf_t"])
    positive = target > 0
    index = np.where(positive, matches.object_index, -1)
    wrong += np.sum(index != golden[f"{group}/idx_t"])
    rows = [Row(f"{group}: matching", float(wrong), 0.0, "anchors")]
    if wrong:
        return rows
    image, prior = np.nonzero(positive)
    boxes = batch.boxes[image, matches.object_index[image, prior]]
    deltas = np.asarray(box_ops.encode(jnp.asarray(boxes), anchors[prior]))
    error = np.max(np.abs(deltas - golden[f"{group}/pos_loc_t"]))
    rows.append(Row(f"{group}: box targets", float(error), 1e-5, ""))
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
    rows = []
    wide = golden.get(f"{case}/{key}__fp64", golden[f"{case}/{key}"])
    names = golden[f"{case}/loss_names"]
    for name, recorded, exact in zip(names, golden[f"{case}/{key}"], wide, strict=True):
        error = abs(float(getattr(terms, TERMS[str(name)])) - recorded) / recorded
        noise = abs(recorded - exact) / recorded if exact is not recorded else np.nan
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
