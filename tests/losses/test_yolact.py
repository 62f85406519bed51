"""Each loss on hand-made numbers and against loops; gradients; degenerate images."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.transforms import assert_jit_and_vmap_agree
from tests.reference import losses as ref
from yolact_jax.losses import yolact
from yolact_jax.losses.masks import select_masks
from yolact_jax.ops.matching import Matches


def normal(seed, *shape, scale=1.0):
    generator = np.random.default_rng(seed)
    return (scale * generator.normal(size=shape)).astype(np.float32)


def random_targets(seed, num_anchors=60, num_classes=5):
    """Few positives and neutrals among the background."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(1, num_classes + 1, num_anchors)
    kind = generator.random(num_anchors)
    return np.where(kind < 0.8, 0, np.where(kind < 0.9, -1, targets)).astype(np.int32)


@pytest.mark.parametrize(
    ("error", "cost"), [(0.5, 0.125), (-0.5, 0.125), (1, 0.5), (3, 2.5), (-3, 2.5)]
)
def test_box_loss_is_quadratic_up_to_one_then_linear(error, cost):
    deltas = np.array([[error, 0, 0, 0], [9, 9, 9, 9]], np.float32)
    loss = yolact.box_loss(deltas, np.zeros_like(deltas), np.array([True, False]))
    assert float(loss) == pytest.approx(cost)


def test_box_loss_agrees_with_loops():
    deltas, targets = normal(0, 60, 4, scale=2), normal(1, 60, 4, scale=2)
    positive = random_targets(2) > 0
    loss = yolact.box_loss(deltas, targets, positive)
    assert float(loss) == pytest.approx(
        ref.box_loss(deltas, targets, positive), rel=1e-5
    )


def test_box_loss_ignores_what_is_not_positive():
    targets = np.full((5, 4), -np.inf, np.float32)
    targets[:2] = 0.25
    positive = np.arange(5) < 2
    value, gradient = jax.value_and_grad(yolact.box_loss)(
        jnp.zeros((5, 4)), targets, positive
    )
    assert float(value) == pytest.approx(8 * 0.5 * 0.25**2)
    np.testing.assert_allclose(gradient[:2], -0.25)
    np.testing.assert_array_equal(gradient[2:], 0)


class_loss = functools.partial(yolact.class_loss, negative_ratio=3)


def test_class_loss_takes_three_hardest_negatives_per_positive():
    # Two channels with logits (0, x): hardness log(1 + e^x) grows with x.
    foreground = [2.0, 5.0, 4.0, 3.0, 1.0, 9.0, -9.0]
    targets = np.array([1, 0, 0, 0, 0, -1, 0], np.int32)
    logits = np.stack([np.zeros(7), foreground], 1).astype(np.float32)
    expected = math.log1p(math.exp(2)) - 2
    expected += sum(math.log1p(math.exp(x)) for x in (5, 4, 3))
    assert float(class_loss(logits, targets)) == pytest.approx(expected)
    expected -= math.log1p(math.exp(3)) + math.log1p(math.exp(4))
    one = yolact.class_loss(logits, targets, negative_ratio=1)
    assert float(one) == pytest.approx(expected)


def test_all_background_counts_where_the_ratio_asks_for_more():
    logits = np.array([[0, 3], [0, 4]], np.float32)
    loss = class_loss(logits, np.array([0, 1], np.int32))
    expected = math.log1p(math.exp(3)) + math.log1p(math.exp(4)) - 4
    assert float(loss) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_class_loss_agrees_with_loops(seed):
    logits, targets = normal(seed, 60, 6, scale=2), random_targets(seed)
    assert 0 < len(ref.hard_negatives(logits, targets)) < (targets == 0).sum()
    loss = class_loss(logits, targets)
    assert float(loss) == pytest.approx(ref.class_loss(logits, targets), rel=1e-5)


def test_class_loss_of_large_logits_is_finite():
    logits = np.array([[1e4, -1e4], [-1e4, 1e4], [0, 1e4]], np.float32)
    targets = np.array([1, 0, 0], np.int32)
    value, gradient = jax.value_and_grad(class_loss)(logits, targets)
    assert float(value) == pytest.approx(2e4 + 2e4 + 1e4)
    assert np.isfinite(gradient).all()


def test_no_positive_anchor_gives_no_class_loss():
    assert float(class_loss(normal(0, 9, 4), np.zeros(9, np.int32))) == 0


@pytest.mark.parametrize(
    ("probability", "target", "cost"),
    [
        (0.5, 1, math.log(2)),
        (0.25, 0, -math.log(0.75)),
        (1.0, 1, 0),
        (0.0, 0, 0),
        (0.0, 1, 100),
        (1.0, 0, 100),
        (1e-30, 1, 69.077553),
    ],
)
def test_pixel_costs_at_most_one_hundred(probability, target, cost):
    value, gradient = jax.value_and_grad(yolact.binary_cross_entropy)(
        jnp.float32(probability), jnp.float32(target)
    )
    assert float(value) == pytest.approx(cost, rel=1e-5)
    assert np.isfinite(gradient)


PRIORITY = np.random.default_rng(5).random(12).astype(np.float32)


def mask_case(seed, num_anchors=12, num_objects=3):
    """Prototypes, coefficients, class targets, object indices, boxes, masks."""
    generator = np.random.default_rng(seed)
    start = generator.uniform(0, 0.5, (num_objects, 2))
    end = start + generator.uniform(0.15, 0.5, (num_objects, 2))
    boxes = np.concatenate([start, end], 1).astype(np.float32)
    masks = (generator.random((num_objects, 9, 7)) < 0.3).astype(np.uint8)
    targets = generator.integers(-1, 3, num_anchors).astype(np.int32)
    targets[:2] = 1, 2
    index = generator.integers(0, num_objects, num_anchors).astype(np.int32)
    prototypes, coefficients = normal(seed, 9, 7, 4), normal(seed + 1, num_anchors, 4)
    return prototypes, coefficients, targets, index, boxes, masks


@functools.partial(jax.jit, static_argnames="max_masks")
def call_mask_loss(
    prototypes, coefficients, targets, index, boxes, masks, max_masks=100
):
    matches = Matches(targets, index)
    priority = jnp.asarray(PRIORITY[: targets.shape[0]])
    selection = select_masks(
        prototypes, coefficients, matches, boxes, masks, priority, max_masks=max_masks
    )
    return yolact.mask_pixel_loss(selection)


def test_mask_loss_of_one_object_is_cost_per_box_pixel():
    # sigmoid(0) = 0.5 inside the crop of 6 x 6 pixels; box of 4 x 4 pixels. The
    # object has one pixel more, outside the crop, which costs 100.
    masks = np.zeros((1, 8, 8), np.uint8)
    masks[0, 2:6, 2:6] = 1
    masks[0, 0, 0] = 1
    box = np.array([[0.25, 0.25, 0.75, 0.75]], np.float32)
    loss = call_mask_loss(
        np.ones((8, 8, 1), np.float32),
        np.zeros((3, 1), np.float32),
        np.array([0, 4, -1]),
        np.zeros(3, np.int32),
        box,
        masks,
    )
    assert float(loss) == pytest.approx((36 * math.log(2) + 100) / 16)


@pytest.mark.parametrize("seed", range(3))
def test_mask_loss_agrees_with_loops(seed):
    prototypes, coefficients, targets, index, boxes, masks = case = mask_case(seed)
    chosen = np.flatnonzero(targets > 0)
    expected = ref.mask_loss(prototypes, coefficients, index, chosen, 1, boxes, masks)
    assert float(call_mask_loss(*case)) == pytest.approx(expected, rel=1e-4)


def test_mask_loss_of_the_chosen_stands_for_all():
    case = mask_case(7)
    prototypes, coefficients, targets, index, boxes, masks = case
    positive = np.flatnonzero(targets > 0)
    chosen = sorted(positive, key=lambda i: -PRIORITY[i])[:2]
    expected = ref.mask_loss(
        prototypes, coefficients, index, chosen, len(positive) / 2, boxes, masks
    )
    assert len(positive) > 2
    loss = call_mask_loss(*case, max_masks=2)
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_mask_loss_without_positives_is_zero_with_zero_gradient():
    prototypes, coefficients, targets, index, boxes, masks = mask_case(0)
    value, gradients = jax.value_and_grad(call_mask_loss, argnums=(0, 1))(
        prototypes, coefficients, np.minimum(targets, 0), index, 0 * boxes, masks
    )
    assert float(value) == 0
    assert all((np.asarray(gradient) == 0).all() for gradient in gradients)


def test_saturated_masks_have_finite_gradients():
    prototypes, coefficients, *rest = mask_case(1)
    gradients = jax.grad(call_mask_loss, argnums=(0, 1))(
        1e4 * prototypes, coefficients, *rest
    )
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_semantic_target_unites_objects_of_a_class():
    generator = np.random.default_rng(0)
    masks = (generator.random((5, 6, 4)) < 0.4).astype(np.uint8)
    labels = np.array([2, 0, 2, 1, 2], np.int32)
    is_object = np.array([True, True, True, False, True])
    target = yolact.semantic_target(masks, labels, is_object, 4)
    expected = ref.semantic_target(masks, labels, is_object, 4)
    assert expected[..., 1].max() == expected[..., 3].max() == 0
    np.testing.assert_array_equal(target, expected)


def test_semantic_loss_is_sum_over_classes_and_mean_over_pixels():
    logits = np.zeros((6, 4, 3), np.float32)
    target = np.random.default_rng(0).integers(0, 2, logits.shape).astype(np.float32)
    assert float(yolact.semantic_loss(logits, target)) == pytest.approx(3 * math.log(2))
    logits = normal(0, 6, 4, 3, scale=3)
    expected = ref.semantic_loss(logits, target)
    assert float(yolact.semantic_loss(logits, target)) == pytest.approx(
        expected, rel=1e-5
    )


def test_jit_and_vmap_change_nothing():
    targets = np.stack([random_targets(0), random_targets(1), np.zeros(60, np.int32)])
    deltas = normal(0, 3, 60, 4)
    pairs = [
        (yolact.box_loss, deltas, deltas[::-1], targets > 0),
        (class_loss, normal(1, 3, 60, 6), targets),
        (
            call_mask_loss,
            *(np.stack(x) for x in zip(*map(mask_case, (1, 2, 3)), strict=True)),
        ),
    ]
    for function, *arrays in pairs:
        assert_jit_and_vmap_agree(function, *arrays, rtol=1e-5, atol=1e-6)
