"""Box losses by overlap: loops over Python floats, known values, edge cases."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.reference import boxes as ref
from yolact_jax.losses import boxes as lib


def diou(a, b):
    ca, cb = ref.center_form(a), ref.center_form(b)
    apart = (ca[0] - cb[0]) ** 2 + (ca[1] - cb[1]) ** 2
    width = max(a[2], b[2]) - min(a[0], b[0])
    height = max(a[3], b[3]) - min(a[1], b[1])
    return 1 - ref.iou(a, b) + apart / (width**2 + height**2)


def ciou(a, b):
    angles = [math.atan((c[2] - c[0]) / (c[3] - c[1])) for c in (a, b)]
    v = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    alpha = v / (1 - ref.iou(a, b) + v) if v else 0.0
    return diou(a, b) + alpha * v


ORACLES = {lib.diou_loss: diou, lib.ciou_loss: ciou}
EACH = pytest.mark.parametrize("loss", ORACLES, ids=lambda f: f.__name__)
KINDS = pytest.mark.parametrize("kind", ["diou", "ciou"])


def random_boxes(seed, count=50):
    generator = np.random.default_rng(seed)
    low = generator.uniform(0, 0.7, (count, 2))
    size = generator.uniform(0.02, 0.5, (count, 2))
    return np.concatenate([low, low + size], 1).astype(np.float32)


@EACH
def test_loss_agrees_with_loops_under_jit_too(loss):
    a, b = random_boxes(0), random_boxes(1)
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    expected = [ORACLES[loss](*pair) for pair in pairs]
    np.testing.assert_allclose(loss(a, b), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(jax.jit(loss)(a, b), loss(a, b), rtol=1e-6)


def test_known_values():
    box = np.array([0, 0, 0.2, 0.2], np.float32)
    corner = np.array([0.2, 0.2, 0.4, 0.4], np.float32)
    assert float(lib.diou_loss(box, corner)) == pytest.approx(1.25)
    assert float(lib.ciou_loss(box, corner)) == pytest.approx(1.25)
    inside = np.array([0.05, 0.05, 0.15, 0.15], np.float32)
    assert float(lib.diou_loss(box, inside)) == pytest.approx(0.75)
    flat = np.array([0.0, 0.05, 0.2, 0.15], np.float32)
    v = 4 / math.pi**2 * (math.atan(2) - math.pi / 4) ** 2
    expected = 0.5 + v * v / (0.5 + v)
    assert float(lib.ciou_loss(box, flat)) == pytest.approx(expected, rel=1e-5)


@EACH
def test_identical_boxes_cost_nothing_and_pull_nowhere(loss):
    box = jnp.array([[0.25, 0.25, 0.5, 0.75]])
    value, gradient = jax.value_and_grad(lambda b: loss(b, box).sum())(box)
    assert float(value) == pytest.approx(0, abs=1e-6)
    assert np.all(np.isfinite(gradient))


@EACH
def test_gradient_is_that_of_finite_differences(loss):
    a, b = (np.float32(box) for box in ([[0.1, 0.2, 0.5, 0.9]], [[0.2, 0.1, 0.6, 0.5]]))
    v, iou = (
        4 / math.pi**2 * (math.atan(1.0) - math.atan(4 / 7)) ** 2,
        ref.iou(a[0], b[0]),
    )
    alpha = v / (1 - iou + v)

    def cost(box):  # With the constant alpha of the definition.
        angle = math.atan((box[2] - box[0]) / (box[3] - box[1]))
        shape = 4 / math.pi**2 * (math.atan(1.0) - angle) ** 2
        return diou(box, b[0]) + (alpha * shape if loss is lib.ciou_loss else 0.0)

    found = jax.grad(lambda x: loss(x, b).sum())(a)[0]
    for side in range(4):
        step = 1e-4 * np.eye(4)[side]
        slope = (cost(a[0] + step) - cost(a[0] - step)) / 2e-4
        assert float(found[side]) == pytest.approx(slope, rel=5e-3, abs=1e-3)


@KINDS
@pytest.mark.parametrize("wild", [0.0, 1e3, -1e3])
def test_only_positive_anchors_count_and_gradients_are_finite(kind, wild):
    boxes = random_boxes(2, 4)
    anchors = np.array([ref.center_form(b) for b in random_boxes(3, 4)], np.float32)
    positive = np.array([True, True, False, False])
    deltas = jnp.full((4, 4), wild).at[3].set(jnp.nan)
    boxes[2] = 0

    def cost(deltas):
        return lib.box_term(deltas, boxes, anchors, positive, kind=kind)

    value, gradient = jax.value_and_grad(cost)(deltas)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))
    np.testing.assert_array_equal(gradient[2:], 0)


@KINDS
def test_overlap_pulls_about_as_hard_as_smooth_l1(kind):
    """One weight of the box loss suits all kinds."""
    generator = np.random.default_rng(6)
    anchors = np.tile(np.float32([0.5, 0.5, 0.1, 0.1]), (500, 1))
    deltas = generator.normal(0, 0.9, (500, 4)).astype(np.float32)
    boxes = np.float32([ref.decode(d, a) for d, a in zip(deltas, anchors, strict=True)])
    overlap = np.array([ref.iou(box, [0.45, 0.45, 0.55, 0.55]) for box in boxes])
    halfway = (overlap > 0.5) & (overlap < 0.8)
    assert halfway.sum() > 100

    def pull(kind):
        def cost(deltas):
            return lib.box_term(deltas, boxes, anchors, halfway, kind=kind)

        slopes = jax.grad(cost)(jnp.zeros((500, 4)))[halfway]
        return float(np.linalg.norm(slopes, axis=1).mean())

    assert 1 / 2 < pull(kind) / pull("smooth_l1") < 2


@KINDS
def test_sum_over_anchors_decodes_their_deltas(kind):
    boxes, deltas = random_boxes(4, 5), np.float32(np.linspace(-1, 1, 20)).reshape(5, 4)
    anchors = np.array([ref.center_form(b) for b in random_boxes(5, 5)], np.float32)
    positive = np.array([True, False, True, True, False])
    oracle = {"diou": diou, "ciou": ciou}[kind]
    expected = 5 * sum(
        oracle(ref.decode(deltas[i].tolist(), anchors[i].tolist()), boxes[i].tolist())
        for i in (0, 2, 3)
    )
    found = lib.box_term(deltas, boxes, anchors, positive, kind=kind)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    none = np.zeros(5, bool)
    value, gradient = jax.jit(
        jax.value_and_grad(lambda d: lib.box_term(d, boxes, anchors, none, kind=kind))
    )(deltas)
    assert float(value) == 0
    np.testing.assert_array_equal(gradient, 0)
