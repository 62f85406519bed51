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
from yolact_jax.losses.assignment import match_batch
from yolact_jax.losses.per_object import object_losses
from yolact_jax.losses.yolact import yolact_losses
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


@pytest.mark.parametrize(("seed", "shown"), [(0, (1.0, 1.0)), (1, (1.0, 0.75))])
def test_agrees_with_loops(seed, shown):
    anchors = tiny_anchors()
    batch = jax.tree.map(lambda x: x[0], rectangles([2], seed=seed))
    predictions = random_predictions(seed, len(anchors))
    found = jax.jit(object_losses, static_argnums=3)(
        predictions, batch, jnp.asarray(anchors), OPTIONS, shown
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
        entropy, smooth, logs, overlaps = [], [], [], []
        for a in own:
            entropy.append(-np.log(shares[a, target[a]]))
            logs.append(np.log(shares[a, 1:] / shares[a, 1:].sum()))
            error = np.abs(predictions.box_deltas[a] - encoded(box, anchors[a]))
            smooth.append(np.where(error < 1, error**2 / 2, error - 0.5).sum())
            low = np.maximum(box[:2], corners[a, :2])
            high = np.minimum(box[2:], corners[a, 2:])
            shared = np.prod(np.maximum(high - low, 0))
            area = np.prod(box[2:] - box[:2]) + np.prod(anchors[a, 2:])
            overlaps.append(shared / (area - shared))
        assert found.classification[slot] == pytest.approx(np.mean(entropy), rel=1e-4)
        assert found.box[slot] == pytest.approx(1.5 * np.mean(smooth), rel=1e-3)
        np.testing.assert_allclose(found.evidence[slot], np.mean(logs, 0), rtol=1e-4)
        assert found.background[slot] == pytest.approx(shares[own, 0].mean(), rel=1e-4)
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
    assert found.matched.tolist() == [True, True, False, False]
    best = (0.0, 0, None)
    for a, anchor in enumerate(anchors):
        box = np.clip(decoded(predictions.box_deltas[a], anchor), 0, shown * 2)
        near = [iou(box, np.asarray(batch.boxes[slot], float)) for slot in range(2)]
        for label in range(NUM_CLASSES):
            if max(near) <= 0.3 and (box[:2] < box[2:]).all():
                best = max(best, (shares[a, label + 1], label, box), key=lambda x: x[0])
    assert found.unlabeled.score == pytest.approx(best[0], rel=1e-4)
    assert found.unlabeled.label == best[1]
    np.testing.assert_allclose(found.unlabeled.box, best[2], rtol=1e-3, atol=1e-4)


def decoded(deltas, anchor):
    center = anchor[:2] + 0.1 * deltas[:2] * anchor[2:]
    half = anchor[2:] * np.exp(0.2 * deltas[2:]) / 2
    return np.concatenate([center - half, center + half])


def iou(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


@pytest.mark.long
@pytest.mark.parametrize(
    "options",
    [
        Loss(),
        Loss(assignment="atss", box="ciou"),
        Loss(assignment="atss", overlap="mask_aware", box="diou"),
    ],
)
def test_box_losses_add_up_to_that_of_training(options):
    anchors, batch = tiny_anchors(), rectangles([2], seed=4)
    batch = batch.replace(images=np.zeros((1, 1, 2, 3), np.uint8))  # Not square.
    predictions = random_predictions(4, len(anchors))
    several = jax.tree.map(lambda x: x[None], predictions)
    training = yolact_losses(
        several.replace(semantic_logits=np.zeros((1, 4, 4, NUM_CLASSES), np.float32)),
        batch,
        anchors,
        priority=np.zeros((1, len(anchors)), np.float32),
        options=options,
    )
    matches = match_batch(batch, anchors, options)
    index = np.asarray(matches.object_index)[np.asarray(matches.positive)]
    one = jax.tree.map(lambda x: x[0], batch)
    found = object_losses(predictions, one, jnp.asarray(anchors), options)
    counts = np.bincount(index, minlength=len(found.box))
    assert counts[:2].all()
    total = (counts * np.asarray(found.box)).sum() / counts.sum()
    assert total == pytest.approx(float(training.box), rel=1e-4)


@pytest.mark.long
def test_a_prediction_on_a_crowd_is_no_missing_label():
    anchors = tiny_anchors()
    batch = jax.tree.map(lambda x: x[0], rectangles([2]))
    predictions = random_predictions(5, len(anchors))
    everywhere = batch.boxes.at[1].set(jnp.array([-9.0, -9.0, 9.0, 9.0]))
    batch = batch.replace(boxes=everywhere, crowd=batch.crowd.at[1].set(True))
    found = object_losses(predictions, batch, jnp.asarray(anchors), OPTIONS)
    assert found.unlabeled.score == 0


@pytest.mark.long
def test_an_image_without_objects_has_no_losses():
    anchors = tiny_anchors()
    batch = jax.tree.map(lambda x: x[0], rectangles([0]))
    predictions = random_predictions(3, len(anchors))
    found = object_losses(predictions, batch, jnp.asarray(anchors), OPTIONS)
    assert not found.total.any()
    logits = np.asarray(predictions.class_logits, float)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert found.unlabeled.score == pytest.approx(shares[:, 1:].max(), rel=1e-4)
