"""Losses of a batch: weights, normalisers, padding, crowds, images without objects."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.scenes import random_priority
from tests.losses.test_boxes import diou
from tests.reference import boxes as ref_boxes
from tests.reference import losses as ref
from tests.reference import masks as ref_masks
from tests.reference import matching as ref_matching
from yolact_jax.config import Loss
from yolact_jax.losses import yolact
from yolact_jax.ops.anchors import make_anchors
from yolact_jax.structures import Batch, Predictions

CLASSES, SLOTS, SIDE = 4, 6, 16
ANCHORS = make_anchors((4, 2), ((12,), (24,)), (1, 0.5, 2), 40, False)
OPTIONS = Loss()


def make_predictions(num_images, seed=0):
    generator = np.random.default_rng(seed)

    def values(*shape):
        return generator.normal(size=(num_images, *shape)).astype(np.float32)

    return Predictions(
        box_deltas=values(len(ANCHORS), 4),
        class_logits=2 * values(len(ANCHORS), CLASSES + 1),
        coefficients=np.tanh(values(len(ANCHORS), 3)),
        prototypes=np.maximum(values(SIDE, SIDE, 3), 0),
        semantic_logits=values(SIDE // 2, SIDE // 2, CLASSES),
    )


def make_image(generator, kinds):
    """kinds has one letter per slot: o object, c crowd, - padding full of rubbish."""
    start = generator.uniform(0, 0.6, (SLOTS, 2))
    end = start + generator.uniform(0.15, 0.4, (SLOTS, 2))
    kinds = np.array([*kinds])
    return {
        "images": np.zeros((1, 1, 3), np.uint8),
        "boxes": np.concatenate([start, end], 1).astype(np.float32),
        "labels": generator.integers(0, CLASSES, SLOTS).astype(np.int32),
        "masks": generator.integers(0, 2, (SLOTS, SIDE, SIDE)).astype(np.uint8),
        "valid": kinds != "-",
        "crowd": kinds == "c",
    }


def make_batch(*images, seed=0):
    generator = np.random.default_rng(seed)
    made = [make_image(generator, kinds) for kinds in images]
    return Batch(**{name: np.stack([im[name] for im in made]) for name in made[0]})


@jax.jit
def batch_losses(predictions, batch):
    return yolact.yolact_losses(
        predictions,
        batch,
        jnp.asarray(ANCHORS),
        priority=random_priority(predictions),
        options=OPTIONS,
    )


def reference_image(outputs, image):
    """Number of positives and the four sums of one image."""
    is_object = image.valid & ~image.crowd
    boxes, masks = image.boxes[is_object], image.masks[is_object]
    labels = image.labels[is_object]
    crowds = image.boxes[image.valid & image.crowd]
    targets, index = ref_matching.match(
        boxes.tolist(), labels.tolist(), crowds.tolist(), ANCHORS.tolist()
    )
    positive = [i for i, target in enumerate(targets) if target > 0]
    codes = [
        ref_boxes.encode(boxes[index[i]].tolist(), ANCHORS[i].tolist())
        for i in positive
    ]
    small = np.array(
        [ref_masks.resize(mask, (SIDE // 2,) * 2) > 0.5 for mask in masks]
    ).reshape(-1, SIDE // 2, SIDE // 2)
    semantic = ref.semantic_target(small, labels, [True] * len(labels), CLASSES)
    return len(positive), np.array(
        [
            ref.box_loss(outputs.box_deltas[positive], codes, [True] * len(positive)),
            ref.class_loss(outputs.class_logits, targets),
            ref.mask_loss(
                outputs.prototypes,
                outputs.coefficients,
                index,
                positive,
                1,
                boxes,
                masks,
            ),
            ref.semantic_loss(outputs.semantic_logits, semantic),
        ]
    )


def reference_losses(predictions, batch):
    """The four weighted terms: three per positive anchor, the last per image."""
    count = len(batch.labels)
    rows = [
        reference_image(*jax.tree.map(lambda x, i=i: x[i], (predictions, batch)))
        for i in range(count)
    ]
    positives = sum(row[0] for row in rows)
    weighted = np.array([1.5, 1, 6.125, 1]) * sum(row[1] for row in rows)
    return (
        weighted / [max(positives, 1)] * np.array([1, 1, 1, max(positives, 1) / count])
    )


def as_array(terms):
    return np.array([terms.box, terms.classification, terms.mask, terms.semantic])


@pytest.mark.parametrize(
    "images",
    [
        pytest.param(("oooooo", "oooooo"), id="full"),
        pytest.param(("oo----", "o-----"), id="padding last"),
        pytest.param(("--o-oo", "-o-o--"), id="padding anywhere"),
        pytest.param(("oc--oc", "cco---"), id="crowds"),
        pytest.param(("------", "ooo---"), id="one image without objects"),
        pytest.param(("c-----", "------"), id="no objects at all"),
    ],
)
def test_agrees_with_loops(images):
    batch, predictions = make_batch(*images), make_predictions(2)
    expected = reference_losses(predictions, batch)
    terms = batch_losses(predictions, batch)
    np.testing.assert_allclose(as_array(terms), expected, rtol=1e-4, atol=1e-6)
    assert float(terms.total) == pytest.approx(expected.sum(), rel=1e-4)


@jax.jit
def batch_gradients(predictions, batch):
    return jax.grad(lambda outputs: batch_losses(outputs, batch).total)(predictions)


@pytest.mark.parametrize("images", [("oc-o--", "oo----"), ("------", "c-----")])
@pytest.mark.parametrize("rubbish", [True, False])
def test_gradients_are_finite(images, rubbish):
    batch, predictions = make_batch(*images), make_predictions(2)
    if not rubbish:  # padding without area, as it usually is
        batch = dataclasses.replace(batch, boxes=batch.boxes * batch.valid[..., None])
    gradients = batch_gradients(predictions, batch)
    for gradient in jax.tree.leaves(gradients):
        assert np.isfinite(gradient).all()
    has_objects = any("o" in kinds for kinds in images)
    assert bool(np.any(gradients.coefficients)) == has_objects
    assert np.any(gradients.semantic_logits)


def test_mask_subset_depends_on_the_key_and_is_right_on_average():
    batch, predictions = make_batch("oooooo"), make_predictions(1)
    options = dataclasses.replace(OPTIONS, max_masks=2)
    compute = jax.jit(
        jax.vmap(
            lambda key: (
                yolact.yolact_losses(
                    predictions,
                    batch,
                    jnp.asarray(ANCHORS),
                    priority=random_priority(predictions, key),
                    options=options,
                ).mask
            )
        )
    )
    values = np.asarray(compute(jax.random.split(jax.random.key(1), 400)))
    exact = float(batch_losses(predictions, batch).mask)
    assert values.std() > 0.01 * exact
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean() - exact) < 4 * error


@pytest.mark.parametrize("images", [("------", "------"), ("oo----", "------")])
def test_images_without_objects_teach_the_background_where_it_is_asked(images):
    predictions, batch = make_predictions(2), make_batch(*images)
    number = 7

    def total(class_logits):
        found = yolact.yolact_losses(
            predictions.replace(class_logits=class_logits),
            batch,
            jnp.asarray(ANCHORS),
            priority=random_priority(predictions),
            options=dataclasses.replace(OPTIONS, empty_negatives=number),
        )
        return found.total, found

    gradient, found = jax.jit(jax.grad(total, has_aux=True))(predictions.class_logits)
    rows = [
        reference_image(*jax.tree.map(lambda x, i=i: x[i], (predictions, batch)))
        for i in range(2)
    ]
    num_positive = max(sum(row[0] for row in rows), 1)
    expected = 0.0
    for i, kinds in enumerate(images):
        if "o" in kinds:
            expected += rows[i][1][1] / num_positive
            continue
        costs = [
            ref.log_sum_exp(row.tolist()) - float(row[0])
            for row in predictions.class_logits[i]
        ]
        expected += sum(sorted(costs)[-number:]) / max(num_positive, number)
        assert (np.abs(gradient[i]).sum(axis=1) > 0).sum() == number
    np.testing.assert_allclose(found.classification, expected, rtol=1e-5)
    assert np.isfinite(gradient).all()
    assert np.isfinite(as_array(found)).all()


def test_negatives_of_empty_images_do_not_weaken_other_losses():
    predictions, batch = make_predictions(2), make_batch("oo----", "o-----")

    def losses(number):
        return yolact.yolact_losses(
            predictions,
            batch,
            jnp.asarray(ANCHORS),
            priority=random_priority(predictions),
            options=dataclasses.replace(OPTIONS, empty_negatives=number),
        )

    np.testing.assert_allclose(as_array(losses(99)), as_array(losses(0)), rtol=1e-6)


def test_distances_of_boxes_are_those_of_a_network_input_that_is_not_square():
    """Twice as wide as high, whose masks have another shape."""
    predictions, batch = make_predictions(1), make_batch("oo----")
    batch = batch.replace(images=np.zeros((1, 1, 2, 3), np.uint8))
    found = yolact.yolact_losses(
        predictions,
        batch,
        jnp.asarray(ANCHORS),
        priority=random_priority(predictions),
        options=dataclasses.replace(OPTIONS, box="diou"),
    )
    boxes, pixels = batch.boxes[0, :2], np.array([2, 1, 2, 1])
    targets, index = ref_matching.match(
        boxes.tolist(), batch.labels[0, :2].tolist(), [], ANCHORS.tolist()
    )
    positive = [i for i, target in enumerate(targets) if target > 0]

    def decoded(i):
        deltas = predictions.box_deltas[0, i].tolist()
        return ref_boxes.decode(deltas, ANCHORS[i].tolist())

    costs = [
        diou(
            (np.array(decoded(i)) * pixels).tolist(),
            (boxes[index[i]].astype(float) * pixels).tolist(),
        )
        for i in positive
    ]
    expected = OPTIONS.box_weight * 5 * np.mean(costs)
    assert float(found.box) == pytest.approx(expected, rel=1e-4)
