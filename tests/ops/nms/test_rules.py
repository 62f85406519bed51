"""Every rule against its definition as a loop."""

import math

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.reference import boxes as ref_boxes
from tests.reference import nms as ref
from yolact_jax.ops import boxes as box_ops
from yolact_jax.ops.nms import rules, soft_rules

GREEDY = {
    "cluster": rules.cluster,
    "greedy_matrix": rules.greedy_matrix,
    "greedy_loop": rules.greedy_loop,
}
RULES = {"fast": rules.fast, **GREEDY}
SIZE = 12


def dropping(rule):
    """A rule as a function of sorted boxes and threshold that tells what is dropped."""

    def dropped(boxes, threshold, labels=None):
        scores = jnp.linspace(1, 0.5, len(boxes))
        return rule(boxes, scores, threshold, labels) < 0

    return dropped


DROPPED = {name: dropping(rule) for name, rule in RULES.items()}
JITTED = {name: jax.jit(rule) for name, rule in DROPPED.items()}

# Corners on a coarse grid make equal boxes, points and exact thresholds common.
grid_boxes = hnp.arrays(np.float32, (SIZE, 4), elements=st.integers(0, 6)).map(
    lambda b: np.concatenate([b[:, :2], b[:, :2] + b[:, 2:]], axis=1).astype(np.float32)
)
thresholds = st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 0.7, 1.0])


def expected(name, boxes, threshold):
    loop = ref.fast if name == "fast" else ref.greedy
    scores = loop(boxes.astype(np.float64), [1.0] * len(boxes), np.float32(threshold))
    return [score is None for score in scores]


def is_unclear(boxes, threshold):
    """Whether float32 may fall on the other side of the threshold."""
    overlaps = [ref_boxes.iou(a, b) for a in boxes.astype(float) for b in boxes]
    return any(0 < abs(o - np.float32(threshold)) < 1e-6 for o in overlaps)


@pytest.mark.parametrize("name", RULES)
@hypothesis.settings(max_examples=60)
@hypothesis.given(boxes=grid_boxes, threshold=thresholds)
def test_rule_equals_its_definition(name, boxes, threshold):
    hypothesis.assume(not is_unclear(boxes, threshold))
    dropped = JITTED[name](boxes, threshold)
    assert dropped.tolist() == expected(name, boxes, threshold)


def test_distance_spares_what_the_overlap_alone_drops():
    # The IoU is 2/3 each time; the last box is centered in the first, the second not.
    boxes = np.array([[0, 0, 6, 1], [0, 0, 4, 1], [1, 0, 5, 1]], np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    distance = 1 / 37  # One cell to the side, of a diagonal squared of 6^2 + 1.
    threshold = 2 / 3 - distance / 2
    assert (rules.cluster(boxes, scores, threshold) > 0).tolist() == [True] + [
        False
    ] * 2
    spared = rules.cluster_diou(boxes, scores, threshold)
    np.testing.assert_allclose(spared, [0.9, 0.8, -1.0], rtol=1e-6)


def test_penalty_of_one_box_of_copies_and_of_boxes_that_were_dropped():
    one = np.array([[0, 0, 4, 1]], np.float32)
    lowered = soft_rules.cluster_penalty(one, np.float32([0.5]), 0.5)
    np.testing.assert_array_equal(lowered, [0.5])
    # Of three copies the first alone is kept, and lowers each of the others once.
    copies, scores = np.repeat(one, 3, axis=0), np.float32([0.9, 0.8, -1.0])
    lowered = soft_rules.cluster_penalty(copies, scores, 0.5)
    expected = [0.9, 0.8 * math.exp(-1 / 0.2), -1.0]
    np.testing.assert_allclose(lowered, expected, rtol=1e-5)
    # What a wild network predicts lowers as a copy does, and takes nothing with it.
    wild = np.concatenate([np.float32([[-np.inf, -np.inf, np.nan, np.nan]]), one])
    lowered = soft_rules.cluster_penalty(wild, scores[:2], 0.5)
    np.testing.assert_allclose(lowered, [0.9, 0.8 * math.exp(-1 / 0.2)], rtol=1e-5)
    # A neighbor with half of its area in common is lowered less: its center is apart.
    pair = np.array([[0, 0, 4, 1], [1, 0, 5, 1]], np.float32)
    lowered = soft_rules.cluster_penalty(pair, scores[:2], 0.7)
    expected = [0.9, 0.8 * (math.exp(-(0.6**2) / 0.2) + (1 / 26) ** 0.6)]
    np.testing.assert_allclose(lowered, expected, rtol=1e-5)
    jitted = jax.jit(soft_rules.cluster_penalty)(copies, scores, 0.5)
    lowered = soft_rules.cluster_penalty(copies, scores, 0.5)
    np.testing.assert_allclose(jitted, lowered, rtol=1e-6)


@pytest.mark.parametrize("name", RULES)
def test_chain(name):
    # a over b, b over c, but a not over c: only Fast NMS lets b drop c.
    boxes = np.array([[0, 0, 4, 1], [1, 0, 5, 1], [2, 0, 6, 1]], np.float32)
    dropped = DROPPED[name](boxes, 0.5)
    assert dropped.tolist() == [False, True, name == "fast"]


@pytest.mark.parametrize("name", RULES)
def test_long_chain_needs_as_many_rounds_as_boxes(name):
    start = np.arange(50.0)
    boxes = np.stack([start, 0 * start, start + 4, 0 * start + 1], axis=1)
    dropped = DROPPED[name](boxes.astype(np.float32), 0.5)
    assert dropped.tolist() == expected(name, boxes, 0.5)


@pytest.mark.parametrize("name", RULES)
def test_jit_and_vmap_change_nothing_and_thresholds_do_not_recompile(name):
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 1, (3, 20, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0, 1, (3, 20, 2))], axis=-1)
    boxes = boxes.astype(np.float32)
    rule = jax.jit(jax.vmap(DROPPED[name], in_axes=(0, None)))
    for threshold in (0.3, 0.6):
        each = [DROPPED[name](b, threshold) for b in boxes]
        np.testing.assert_array_equal(rule(boxes, threshold), jnp.stack(each))
    assert rule._cache_size() == 1


@pytest.mark.parametrize("name", RULES)
def test_what_comes_later_never_matters(name):
    rng = np.random.default_rng(1)
    corner = rng.uniform(0, 1, (16, 2))
    boxes = np.concatenate([corner, corner + 0.5], axis=1).astype(np.float32)
    whole = DROPPED[name](boxes, 0.4)
    np.testing.assert_array_equal(DROPPED[name](boxes[:9], 0.4), whole[:9])


@pytest.mark.parametrize("name", RULES)
@hypothesis.settings(max_examples=30)
@hypothesis.given(
    boxes=grid_boxes,
    labels=hnp.arrays(np.int32, SIZE, elements=st.integers(0, 2)),
)
def test_labels_keep_boxes_apart(name, boxes, labels):
    dropped = np.asarray(JITTED[name](boxes, 0.5, labels))
    for label in range(3):
        mine = labels == label
        assert dropped[mine].tolist() == expected(name, boxes[mine], 0.5)


def test_long_lists_are_worked_through_in_blocks():
    rng = np.random.default_rng(2)
    corner = rng.integers(0, 60, (700, 2))
    boxes = np.concatenate([corner, corner + rng.integers(0, 30, (700, 2))], axis=1)
    boxes = boxes.astype(np.float32)
    iou = np.asarray(jax.jit(box_ops.pairwise_iou)(boxes, boxes))
    over = np.triu(~(iou <= 0.5), k=1).any(axis=0)
    assert 100 < over.sum() < 600
    np.testing.assert_array_equal(JITTED["fast"](boxes, 0.5), over)


@pytest.mark.parametrize("sigma", [None, 2.0])
@hypothesis.settings(max_examples=40)
@hypothesis.given(boxes=grid_boxes)
def test_matrix_decay_equals_its_definition(sigma, boxes):
    def decay(overlap):
        return 1 - overlap if sigma is None else math.exp(-sigma * overlap**2)

    factors = soft_rules.matrix_decay(boxes, sigma=sigma)
    expected = ref.matrix(boxes.astype(np.float64), [1.0] * len(boxes), decay)
    np.testing.assert_allclose(factors, expected, atol=2e-5)
