"""The training losses of YOLACT (Bolya et al. 2019, section 3; weights as published).

`terms` and `masks` compute the losses of one image as unnormalized sums;
`yolact_losses` maps them over the batch, weights and normalizes them.
"""

import dataclasses
from collections.abc import Callable
from typing import cast

import flax.struct
import jax
import jax.numpy as jnp

from yolact_jax.config import Loss
from yolact_jax.losses.assignment import match_batch
from yolact_jax.losses.boxes import box_term
from yolact_jax.losses.masks import (
    MaskSelection,
    binary_cross_entropy,
    mask_iou_loss,
    mask_pixel_loss,
    select_masks,
)
from yolact_jax.losses.terms import (
    box_loss,
    class_loss,
    hard_negatives,
    semantic_loss,
    semantic_target,
)
from yolact_jax.ops.resize import resize_bilinear
from yolact_jax.structures import Array, Batch, Predictions

__all__ = [
    "Losses",
    "binary_cross_entropy",
    "box_loss",
    "class_loss",
    "hard_negatives",
    "mask_iou_loss",
    "mask_pixel_loss",
    "semantic_loss",
    "semantic_target",
    "yolact_losses",
]

MaskIouFn = Callable[[jax.Array], jax.Array]
"""Scores [N, Hp, Wp] soft masks as [N, C], see `Yolact.mask_ious`."""


@flax.struct.dataclass
class Losses:
    """Weighted and normalized loss terms of a batch, float32 scalars.

    The term of the mask scoring network is None for models without one.
    """

    box: jax.Array
    classification: jax.Array
    mask: jax.Array
    semantic: jax.Array
    mask_iou: jax.Array | None = None

    @property
    def total(self) -> jax.Array:
        """The value that is minimized: the plain sum of the terms."""
        return cast("jax.Array", sum(jax.tree.leaves(self)))


def yolact_losses(
    predictions: Predictions,
    batch: Batch,
    anchors_cxcywh: Array,
    *,
    priority: jax.Array,
    options: Loss,
    axis_name: str | None = None,
    mask_iou_fn: MaskIouFn | None = None,
    positive_share: jax.Array | float = 1.0,
    image_share: jax.Array | float = 1.0,
) -> Losses:
    """Computes all loss terms of a batch, weighted and normalized.

    Box, class and mask terms are divided by the number of positive anchors of the
    whole batch, the semantic term by the number of images.  With `axis_name` both
    counts are those of all devices, and each device returns its share of the loss:
    summing losses or gradients over devices gives those of the whole batch.

    Args:
      predictions: network outputs for the batch.
      batch: ground truth.
      anchors_cxcywh: [A, 4] float32.
      priority: [B, A] float32, at least 0, usually random; of too many positives in an
        image those of highest priority enter the mask loss.
      options: weights and limits.
      axis_name: mapped device axis, if any.
      mask_iou_fn: the mask scoring network of YOLACT++, if the model has one.
      positive_share: positive anchors of this batch over those of the larger batch that
        it is a part of; the losses of the parts add up.
      image_share: the same of the images.
    """
    num_images = predictions.box_deltas.shape[0]
    matches = match_batch(batch, anchors_cxcywh, options)
    selections = jax.vmap(
        lambda *image: _select_masks(*image, max_masks=options.max_masks)
    )(predictions, batch, matches, priority)
    ious = None if mask_iou_fn is None else _score(selections.predicted, mask_iou_fn)
    sums = jax.vmap(
        lambda *image: _image_losses(
            *image,
            anchors_cxcywh=anchors_cxcywh,
            options=options,
            sides=(batch.images.shape[1], batch.images.shape[2]),
        )
    )(predictions, batch, matches, selections, ious)
    num_positive = jnp.sum(matches.positive)
    if axis_name is not None:
        num_positive = jax.lax.psum(num_positive, axis_name)
        num_images = num_images * jax.lax.axis_size(axis_name)
    num_positive = jnp.maximum(num_positive, 1)  # Without any, the sums are 0.
    per_positive = 1.0 / num_positive
    if options.empty_negatives:
        # Where few anchors of the batch are positive, those of empty images are more.
        weight = num_positive / jnp.maximum(num_positive, options.empty_negatives)
        is_empty = ~jnp.any(matches.positive, axis=1)
        costs = sums.classification
        costs = jnp.where(is_empty, weight * costs, costs)
        sums = dataclasses.replace(sums, classification=costs)
    sums = jax.tree.map(jnp.sum, sums)

    def weighted(weight: float, term: jax.Array) -> jax.Array:
        return weight * positive_share * term * per_positive

    mask_iou = sums.mask_iou
    return Losses(
        box=weighted(options.box_weight, sums.box),
        classification=weighted(options.class_weight, sums.classification),
        mask=weighted(options.mask_weight, sums.mask),
        semantic=options.semantic_weight * image_share * sums.semantic / num_images,
        mask_iou=None
        if mask_iou is None
        else weighted(options.mask_iou_weight, mask_iou),
    )


def _select_masks(predictions, batch, matches, priority, max_masks) -> MaskSelection:
    """The masks of one image (no leading B axis) that enter the loss."""
    return select_masks(
        predictions.prototypes,
        predictions.coefficients,
        matches,
        batch.boxes,
        _resize_masks(batch.masks, predictions.prototypes.shape[:2]),
        priority,
        max_masks=max_masks,
    )


def _score(masks: jax.Array, mask_iou_fn: MaskIouFn) -> jax.Array:
    """Predicts the IoU [B, N, C] of [B, N, Hp, Wp] soft masks.

    Of all images as one batch: convolutions image by image would have gradients image
    by image, for which XLA sends the masks of all images to all devices.
    """
    ious = mask_iou_fn(masks.reshape(-1, *masks.shape[2:]))
    return ious.reshape(*masks.shape[:2], -1)


def _image_losses(
    predictions, batch, matches, selection, ious, anchors_cxcywh, options, sides
) -> Losses:
    """Unweighted, unnormalized terms of one image (no leading B axis)."""
    return Losses(
        box=box_term(
            predictions.box_deltas,
            batch.boxes[matches.object_index],
            anchors_cxcywh,
            matches.positive,
            kind=options.box,
            sides=sides,
        ),
        classification=class_loss(
            predictions.class_logits,
            matches.class_target,
            negative_ratio=options.negative_ratio,
            empty_negatives=options.empty_negatives,
        ),
        mask=mask_pixel_loss(selection, min_cells=options.min_mask_cells),
        semantic=_semantic_term(predictions.semantic_logits, batch),
        mask_iou=None
        if ious is None
        else mask_iou_loss(selection, ious, min_area=options.min_mask_area),
    )


def _semantic_term(semantic_logits: jax.Array, batch: Batch) -> jax.Array:
    height, width, num_classes = semantic_logits.shape
    masks = batch.masks if batch.semantic_masks is None else batch.semantic_masks
    inside = _resize_masks(masks, (height, width)) > 0.5
    target = semantic_target(inside, batch.labels, batch.is_object, num_classes)
    return semantic_loss(semantic_logits, target)


def _resize_masks(masks: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Resizes [G, h, w] masks, in [0, 1], to [G, *size], unless they have that size."""
    if masks.shape[1:] == size:
        return masks
    return resize_bilinear(masks.astype(jnp.float32), size) > 0.5
