"""The training losses of YOLACT (Bolya et al. 2019, section 3; weights as published).

`loss_terms` and `mask_losses` compute the terms of one image as unnormalised sums;
`yolact_losses` maps them over the batch, weights and normalises them.
"""

import dataclasses
from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp

from yolact_jax.losses.masks import (
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
from yolact_jax.ops import boxes as box_ops
from yolact_jax.ops import matching
from yolact_jax.ops.resize import resize_bilinear
from yolact_jax.structures import Batch, Predictions

__all__ = [
    "LossOptions",
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


@dataclasses.dataclass(frozen=True)
class LossOptions:
    """Weights and limits of the losses; the defaults are the published ones.

    Attributes:
      class_weight: weight of the classification loss.
      box_weight: weight of the box loss.
      mask_weight: weight of the mask loss.
      semantic_weight: weight of the semantic segmentation loss.
      mask_iou_weight: weight of the loss of the mask scoring network.
      min_mask_cells: least area, in cells of the prototypes, of the box that the mask
        loss of an object is divided by; 0 in the original.
      min_mask_area: prototype pixels an object needs more than to teach that network.
      negative_ratio: hard negatives per positive anchor, per image.
      max_masks: positive anchors per image that enter the mask loss.
      positive_iou: least overlap of a positive anchor.
      negative_iou: overlap below which an anchor is background.
      crowd_iou: share of an anchor inside a crowd above which it is neutral.
    """

    class_weight: float = 1.0
    box_weight: float = 1.5
    mask_weight: float = 6.125
    semantic_weight: float = 1.0
    mask_iou_weight: float = 25.0
    min_mask_cells: float = 0.0
    min_mask_area: int = 25
    negative_ratio: int = 3
    max_masks: int = 100
    positive_iou: float = 0.5
    negative_iou: float = 0.4
    crowd_iou: float = 0.7


@flax.struct.dataclass
class Losses:
    """Weighted and normalised loss terms of a batch, float32 scalars.

    The term of the mask scoring network is None for models without one.
    """

    box: jax.Array
    classification: jax.Array
    mask: jax.Array
    semantic: jax.Array
    mask_iou: jax.Array | None = None

    @property
    def total(self) -> jax.Array:
        """The value that is minimised: the plain sum of the terms."""
        return sum(jax.tree.leaves(self))


def yolact_losses(
    predictions: Predictions,
    batch: Batch,
    anchors_cxcywh: jax.Array,
    *,
    priority: jax.Array,
    options: LossOptions,
    axis_name: str | None = None,
    mask_iou_fn: MaskIouFn | None = None,
) -> Losses:
    """Computes all loss terms of a batch.

    Box, class and mask terms are divided by the number of positive anchors of the
    whole batch, the semantic term by the number of images.  With `axis_name` both
    counts are those of all devices, and each device returns its share of the loss:
    summing losses or gradients over devices gives those of the whole batch.

    Args:
      predictions: network outputs for the batch.
      batch: ground truth.
      anchors_cxcywh: [A, 4] float32.
      priority: [B, A] float32, at least 0, usually random; where an image has too many
        positives those of highest priority enter the mask loss.
      options: weights and limits.
      axis_name: mapped device axis, if any.
      mask_iou_fn: the mask scoring network of YOLACT++, if the model has one.

    Returns:
      The weighted, normalised terms.
    """
    num_images = predictions.box_deltas.shape[0]
    matches = jax.vmap(
        lambda *image: matching.match_anchors(
            *image,
            anchors_cxcywh,
            positive_iou=options.positive_iou,
            negative_iou=options.negative_iou,
            crowd_iou=options.crowd_iou,
        )
    )(batch.boxes, batch.labels, batch.is_object, batch.valid & batch.crowd)
    sums = jax.vmap(
        lambda *image: _image_losses(*image, anchors_cxcywh, options, mask_iou_fn)
    )(predictions, batch, matches, priority)
    num_positive = jnp.sum(matches.positive)
    if axis_name is not None:
        num_positive = jax.lax.psum(num_positive, axis_name)
        num_images = num_images * jax.lax.axis_size(axis_name)
    return _weighted(jax.tree.map(jnp.sum, sums), num_positive, num_images, options)


def _weighted(sums: Losses, num_positive, num_images, options: LossOptions) -> Losses:
    # Without any object there is nothing to divide by, and the sums are 0.
    per_positive = 1.0 / jnp.maximum(num_positive, 1)
    mask_iou = sums.mask_iou
    if mask_iou is not None:
        mask_iou = options.mask_iou_weight * mask_iou * per_positive
    return Losses(
        box=options.box_weight * sums.box * per_positive,
        classification=options.class_weight * sums.classification * per_positive,
        mask=options.mask_weight * sums.mask * per_positive,
        semantic=options.semantic_weight * sums.semantic / num_images,
        mask_iou=mask_iou,
    )


def _image_losses(
    predictions, batch, matches, priority, anchors_cxcywh, options, mask_iou_fn
) -> Losses:
    """Unweighted, unnormalised terms of one image (no leading B axis)."""
    target_deltas = box_ops.encode(batch.boxes[matches.object_index], anchors_cxcywh)
    selection = select_masks(
        predictions.prototypes,
        predictions.coefficients,
        matches,
        batch.boxes,
        _resize_masks(batch.masks, predictions.prototypes.shape[:2]),
        priority,
        max_masks=options.max_masks,
    )
    return Losses(
        box=box_loss(predictions.box_deltas, target_deltas, matches.positive),
        classification=class_loss(
            predictions.class_logits,
            matches.class_target,
            negative_ratio=options.negative_ratio,
        ),
        mask=mask_pixel_loss(selection, min_cells=options.min_mask_cells),
        semantic=_semantic_term(predictions.semantic_logits, batch),
        mask_iou=mask_iou_fn
        and mask_iou_loss(selection, mask_iou_fn, min_area=options.min_mask_area),
    )


def _semantic_term(semantic_logits: jax.Array, batch: Batch) -> jax.Array:
    height, width, num_classes = semantic_logits.shape
    masks = batch.masks if batch.semantic_masks is None else batch.semantic_masks
    masks = _resize_masks(masks, (height, width))
    target = semantic_target(masks, batch.labels, batch.is_object, num_classes)
    return semantic_loss(semantic_logits, target)


def _resize_masks(masks: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Resizes [G, h, w] masks, 0 or 1, to [G, *size], unless they have that size."""
    if masks.shape[1:] == size:
        return masks
    return resize_bilinear(masks.astype(jnp.float32), size) > 0.5
