"""What every variant of NMS promises, on made-up boxes full of ties and oddities."""

import functools

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from tests.helpers.published import NMS, THRESHOLDS
from tests.reference import nms as ref
from yolact_jax.ops.nms.pairs import best_pairs_nms, rank_among_equals
from yolact_jax.ops.nms.per_class import per_class_nms
from yolact_jax.ops.nms.variants import (
    DROPPING_RULES,
    NMS_VARIANTS,
    RULES,
    run_nms,
    slots,
)

ANCHORS, CLASSES = 10, 3
SIZES = {"top_k": 6, "max_detections": 12}
ALL = [
    *(
        (name, agnostic)
        for name in (*RULES, "sequential")
        for agnostic in (False, True)
    ),
    ("cross_class", False),
]
SETTINGS = hypothesis.settings(max_examples=20)

# On a coarse grid equal boxes, lines, points and exact thresholds are common.
boxes_st = hnp.arrays(np.float32, (ANCHORS, 4), elements=st.integers(0, 5)).map(
    lambda b: np.concatenate([b[:, :2], b[:, :2] + b[:, 2:]], axis=1) / np.float32(16)
)
levels = [0.0, 0.01, 0.05, 0.1, 0.3, 0.31, 0.6, 0.9, 1.0]
scores_st = hnp.arrays(
    np.float32,
    (ANCHORS, CLASSES),
    elements=st.sampled_from([*levels, float("nan")]),
)
score_thresholds = st.sampled_from([0.0, 0.05, 0.3, 0.95])
iou_thresholds = st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 0.7, 1.0])


@functools.cache
def jitted(name, agnostic):
    run = functools.partial(run_nms, name, agnostic=agnostic, input_size=16.0, **SIZES)
    return jax.jit(run)


def detections(kept):
    """[(score, label, anchor)] of the valid slots, which must come first."""
    count = int(kept.valid.sum())
    assert kept.valid[:count].all()
    for column in (kept.scores, kept.labels, kept.anchor_index):
        assert not np.asarray(column[count:]).any()
    columns = (kept.scores, kept.labels, kept.anchor_index)
    return [*zip(*(np.asarray(c)[:count].tolist() for c in columns), strict=True)]


def oracle(name, agnostic, boxes, scores, score_threshold, iou_threshold):
    thresholds = {
        "score_threshold": np.float32(score_threshold),
        "iou_threshold": np.float32(iou_threshold),
    }
    if name == "sequential":
        boxes_px = boxes * np.float32(16)
        return ref.sequential(boxes_px, scores, **thresholds, agnostic=agnostic)
    if name == "cross_class":
        name, agnostic = "fast", True
    return ref.nms(
        name,
        boxes,
        scores,
        **thresholds,
        top_k=SIZES["top_k"],
        agnostic=agnostic,
    )


@pytest.mark.parametrize(("name", "agnostic"), ALL)
@SETTINGS
@hypothesis.given(boxes_st, scores_st, score_thresholds, iou_thresholds)
def test_variant_equals_its_definition(name, agnostic, boxes, scores, threshold, iou):
    kept = jitted(name, agnostic)(
        boxes, scores, score_threshold=threshold, iou_threshold=iou
    )
    found = detections(kept)
    expected = oracle(name, agnostic, boxes, scores, threshold, iou)
    limit = slots(name, **SIZES)
    assert kept.scores.shape == (limit,)
    if name in RULES and name not in DROPPING_RULES:
        check_rescored(found, expected, limit)
    elif agnostic or name == "cross_class":
        # Across classes equal scores are ordered by anchor.
        ranked = sorted((-s, a, c) for (c, a), s in expected.items())[:limit]
        assert found == [(-s, c, a) for s, a, c in ranked]
    else:
        assert found == ref.best_first(expected, limit)


def check_rescored(found, expected, limit):
    """Lowered scores are inexact, and so is the order of those that are close."""
    ranked = [score for score, _, _ in ref.best_first(expected, limit)]
    np.testing.assert_allclose([s for s, _, _ in found], ranked, atol=3e-6)
    for score, label, anchor in found:
        np.testing.assert_allclose(score, expected[label, anchor], atol=3e-6)
    assert len({entry[1:] for entry in found}) == len(found)


def random_case(seed, anchors=ANCHORS):
    """Overlapping boxes with distinct scores."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 0.5, (anchors, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.1, 0.5, (anchors, 2))], 1)
    scores = rng.permutation(anchors * CLASSES).reshape(anchors, CLASSES)
    return boxes.astype(np.float32), (scores / scores.size).astype(np.float32)


@pytest.mark.parametrize(("name", "agnostic"), ALL)
@SETTINGS
@hypothesis.given(st.integers(0, 1000), st.permutations(range(ANCHORS)))
def test_order_of_anchors_does_not_matter(name, agnostic, seed, order):
    boxes, scores = random_case(seed)
    order = np.array(order)
    run = jitted(name, agnostic)
    expected = detections(run(boxes, scores, **THRESHOLDS))
    shuffled = detections(run(boxes[order], scores[order], **THRESHOLDS))
    assert expected
    assert [(s, c, order[a]) for s, c, a in shuffled] == expected


@pytest.mark.parametrize(("name", "agnostic"), ALL)
def test_padding_does_not_matter(name, agnostic):
    boxes, scores = random_case(1)
    expected = oracle(name, agnostic, boxes[:7], scores[:7], 0.05, 0.5)
    expected = ref.best_first(expected, SIZES["max_detections"])
    for filler in (0.0, 0.05, np.nan, -1.0):
        scores[7:] = filler
        found = detections(jitted(name, agnostic)(boxes, scores, **THRESHOLDS))
        assert [entry[1:] for entry in found] == [entry[1:] for entry in expected]


@pytest.mark.parametrize(
    ("name", "agnostic"), [*((name, False) for name in NMS_VARIANTS), ("fast", True)]
)
def test_jit_vmap_and_thresholds_at_run_time(name, agnostic):
    boxes, scores = (np.stack(x) for x in zip(*map(random_case, range(3)), strict=True))
    scores[2] = 0  # an image without candidates
    options = {"agnostic": agnostic, "input_size": 16.0, **SIZES}
    traces = []

    @jax.jit
    def batched(boxes, scores, score_threshold, iou_threshold):
        traces.append(None)
        run = functools.partial(
            run_nms,
            name,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            **options,
        )
        return jax.vmap(run)(boxes, scores)

    for thresholds in ((0.05, 0.5), (0.4, 0.2)):
        together = batched(boxes, scores, *thresholds)
        for i in range(3):
            pair = {"score_threshold": thresholds[0], "iou_threshold": thresholds[1]}
            eager = run_nms(name, boxes[i], scores[i], **pair, **options)
            jitted_ = jitted(name, agnostic)(boxes[i], scores[i], **pair)
            row = jax.tree.map(lambda x, i=i: x[i], together)
            for other in (jitted_, row):
                assert [e[1:] for e in detections(other)] == [
                    e[1:] for e in detections(eager)
                ]
                np.testing.assert_allclose(other.scores, eager.scores, rtol=1e-6)
        assert not together.valid[2].any()
    assert len(traces) == 1


@pytest.mark.parametrize("name", [*DROPPING_RULES, "cross_class", "sequential"])
def test_identical_boxes_leave_one_of_each_class(name):
    boxes = np.tile(np.array([0.25, 0.25, 0.5, 0.5], np.float32), (ANCHORS, 1))
    scores = np.linspace(0.1, 0.9, ANCHORS * CLASSES, dtype=np.float32)
    scores = scores.reshape(ANCHORS, CLASSES)
    kept = detections(jitted(name, False)(boxes, scores, **THRESHOLDS))
    labels = [2] if name == "cross_class" else [2, 1, 0]
    assert [entry[1:] for entry in kept] == [(label, ANCHORS - 1) for label in labels]


@pytest.mark.parametrize(("name", "agnostic"), ALL)
def test_no_anchors_give_no_detections(name, agnostic):
    kept = run_nms(
        name,
        np.zeros((0, 4), np.float32),
        np.zeros((0, CLASSES)),
        **NMS,
        agnostic=agnostic,
        input_size=550,
    )
    assert kept.scores.shape == (slots(name, 200, 100),)
    assert not kept.valid.any()


def test_unknown_name_is_explained():
    with pytest.raises(ValueError, match="`name` is 'slow'; it must be one of"):
        run_nms("slow", *random_case(0), **NMS, input_size=550)
    assert set(NMS_VARIANTS) == {name for name, _ in ALL}


@functools.cache
def pair_and_plain(name, pairs):
    options = {"rule": DROPPING_RULES[name], "top_k": 4, "max_detections": 7}
    pair = functools.partial(best_pairs_nms, pairs=pairs, **options)
    return jax.jit(pair), jax.jit(functools.partial(per_class_nms, **options))


@pytest.mark.parametrize("name", ["fast", "cluster"])
@pytest.mark.parametrize("pairs", [7, 16, 30])
@SETTINGS
@hypothesis.given(boxes_st, scores_st, score_thresholds, iou_thresholds)
def test_best_pairs_are_exact_where_they_say_so(
    name, pairs, boxes, scores, threshold, iou
):
    pair, plain = pair_and_plain(name, pairs)
    thresholds = {"score_threshold": threshold, "iou_threshold": iou}
    kept, exact = pair(boxes, scores, **thresholds)
    if pairs == ANCHORS * CLASSES:
        assert exact
    if exact:
        expected = plain(boxes, scores, **thresholds)
        jax.tree.map(np.testing.assert_array_equal, kept, expected)


def test_best_pairs_tell_when_they_do_not_suffice():
    boxes, scores = random_case(0)
    same = np.tile(boxes[:1], (ANCHORS, 1))
    pair, _ = pair_and_plain("fast", 16)
    thresholds = {"score_threshold": 0.05, "iou_threshold": 0.5}
    assert not pair(same, scores, **thresholds)[1]
    # Six pairs in all: the list holds them, and all of them are known.
    few = np.where(np.arange(ANCHORS)[:, None] < 2, scores, 0)
    kept, exact = pair(same, few, **thresholds)
    assert exact
    assert int(kept.valid.sum()) == CLASSES


@hypothesis.given(hnp.arrays(np.int32, 9, elements=st.integers(0, 4)))
@SETTINGS
def test_rank_counts_equal_labels_before(labels):
    expected = [list(labels[:i]).count(label) for i, label in enumerate(labels)]
    assert rank_among_equals(labels).tolist() == expected
