"""Losses of single objects against loops over anchors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.scenes import (
    MASK_SIZE,
    NUM_CLASSES,
    rectangles,
    tiny_anchors,
)
from yolact_jax.config import Loss
from yolact_jax.losses.per_object import object_losses
from yolact_jax.ops.matching import match_anchors
from yolact_jax.structures import Predictions

OPTIONS = Loss()


def encoded(box, anchor):
    """SSD's offsets of a corner box to an anchor (cx, cy, w, h)."""
    center = (box[:2] + box[2:]) / 2
    shift = (center - anchor[:2]) / (0.1 * anchor[2:])
    return np.concatenate([shift, np.log((box[2:] - box[:2]) / anchor[2:]) / 0.2])


def random_predictions(seed, count):
    generator = np.random.default_rng(seed)
    return Predictions(
        box_deltas=generator.normal(size=(count, 4)).astype(np.float32),
        class_logits=2 * generator.normal(size=(count, NUM_CLASSES + 1)).astype("f4"),
        coefficients=generator.uniform(-1, 1, (count, 4)).astype(np.float32),
        prototypes=generator.random((MASK_SIZE, MASK_SIZE, 4), np.float32),
    )


@pytest.mark.parametrize("seed", range(2))
def test_agrees_with_loops(seed):
    anchors = tiny_anchors()
    batch = jax.tree.map(lambda x: x[0], rectangles([2], seed=seed))
    predictions = random_predictions(seed, len(anchors))
    found = jax.jit(object_losses, static_argnums=3)(
        predictions, batch, jnp.asarray(anchors), OPTIONS
    )
    matches = match_anchors(
        batch.boxes,
        batch.labels,
        batch.is_object,
        batch.crowd,
        anchors,
        positive_iou=OPTIONS.positive_iou,
        negative_iou=OPTIONS.negative_iou,
        crowd_iou=OPTIONS.crowd_iou,
    )
    target, index = np.asarray(matches.class_target), np.asarray(matches.object_index)
    logits = np.asarray(predictions.class_logits, float)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    corners = np.concatenate(
        [anchors[:, :2] - anchors[:, 2:] / 2, anchors[:, :2] + anchors[:, 2:] / 2], 1
    )
    for slot in range(2):
        box = np.asarray(batch.boxes[slot], float)
        own = [a for a in range(len(anchors)) if target[a] > 0 and index[a] == slot]
        entropy, smooth, margins, overlaps = [], [], [], []
        for a in own:
            entropy.append(-np.log(shares[a, target[a]]))
            others = [shares[a, c] for c in range(1, NUM_CLASSES + 1) if c != target[a]]
            margins.append(max(others) - shares[a, target[a]])
            error = np.abs(predictions.box_deltas[a] - encoded(box, anchors[a]))
            smooth.append(np.where(error < 1, error**2 / 2, error - 0.5).sum())
            low = np.maximum(box[:2], corners[a, :2])
            high = np.minimum(box[2:], corners[a, 2:])
            shared = np.prod(np.maximum(high - low, 0))
            area = np.prod(box[2:] - box[:2]) + np.prod(anchors[a, 2:])
            overlaps.append(shared / (area - shared))
        assert found.classification[slot] == pytest.approx(np.mean(entropy), rel=1e-4)
        assert found.box[slot] == pytest.approx(1.5 * np.mean(smooth), rel=1e-3)
        assert found.disagreement[slot] == pytest.approx(np.mean(margins), abs=1e-5)
        best = own[int(np.argmax(overlaps))]
        soft = 1 / (
            1 + np.exp(-predictions.prototypes @ predictions.coefficients[best])
        )
        total = 0.0
        x1, y1, x2, y2 = box * MASK_SIZE
        for y in range(MASK_SIZE):
            for x in range(MASK_SIZE):
                if y1 - 1 <= y < y2 + 1 and x1 - 1 <= x < x2 + 1:
                    inside = batch.masks[slot, y, x]
                    total -= np.log(soft[y, x] if inside else 1 - soft[y, x])
                else:
                    # A mask cut off costs the most where the object is.
                    total += 100 * float(batch.masks[slot, y, x])
        expected = 6.125 * total / ((x2 - x1) * (y2 - y1))
        assert found.mask[slot] == pytest.approx(expected, rel=1e-3)
    assert not found.total[2:].any()
    background = (-np.log(shares[target == 0, 0])).max()
    assert found.unlabeled == pytest.approx(background, rel=1e-4)


def test_an_image_without_objects_has_no_losses():
    anchors = tiny_anchors()
    batch = jax.tree.map(lambda x: x[0], rectangles([0]))
    predictions = random_predictions(3, len(anchors))
    found = object_losses(predictions, batch, jnp.asarray(anchors), OPTIONS)
    assert not found.total.any()
    assert np.isfinite(found.unlabeled)
