"""What each object of an image adds to the loss, to find objects that do not fit."""

import functools

import flax.struct
import jax
import jax.numpy as jnp

from yolact_jax.config import Loss
from yolact_jax.losses.assignment import match_batch
from yolact_jax.losses.boxes import box_term
from yolact_jax.losses.masks import binary_cross_entropy
from yolact_jax.ops import boxes as box_ops
from yolact_jax.ops import masks as mask_ops
from yolact_jax.structures import Array, Batch, Predictions


@flax.struct.dataclass
class ObjectLosses:
    """Weighted losses of the slots of one image, 0 where nothing is matched.

    Attributes:
      matched: [G] bool, whether the slot has an object with positive anchors.
      box: [G] float32, mean over the object's positive anchors.
      classification: [G] float32, mean over the object's positive anchors.
      mask: [G] float32, of the positive anchor that overlaps the object most.
      evidence: [G, C] float32, at most 0, log-probability of each class if there is an
        object at all, mean over the object's positive anchors.
      background: [G] float32 in [0, 1], probability of the background, mean over the
        object's positive anchors.
      unlabeled: what looks most like an object where none is labeled.
    """

    matched: jax.Array
    box: jax.Array
    classification: jax.Array
    mask: jax.Array
    evidence: jax.Array
    background: jax.Array
    unlabeled: "Unlabeled"

    @property
    def total(self) -> jax.Array:
        """[G] float32, the sum of the terms of each object."""
        return self.box + self.classification + self.mask


@flax.struct.dataclass
class Unlabeled:
    """A predicted box that overlaps no annotation of its image by `FREE_IOU`.

    Attributes:
      score: float32 in [0, 1], the probability of its class; 0 if there is no box.
      label: int32.
      box: [4] float32, corners, clipped to the image.
    """

    score: jax.Array
    label: jax.Array
    box: jax.Array


FREE_IOU = 0.3
"""Overlap from which a predicted box may be that of an annotated object."""


def object_losses(
    predictions: Predictions,
    batch: Batch,
    anchors_cxcywh: Array,
    options: Loss,
    shown: Array | tuple[float, float] = (1.0, 1.0),
) -> ObjectLosses:
    """Computes the losses of the objects of one image.

    Args:
      predictions: of the image, without the B axis.
      batch: ground truth of the image, without the B axis.
      anchors_cxcywh: [A, 4] float32.
      options: weights and limits.
      shown: [2], the shares of the network input's width and height that the image
        fills, from the upper left corner.
    """
    one = jax.tree.map(lambda x: x[None], batch)
    matches = jax.tree.map(lambda x: x[0], match_batch(one, anchors_cxcywh, options))
    slots = jnp.arange(len(batch.labels))[:, None]
    owned = (matches.object_index[None] == slots) & matches.positive[None]
    log_probability = jax.nn.log_softmax(predictions.class_logits)
    entropy = -jnp.take_along_axis(
        log_probability, jnp.maximum(matches.class_target, 0)[:, None], axis=1
    )
    box_errors = _box_errors(predictions, batch, matches, anchors_cxcywh, options.box)
    return ObjectLosses(
        matched=jnp.any(owned, axis=1),
        box=options.box_weight * _mean(box_errors[:, None], owned)[:, 0],
        classification=options.class_weight * _mean(entropy, owned)[:, 0],
        mask=options.mask_weight
        * _mask_losses(predictions, batch, owned, anchors_cxcywh, options),
        evidence=_mean(jax.nn.log_softmax(predictions.class_logits[:, 1:]), owned),
        background=_mean(jnp.exp(log_probability[:, :1]), owned)[:, 0],
        unlabeled=_unlabeled(predictions, batch, anchors_cxcywh, options, shown),
    )


def _mean(values: jax.Array, owned: jax.Array) -> jax.Array:
    """[G, N] means of [A, N] values over the anchors of each object; 0 without any."""
    # A product would spread what is not finite to all objects.
    total = jnp.sum(jnp.where(owned[..., None], values[None], 0.0), axis=1)
    return total / jnp.maximum(jnp.sum(owned, axis=1), 1)[:, None]


def _box_errors(predictions, batch, matches, anchors_cxcywh, kind: str) -> jax.Array:
    """[A] box losses; 0 where not positive."""
    boxes = batch.boxes[matches.object_index]
    rows = predictions.box_deltas, boxes, anchors_cxcywh, matches.positive
    sides = batch.images.shape[0], batch.images.shape[1]
    term = functools.partial(box_term, kind=kind, sides=sides)
    return jax.vmap(lambda *row: term(*(x[None] for x in row)))(*rows)


def _unlabeled(predictions, batch, anchors_cxcywh, options: Loss, shown) -> Unlabeled:
    boxes = box_ops.decode(predictions.box_deltas, anchors_cxcywh)
    # As annotations are: what leaves the image would overlap them less.
    boxes = jnp.clip(boxes, 0.0, jnp.tile(jnp.asarray(shown), 2)[None])
    overlaps = jnp.nan_to_num(box_ops.pairwise_iou(batch.boxes, boxes))
    covered = jnp.nan_to_num(box_ops.pairwise_coverage(batch.boxes, boxes))
    taken = (overlaps > FREE_IOU) | batch.crowd[:, None] & (covered > options.crowd_iou)
    free = ~jnp.any(batch.valid[:, None] & taken, axis=0) & (box_ops.area(boxes) > 0)
    shares = jax.nn.softmax(predictions.class_logits)[:, 1:]
    scores = jnp.where(free, jnp.max(shares, axis=1), 0.0)
    best = jnp.argmax(scores)
    return Unlabeled(scores[best], jnp.argmax(shares[best]), boxes[best])


def _mask_losses(predictions, batch, owned, anchors_cxcywh, options) -> jax.Array:
    """[G] cross entropies in the boxes, as in `mask_pixel_loss`."""
    anchors = box_ops.cxcywh_to_xyxy(anchors_cxcywh)
    overlaps = jnp.nan_to_num(box_ops.pairwise_iou(batch.boxes, anchors))
    best = jnp.argmax(jnp.where(owned, overlaps, -1.0), axis=1)
    soft = mask_ops.assemble_masks(
        predictions.prototypes, predictions.coefficients[best]
    )
    soft = mask_ops.crop_masks(soft, batch.boxes)
    losses = binary_cross_entropy(soft, batch.masks.astype(jnp.float32))
    height, width = soft.shape[1:]
    area = box_ops.area(batch.boxes) * height * width
    found = jnp.any(owned, axis=1)
    area = jnp.where(found, jnp.maximum(area, options.min_mask_cells), 1.0)
    return jnp.where(found, jnp.sum(losses, axis=(1, 2)) / area, 0.0)
