"""Fast NMS on named layouts and against the loop oracle."""

import jax
import numpy as np
import pytest

from tests.helpers.transforms import assert_jit_and_vmap_agree
from tests.reference import nms as ref
from yolact_jax.ops.nms import per_class

DEFAULTS = {
    "score_threshold": 0.05,
    "iou_threshold": 0.5,
    "top_k": 200,
    "max_detections": 100,
}

jitted_nms = jax.jit(per_class.fast_nms, static_argnames=("top_k", "max_detections"))


def run(boxes, scores, **options):
    """Returns [(score, label, anchor)] of the valid slots, which must come first."""
    padding = ((0, -len(boxes) % 8), (0, 0))  # few shapes, to compile seldom
    boxes = np.pad(np.array(boxes, np.float32).reshape(-1, 4), padding)
    scores = np.pad(np.array(scores, np.float32), padding)
    kept = jitted_nms(boxes, scores, **(DEFAULTS | options))
    count = int(kept.valid.sum())
    assert kept.valid[:count].all()
    assert (kept.scores[count:] == 0).all()
    columns = (kept.scores, kept.labels, kept.anchor_index)
    return [*zip(*(np.asarray(c)[:count].tolist() for c in columns), strict=True)]


def anchors_kept(boxes, scores, **options):
    """The anchors kept of a single class."""
    kept = run(boxes, [[score] for score in scores], **options)
    return [anchor for _, _, anchor in kept]


def strip(start, width=8):
    """A box of height 1 along the x axis, in sixty-fourths."""
    return (start / 64, 0, (start + width) / 64, 1)


def test_lower_scored_of_an_overlapping_pair_is_dropped():
    assert anchors_kept([strip(0), strip(1)], [0.6, 0.9]) == [1]


def test_boxes_apart_are_kept_in_order_of_score():
    boxes = [strip(0), strip(16), strip(32)]
    assert anchors_kept(boxes, [0.5, 0.9, 0.7]) == [1, 2, 0]


def test_overlap_of_exactly_the_threshold_is_kept():
    inner = strip(0, width=4)  # half of strip(0): IoU exactly 0.5
    assert anchors_kept([strip(0), inner], [0.9, 0.8]) == [0, 1]
    assert anchors_kept([strip(0), inner], [0.9, 0.8], iou_threshold=0.4999) == [0]


def test_suppressed_box_still_suppresses():
    # a and b overlap by 7/9, b and c by 5/11, but a and c only by 4/12.
    chain = [strip(0), strip(1), strip(4)]
    options = {"iou_threshold": 0.4}
    assert anchors_kept(chain, [0.9, 0.8, 0.7], **options) == [0]
    # Without b, c stays: only the suppressed b had stood in its way.
    assert anchors_kept([chain[0], chain[2]], [0.9, 0.7], **options) == [0, 1]


def test_identical_boxes_leave_the_best():
    assert anchors_kept([strip(3)] * 4, [0.3, 0.9, 0.5, 0.8]) == [1]


def test_equal_scores_keep_the_first_anchor():
    assert anchors_kept([strip(0), strip(1), strip(40)], [0.5] * 3) == [0, 2]


def test_equal_scores_of_two_classes_order_by_class():
    kept = run([strip(0), strip(16)], [[0.25, 0.5], [0.5, 0.25]])
    assert kept == [(0.5, 0, 1), (0.5, 1, 0), (0.25, 0, 0), (0.25, 1, 1)]


def test_zero_area_boxes_do_not_suppress_unless_the_same_point():
    point, line = (0.5, 0.5, 0.5, 0.5), (0.25, 0.5, 0.75, 0.5)
    boxes = [point, (0, 0, 1, 1), (0.75, 0.75, 0.75, 0.75)]
    assert anchors_kept([boxes[1], point], [0.9, 0.8]) == [0, 1]
    # The overlap of two boxes without area is nan, which counts as too much.
    assert anchors_kept([point, point], [0.9, 0.8]) == [0]
    assert anchors_kept([boxes[2], line], [0.9, 0.8]) == [0]


@pytest.mark.parametrize("others", [4, 100])
def test_the_same_point_twice_among_other_boxes(others):
    # XLA's maximum over many columns ignores nan on CPUs, and the point would stay.
    row = [(i / 256, 0, (i + 1) / 256, 1) for i in range(others)]
    point = (0.9, 0.5, 0.9, 0.5)
    kept = anchors_kept(
        [point, *row, point], [0.9, *[0.8] * others, 0.7], max_detections=200
    )
    assert kept == [*range(others + 1)]


def test_classes_do_not_suppress_each_other():
    kept = run([strip(0), strip(0)], [[0.5, 0.0], [0.25, 0.75]])
    assert kept == [(0.75, 1, 1), (0.5, 0, 0)]


def test_threshold_is_on_the_best_class_and_strict():
    boxes = [strip(0), strip(16), strip(32)]
    scores = [[0.25, 0.001], [0.5, 0.002], [0.125, 0.25]]
    kept = run(boxes, scores, score_threshold=0.25)
    # Anchor 1 alone passes; it stays in the race under its weak class too.
    assert [entry[1:] for entry in kept] == [(0, 1), (1, 1)]
    assert kept[1][0] == pytest.approx(0.002)


def test_anchors_below_the_threshold_do_not_suppress():
    boxes = [strip(0), strip(1)]
    kept = run(boxes, [[0.0, 0.25], [0.5, 0.125]], score_threshold=0.25)
    assert [entry[1:] for entry in kept] == [(0, 1), (1, 1)]


def test_top_k_counts_per_class_before_suppression():
    boxes = [strip(0), strip(1), strip(16), strip(32)]
    scores = [0.9, 0.8, 0.7, 0.6]
    assert anchors_kept(boxes, scores, top_k=2) == [0]
    assert anchors_kept(boxes, scores, top_k=3) == [0, 2]


def test_max_detections_cuts_the_weakest_of_all_classes():
    boxes = [strip(0), strip(16), strip(32)]
    scores = [[0.5, 0.1], [0.2, 0.6], [0.3, 0.4]]
    kept = run(boxes, scores, max_detections=3)
    assert [entry[1:] for entry in kept] == [(1, 1), (0, 0), (1, 2)]


def test_no_candidates_give_no_detections():
    boxes, scores = np.zeros((5, 4), np.float32), np.full((5, 3), 0.05, np.float32)
    kept = jitted_nms(boxes, scores, **DEFAULTS)
    assert kept.scores.shape == (100,)
    assert not kept.valid.any()
    assert (kept.scores == 0).all()


def random_case(seed, num_anchors=120, num_classes=4):
    """Clusters of boxes, few candidates among many weak anchors."""
    generator = np.random.default_rng(seed)
    centers = generator.uniform(0.2, 0.8, (8, 2))
    center = centers[generator.integers(0, 8, num_anchors)]
    center = center + generator.normal(0, 0.03, center.shape)
    size = generator.uniform(0.1, 0.3, (num_anchors, 2))
    boxes = np.concatenate([center - size / 2, center + size / 2], 1)
    scores = generator.dirichlet(np.full(num_classes + 1, 0.3), num_anchors)[:, 1:]
    scores[generator.random(num_anchors) < 0.4] *= 0.04
    return boxes.astype(np.float32), scores.astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 20},
        {"max_detections": 15},
        {"iou_threshold": 0.2, "score_threshold": 0.3},
        {"top_k": 1000, "max_detections": 1000},
    ],
    ids=str,
)
def test_agrees_with_loops(seed, options):
    boxes, scores = random_case(seed)
    options = DEFAULTS | options
    expected = ref.fast_nms(boxes, scores, **options)
    actual = run(boxes, scores, **options)
    assert 5 < len(expected) <= options["max_detections"]
    assert [entry[1:] for entry in actual] == [entry[1:] for entry in expected]
    np.testing.assert_allclose(
        [entry[0] for entry in actual], [entry[0] for entry in expected], rtol=1e-6
    )


def test_order_of_anchors_does_not_matter():
    boxes, scores = random_case(5)
    order = np.random.default_rng(0).permutation(len(boxes))
    expected = run(boxes, scores)
    shuffled = run(boxes[order], scores[order])
    assert [(s, label, order[i]) for s, label, i in shuffled] == expected


def test_weak_extra_anchors_do_not_matter():
    boxes, scores = random_case(6)
    extra_boxes = np.concatenate([boxes, boxes[:50]])
    extra_scores = np.concatenate([scores, np.full((50, 4), 0.05, np.float32)])
    assert run(extra_boxes, extra_scores) == run(boxes, scores)


def test_jit_and_vmap_change_nothing():
    cases = [random_case(seed, num_anchors=60) for seed in range(3)]
    cases.append((cases[0][0], np.zeros_like(cases[0][1])))
    boxes, scores = (np.stack(arrays) for arrays in zip(*cases, strict=True))
    assert_jit_and_vmap_agree(
        lambda b, s: per_class.fast_nms(b, s, **DEFAULTS), boxes, scores
    )


def test_thresholds_are_run_time_values():
    boxes, scores = random_case(7)
    traces = []

    @jax.jit
    def count(boxes, scores, score_threshold, iou_threshold):
        traces.append(1)
        options = {"score_threshold": score_threshold, "iou_threshold": iou_threshold}
        return per_class.fast_nms(boxes, scores, **(DEFAULTS | options)).valid.sum()

    counts = []
    for thresholds in ((0.05, 0.5), (0.5, 0.2)):
        counts.append(int(count(boxes, scores, *thresholds)))
        options = DEFAULTS | dict(
            zip(("score_threshold", "iou_threshold"), thresholds, strict=True)
        )
        expected = ref.fast_nms(boxes, scores, **options)
        assert counts[-1] == len(expected)
    assert counts[0] > counts[1]
    assert len(traces) == 1
