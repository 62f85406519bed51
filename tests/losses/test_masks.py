"""Losses of masks: the gradient of PyTorch's cross entropy, and the IoU loss."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.scenes import (
    INPUT_SIZE,
    NUM_CLASSES,
    random_priority,
    rectangles,
    tiny_anchors,
    tiny_model,
)
from tests.reference import losses as ref
from yolact_jax.config import Loss
from yolact_jax.losses import yolact
from yolact_jax.losses.masks import (
    MaskSelection,
    binary_cross_entropy,
    mask_iou_loss,
    mask_pixel_loss,
)
from yolact_jax.ops.resize import resize_bilinear


@pytest.mark.parametrize("target", [0.0, 0.25, 1.0])
def test_gradient_of_cross_entropy_is_that_of_pytorch(target):
    probability = np.array([0, 1e-30, 1e-13, 1e-7, 0.3, 1 - 1e-6, 1], np.float32)
    gradient = jax.vmap(jax.grad(binary_cross_entropy))(
        probability, np.full_like(probability, target)
    )
    variance = np.maximum(probability * (1 - probability), np.float32(1e-12))
    np.testing.assert_allclose(gradient, (probability - target) / variance, rtol=1e-6)


@pytest.mark.parametrize("target", [0.0, 0.0625, 0.5, 1.0])
def test_cross_entropy_is_least_where_the_share_is_met(target):
    probability = np.linspace(0.001, 0.999, 999)
    costs = binary_cross_entropy(jnp.float32(probability), jnp.float32(target))
    exact = -(target * np.log(probability) + (1 - target) * np.log1p(-probability))
    np.testing.assert_allclose(costs, exact, rtol=2e-4)
    assert abs(probability[np.argmin(costs)] - target) < 0.002


def test_gradient_vanishes_behind_a_saturated_sigmoid():
    def cost(logit, target):
        return binary_cross_entropy(jax.nn.sigmoid(logit), target)

    # At -40 the sigmoid is 4e-18, far below what divides the gradient: p / 1e-12.
    assert float(jax.grad(cost)(-40.0, 1.0)) == pytest.approx(-4.248e-6, rel=1e-3)
    assert float(jax.grad(cost)(200.0, 0.0)) == 0
    assert float(jax.grad(cost)(-200.0, 1.0)) == 0
    assert float(jax.grad(cost)(1.5, 1.0)) == pytest.approx(-0.18243, rel=1e-4)


def random_selection(seed, slots=6, side=12):
    rng = np.random.default_rng(seed)
    target = (rng.random((slots, side, side)) < 0.4).astype(np.float32)
    target[1, 3:] = 0
    target[1, :, 3:] = 0  # at most nine pixels: too small
    return MaskSelection(
        predicted=jnp.asarray(rng.random((slots, side, side)), jnp.float32),
        target=jnp.asarray(target),
        boxes=jnp.zeros((slots, 4)),
        labels=jnp.asarray(rng.integers(0, 3, slots), jnp.int32),
        valid=jnp.asarray([True] * (slots - 1) + [False]),
        scale=jnp.float32(2.0),
    )


def score(masks):
    """Stands in for the network: smooth, positive, different for each class."""
    mean = jnp.mean(masks**2, axis=(1, 2))
    return jnp.stack([mean, 2 * mean, 3 + mean], axis=1)


@pytest.mark.parametrize("seed", range(3))
def test_mask_iou_loss_agrees_with_loops(seed):
    selection = random_selection(seed)
    expected = 0.0
    for slot in range(5):
        hard = np.asarray(selection.predicted[slot]) > 0.5
        truth = np.asarray(selection.target[slot]) > 0
        if truth.sum() <= 25:
            continue
        iou = (hard & truth).sum() / (hard | truth).sum()
        predicted = score(selection.predicted[slot : slot + 1])[0]
        expected += ref.smooth_l1(predicted[int(selection.labels[slot])] - iou)
    actual = jax.jit(lambda s: mask_iou_loss(s, score(s.predicted), min_area=25))(
        selection
    )
    assert float(actual) == pytest.approx(expected, rel=1e-5)


def test_mask_iou_loss_without_masks_is_zero_with_zero_gradient():
    selection = random_selection(0).replace(valid=jnp.zeros(6, bool))

    def loss(predicted):
        return mask_iou_loss(selection.replace(predicted=predicted), score(predicted))

    value, gradient = jax.value_and_grad(loss)(selection.predicted)
    assert float(value) == 0
    np.testing.assert_array_equal(gradient, 0)


def test_mask_iou_loss_reaches_the_masks():
    selection = random_selection(0)
    gradient = jax.grad(
        lambda p: mask_iou_loss(selection.replace(predicted=p), score(p), min_area=0)
    )(selection.predicted)
    assert float(jnp.abs(gradient[0]).max()) > 0
    np.testing.assert_array_equal(gradient[5], 0)


@pytest.fixture(scope="module")
def batch():
    return rectangles([2, 3])


@pytest.fixture(scope="module")
def predictions(batch):
    model = tiny_model()
    images = jnp.asarray(batch.images, jnp.float32) / 255
    predictions, _ = jax.jit(
        lambda x: model.init_with_output(jax.random.key(0), x, train=True)
    )(images)
    return predictions


def batch_losses(predictions, batch, mask_iou_fn=None, **options):
    @jax.jit
    def compute(predictions, batch):
        return yolact.yolact_losses(
            predictions,
            batch,
            jnp.asarray(tiny_anchors()),
            priority=random_priority(predictions),
            options=Loss(**options),
            mask_iou_fn=mask_iou_fn,
        )

    return compute(predictions, batch)


def test_masks_of_another_size_are_resized_as_the_original_does(batch, predictions):
    large = np.asarray(
        resize_bilinear(jnp.asarray(batch.masks, jnp.float32), (64, 64)) > 0.5
    )
    small = np.asarray(resize_bilinear(jnp.asarray(large, jnp.float32), (16, 16)) > 0.5)
    assert batch.masks.shape[2:] == (16, 16)
    terms = [
        batch_losses(predictions, batch.replace(masks=masks))
        for masks in (large, small)
    ]
    assert float(terms[0].mask) == pytest.approx(float(terms[1].mask), rel=1e-6)
    assert INPUT_SIZE == 64


def test_mask_iou_term_is_weighted_and_part_of_the_total(batch, predictions):
    def terms_of(mask_iou_fn, weight=25.0):
        options = {"mask_iou_weight": weight, "min_mask_area": 0}
        return batch_losses(predictions, batch, mask_iou_fn, **options)

    without = terms_of(None)
    assert without.mask_iou is None

    def ones(masks):
        return jnp.ones((len(masks), NUM_CLASSES))

    terms, doubled = terms_of(ones), terms_of(ones, 50.0)
    assert float(terms.mask_iou) > 0
    assert float(doubled.mask_iou) == pytest.approx(2 * float(terms.mask_iou))
    total = float(without.total) + float(terms.mask_iou)
    assert float(terms.total) == pytest.approx(total, rel=1e-6)


def test_floor_of_the_divisor_changes_small_boxes_only():
    side = 12
    boxes = np.zeros((6, 4), np.float32)
    boxes[:, 2:] = np.sqrt(np.array([0.07, 1, 3.9, 4.1, 50, 0]) / side**2)[:, None]
    selection = random_selection(0, side=side).replace(boxes=jnp.asarray(boxes))
    predicted, target = np.float64(selection.predicted), np.asarray(selection.target)
    cost = -np.log(np.where(target == 1, predicted, 1 - predicted)).sum(axis=(1, 2))
    divisors = np.array([4, 4, 4, 4.1, 50])  # The last slot holds no mask.
    loss = mask_pixel_loss(selection, min_cells=4.0)
    np.testing.assert_allclose(loss, 2 * (cost[:5] / divisors).sum(), rtol=1e-5)


def test_semantic_loss_learns_the_masks_made_for_it(batch, predictions):
    def semantic(masks=None):
        changed = batch.replace(semantic_masks=masks)
        return float(batch_losses(predictions, changed).semantic)

    half = resize_bilinear(jnp.asarray(batch.masks, jnp.float32), (8, 8)) > 0.5
    assert semantic(half.astype(jnp.uint8)) == semantic()
    assert semantic((~half).astype(jnp.uint8)) != semantic()


def test_shares_of_zero_and_one_are_masks(predictions, batch):
    shares = dataclasses.replace(batch, masks=batch.masks.astype(jnp.float16))
    expected, found = (batch_losses(predictions, x) for x in (batch, shares))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_shares_between_change_the_mask_loss_alone(predictions, batch):
    shares = dataclasses.replace(batch, masks=batch.masks.astype(jnp.float16) * 0.75)
    expected, found = (batch_losses(predictions, x) for x in (batch, shares))
    for name in ("box", "classification", "semantic"):
        assert getattr(found, name) == getattr(expected, name)
    assert found.mask != expected.mask
    assert np.isfinite(found.mask)
