"""Detections and full-size masks against plain definitions."""

import dataclasses
import functools

import cv2
import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolact_jax.config import Eval, InputFrame
from yolact_jax.inference.detect import Shortcuts, detect
from yolact_jax.inference.masks import full_size_masks
from yolact_jax.ops import resize
from yolact_jax.ops.nms.variants import NMS_VARIANTS
from yolact_jax.structures import Detections, Predictions


def detections_of(boxes, coefficients) -> Detections:
    count = len(boxes)
    return Detections(
        boxes=jnp.asarray(boxes, jnp.float32),
        scores=jnp.ones(count),
        labels=jnp.zeros(count, jnp.int32),
        coefficients=jnp.asarray(coefficients, jnp.float32),
        anchor_index=jnp.zeros(count, jnp.int32),
        valid=jnp.ones(count, bool),
    )


def test_detect_decodes_and_keeps_the_confident_anchor():
    anchors = jnp.array([[0.5, 0.5, 0.2, 0.4], [0.2, 0.2, 0.1, 0.1]])
    # The coding example of the spec: this delta decodes to (.45, .40, .70, .75).
    deltas = jnp.array([[[3.75, 1.875, 1.1157178, -0.6676570], [0, 0, 0, 0]]])
    logits = jnp.array([[[0.0, 1.0, 5.0], [9.0, 0.0, 0.0]]])
    coefficients = jnp.arange(4.0).reshape(1, 2, 2)
    found = detect(
        Predictions(deltas, logits, coefficients, jnp.zeros((1, 4, 4, 2))),
        anchors,
        score_threshold=0.05,
        iou_threshold=0.5,
        options=Eval(max_detections=3),
        input_size=550,
    )
    assert found.valid.tolist() == [[True, True, False]]
    assert found.labels[0, :2].tolist() == [1, 0]
    np.testing.assert_allclose(found.boxes[0, 0], [0.45, 0.4, 0.7, 0.75], atol=1e-6)
    scores = np.exp([5.0, 1.0]) / np.exp([0.0, 1.0, 5.0]).sum()
    np.testing.assert_allclose(found.scores[0, :2], scores, rtol=1e-6)
    np.testing.assert_array_equal(found.coefficients[0, :2], [[0, 1], [0, 1]])


@pytest.mark.parametrize("size", [(37, 50), (64, 64), (20, 64)])
def test_full_size_masks_equal_opencv_upsampling(size):
    rng = np.random.default_rng(0)
    prototypes = rng.normal(size=(16, 16, 3)).astype(np.float32)
    boxes = [[0.1, 0.2, 0.8, 0.9], [0.0, 0.0, 1.0, 1.0], [0.5, 0.1, 0.6, 0.3]]
    coefficients = rng.normal(size=(3, 3)).astype(np.float32)
    packed = jax.jit(full_size_masks, static_argnums=3)(
        detections_of(boxes, coefficients), prototypes, jnp.array(size), (64, 72)
    )
    assert packed.shape == (3, 64, 9)
    masks = np.unpackbits(np.asarray(packed), axis=-1)[:, : size[0], : size[1]]
    for box, weights, mask in zip(boxes, coefficients, masks, strict=True):
        soft = 1 / (1 + np.exp(-prototypes @ weights))
        index = np.arange(16)
        columns = (index >= box[0] * 16 - 1) & (index < box[2] * 16 + 1)
        rows = (index >= box[1] * 16 - 1) & (index < box[3] * 16 + 1)
        soft = soft * (rows[:, None] & columns[None])
        expected = cv2.resize(soft, size[::-1], interpolation=cv2.INTER_LINEAR)
        unclear = np.abs(expected - 0.5) < 1e-4
        assert np.all((mask == (expected > 0.5)) | unclear)
        assert 0 < mask.sum() < mask.size


@pytest.mark.parametrize("size", [(31, 47), (64, 64), (5, 9)])
def test_resize_of_the_valid_part_ignores_the_padding(size):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    canvas = np.full((64, 64, 3), 255, np.uint8)
    canvas[: size[0], : size[1]] = image
    frame = InputFrame(24, 30)
    got = jax.jit(resize.resize_valid, static_argnums=2)(canvas, jnp.array(size), frame)
    expected = cv2.resize(
        image.astype(np.float32), (30, 24), interpolation=cv2.INTER_LINEAR
    )
    np.testing.assert_allclose(got, expected, atol=2e-3)


def random_predictions(confident, *, anchors=300, classes=4, batch=2):
    """Predictions with some confident anchors, and boxes around the anchors."""
    rng = np.random.default_rng(confident)
    logits = rng.normal(size=(batch, anchors, classes + 1))
    logits[..., 0] += 14
    for image in logits:
        hot = rng.choice(anchors, confident, replace=False)
        image[hot, 1 + rng.integers(classes, size=confident)] += 15
    centers = rng.uniform(size=(anchors, 2))
    boxes = np.concatenate([centers, rng.uniform(0.1, 0.4, (anchors, 2))], axis=1)
    predictions = Predictions(
        box_deltas=rng.normal(size=(batch, anchors, 4)),
        class_logits=logits,
        coefficients=rng.normal(size=(batch, anchors, 3)),
        prototypes=np.zeros((batch, 4, 4, 3)),
    )
    to_float = functools.partial(jnp.asarray, dtype=jnp.float32)
    return jax.tree.map(to_float, predictions), to_float(boxes)


PLAIN = {"capacities": ()}


def detect_fn(capacities=Shortcuts.capacities, pairs=Shortcuts.pairs, **options):
    options = Eval(top_k=20, max_detections=30, **options)
    shortcuts = Shortcuts(capacities=capacities, pairs=pairs, least_scores=0)
    return jax.jit(
        functools.partial(detect, options=options, input_size=550, shortcuts=shortcuts)
    )


def assert_same(found, expected):
    """To the last bit, padding included."""
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize(
    ("nms", "agnostic"),
    [*((name, False) for name in NMS_VARIANTS), ("fast", True), ("sequential", True)],
)
def test_taking_candidates_only_changes_nothing(nms, agnostic):
    names = {"nms": nms, "class_agnostic": agnostic}
    everything = detect_fn(**names, **PLAIN)
    compact = detect_fn(**names, capacities=(16, 64), pairs=24)
    # 40 candidates fit into 64 slots; 60 may or may not; 200 do not.
    for confident in (0, 1, 40, 60, 200):
        predictions, anchors = random_predictions(confident)
        for threshold in (0.05, 0.3, 0.0):
            thresholds = {"score_threshold": threshold, "iou_threshold": 0.5}
            expected = everything(predictions, anchors, **thresholds)
            assert expected.valid.any() == (confident > 0 or threshold == 0)
            assert_same(compact(predictions, anchors, **thresholds), expected)
    assert compact._cache_size() == 1


def test_means_of_boxes_change_the_boxes_alone():
    predictions, anchors = random_predictions(40)
    thresholds = {"score_threshold": 0.05, "iou_threshold": 0.5}
    # Of a pair of anchors close together the lower one goes.
    anchors = anchors.at[1::2].set(anchors[::2])
    deltas = predictions.box_deltas / 10
    logits = predictions.class_logits.at[:, 1::2].set(
        predictions.class_logits[:, ::2] * 0.99
    )
    predictions = dataclasses.replace(
        predictions, box_deltas=deltas, class_logits=logits
    )
    plain, compact, everything = (
        detect_fn(**options)(predictions, anchors, **thresholds)
        for options in ({}, {"weighted_boxes": True}, {"weighted_boxes": True, **PLAIN})
    )
    for found in (compact, everything):
        assert_same(dataclasses.replace(found, boxes=plain.boxes), plain)
        assert np.abs(found.boxes - plain.boxes)[found.valid].max() > 1e-4
        np.testing.assert_array_equal(found.boxes[~found.valid], 0)
    np.testing.assert_allclose(compact.boxes, everything.boxes, atol=1e-6)


SHORTCUTS = {
    "candidates": {"capacities": (4, 12), "pairs": 0},
    "pairs": {"capacities": (12,), "pairs": 8},
    "many pairs": {"capacities": (16,), "pairs": 30},
}
_detect_fns = {}


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("nms", ["fast", "cluster"])
@hypothesis.settings(max_examples=20)
@hypothesis.given(
    # Few different logits and boxes: ties everywhere, and all numbers of candidates.
    logits=hnp.arrays(np.int8, (2, 20, 5), elements=st.integers(0, 4)),
    boxes=hnp.arrays(np.int8, (20, 2), elements=st.integers(0, 2)),
    gap=st.sampled_from([0, 2, 5]),
    nan=st.booleans(),
)
def test_shortcuts_are_exact_under_ties(shortcut, nms, logits, boxes, gap, nan):
    if nms not in _detect_fns:
        _detect_fns[nms] = detect_fn(nms=nms, **PLAIN)
    if (nms, shortcut) not in _detect_fns:
        _detect_fns[nms, shortcut] = detect_fn(nms=nms, **SHORTCUTS[shortcut])
    logits = logits.astype(np.float32)
    logits[..., 0] += gap
    logits[1, 3, 2] = np.nan if nan else 0
    anchors = np.concatenate([boxes / 4, np.full((20, 2), 0.4)], axis=1)
    predictions = Predictions(
        box_deltas=np.zeros((2, 20, 4), np.float32),
        class_logits=logits,
        coefficients=np.arange(120, dtype=np.float32).reshape(2, 20, 3),
        prototypes=np.zeros((2, 4, 4, 3), np.float32),
    )
    arguments = (predictions, anchors.astype(np.float32))
    thresholds = {"score_threshold": 0.2, "iou_threshold": 0.5}
    expected = _detect_fns[nms](*arguments, **thresholds)
    assert_same(_detect_fns[nms, shortcut](*arguments, **thresholds), expected)


@pytest.mark.parametrize(
    ("num_anchors", "num_classes", "expected"),
    [(1023, 5, []), (19248, 80, [64, 384, 1024]), (300, 80, [64]), (19248, 0, [])],
)
def test_few_scores_are_sorted_at_once(num_anchors, num_classes, expected):
    assert Shortcuts().tiers(num_anchors, num_classes) == expected


@pytest.mark.parametrize("count", [1, 4, 9])
def test_masks_of_any_number_of_detections(count):
    rng = np.random.default_rng(1)
    prototypes = rng.normal(size=(12, 12, 3)).astype(np.float32)
    found = detections_of([[0.2, 0.1, 0.9, 0.7]] * count, rng.normal(size=(count, 3)))
    masks = jax.jit(full_size_masks, static_argnums=3)
    size, canvas = jnp.array([20, 33]), (24, 40)
    together = masks(found, prototypes, size, canvas)
    assert together.shape == (count, 24, 5)
    for i in range(count):
        alone = masks(
            jax.tree.map(lambda x, i=i: x[i : i + 1], found),
            *(prototypes, size, canvas),
        )
        np.testing.assert_array_equal(together[i], alone[0])
