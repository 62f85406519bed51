"""What each object of an image adds to the loss, to find objects that do not fit."""

import flax.struct
import jax
import jax.numpy as jnp

from yolact_jax.config import Loss
from yolact_jax.losses.masks import binary_cross_entropy
from yolact_jax.ops import boxes as box_ops
from yolact_jax.ops import masks as mask_ops
from yolact_jax.ops import matching
from yolact_jax.structures import Array, Batch, Predictions


@flax.struct.dataclass
class ObjectLosses:
    """Weighted losses of the slots of one image, 0 where there is no object.

    Attributes:
      box: [G] float32, mean over the object's positive anchors.
      classification: [G] float32, mean over the object's positive anchors.
      mask: [G] float32, of the positive anchor that overlaps the object most.
      disagreement: [G] float32 in [-1, 1], by how much the most likely class is more
        probable than the label, mean over the object's positive anchors; high only
        where the model is sure of another class.
      unlabeled: float32 scalar, cross entropy of the background anchor that looks most
        like an object.
    """

    box: jax.Array
    classification: jax.Array
    mask: jax.Array
    disagreement: jax.Array
    unlabeled: jax.Array

    @property
    def total(self) -> jax.Array:
        """[G] float32, the sum of the terms of each object."""
        return self.box + self.classification + self.mask


def object_losses(
    predictions: Predictions, batch: Batch, anchors_cxcywh: Array, options: Loss
) -> ObjectLosses:
    """Computes the losses of the objects of one image.

    Args:
      predictions: of the image, without the B axis.
      batch: ground truth of the image, without the B axis.
      anchors_cxcywh: [A, 4] float32.
      options: weights and limits.
    """
    matches = matching.match_anchors(
        batch.boxes,
        batch.labels,
        batch.is_object,
        batch.valid & batch.crowd,
        anchors_cxcywh,
        positive_iou=options.positive_iou,
        negative_iou=options.negative_iou,
        crowd_iou=options.crowd_iou,
    )
    slots = jnp.arange(len(batch.labels))[:, None]
    owned = (matches.object_index[None] == slots) & matches.positive[None]
    log_probability = jax.nn.log_softmax(predictions.class_logits)
    entropy = -jnp.take_along_axis(
        log_probability, jnp.maximum(matches.class_target, 0)[:, None], axis=1
    )[:, 0]
    others = jnp.exp(log_probability).at[jnp.arange(len(entropy)), matches.class_target]
    others = others.set(0.0)[:, 1:]
    disagreement = jnp.max(others, axis=1) - jnp.exp(-entropy)
    background = matches.class_target == matching.BACKGROUND
    return ObjectLosses(
        box=options.box_weight
        * _mean(_box_errors(predictions, batch, matches, anchors_cxcywh), owned),
        classification=options.class_weight * _mean(entropy, owned),
        mask=options.mask_weight
        * _mask_losses(predictions, batch, owned, anchors_cxcywh, options),
        disagreement=_mean(disagreement, owned),
        unlabeled=options.class_weight * jnp.max(jnp.where(background, entropy, 0.0)),
    )


def _mean(values: jax.Array, owned: jax.Array) -> jax.Array:
    """[G] means of [A] values over the anchors of each object; 0 without any."""
    total = jnp.sum(jnp.where(owned, values[None], 0.0), axis=1)
    return total / jnp.maximum(jnp.sum(owned, axis=1), 1)


def _box_errors(predictions, batch, matches, anchors_cxcywh) -> jax.Array:
    """[A] smooth L1 losses; 0 where not positive."""
    targets = box_ops.encode(batch.boxes[matches.object_index], anchors_cxcywh)
    error = jnp.where(matches.positive[:, None], predictions.box_deltas - targets, 0.0)
    return jnp.sum(_smooth_l1(error), axis=1)


def _smooth_l1(error: jax.Array) -> jax.Array:
    size = jnp.abs(error)
    return jnp.where(size < 1, 0.5 * size**2, size - 0.5)


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
