"""Confusion matrix, calibration and best thresholds against loops and known answers."""

import numpy as np
import pytest

from tests.helpers.coco_scenes import BOXES, make_annotation, make_truth
from tests.helpers.error_scenes import CATEGORIES, random_dataset, result
from yolact_jax.results.errors.confusion import confusion_matrix
from yolact_jax.results.errors.matches import match
from yolact_jax.results.errors.scenes import make_scenes
from yolact_jax.results.errors.scores import best_thresholds, calibration


def scenes_of(truths, found):
    truth = make_truth(
        [make_annotation(b, category_id=c, crowd=k) for b, c, k in truths],
        categories=CATEGORIES,
    )
    boxes = [result(b, s, category_id=c)[0] for b, s, c in found]
    return make_scenes(truth, boxes, "box")


def test_confusion_of_a_hand_made_scene():
    truths = [(BOXES[0], 3, 0), (BOXES[1], 7, 0), ((100, 0, 150, 30), 9, 1)]
    found = [
        (BOXES[0], 0.9, 7),  # A dog taken for a cat.
        (BOXES[1], 0.8, 7),  # A cat.
        (BOXES[1], 0.7, 9),  # A cow where a cat is found already.
        (BOXES[0], 0.1, 3),  # Below the threshold.
        ((100, 0, 150, 30), 0.9, 9),  # On a crowd.
    ]
    matrix = confusion_matrix(scenes_of(truths, found), 3)
    expected = np.zeros((4, 4), int)
    expected[0, 1] = expected[1, 1] = expected[3, 2] = 1
    np.testing.assert_array_equal(matrix, expected)
    # With nothing found, every object but the crowd is missed.
    matrix = confusion_matrix(scenes_of(truths, []), 3)
    assert matrix[:, 3].tolist() == [1, 1, 0, 0]
    assert matrix.sum() == 2


@pytest.mark.parametrize("seed", range(3))
def test_scores_agree_with_loops(seed):
    truth, boxes, _ = random_dataset(seed)
    matches = match(make_scenes(truth, boxes, "box"), 3, max_detections=100)
    right = [
        (float(s), bool(h >= 0))
        for s, h, i in zip(
            matches.scores, matches.hit[:, 0], matches.ignored[:, 0], strict=True
        )
        if not i
    ]
    found = calibration(matches)
    gap = 0.0
    for number in range(10):
        inside = [r for r in right if number / 10 <= r[0] < (number + 1) / 10]
        assert found.count[number] == len(inside)
        if inside:
            score = sum(s for s, _ in inside) / len(inside)
            share = sum(h for _, h in inside) / len(inside)
            assert found.score[number] == pytest.approx(score)
            assert found.precision[number] == pytest.approx(share)
            gap += len(inside) / len(right) * abs(score - share)
    assert found.error == pytest.approx(gap)
    for label, best in enumerate(best_thresholds(matches)):
        objects = int(((matches.truth_labels == label) & ~matches.crowd).sum())
        of_class = [
            (s, h >= 0)
            for s, h, lab, i in zip(
                matches.scores,
                matches.hit[:, 0],
                matches.labels,
                matches.ignored[:, 0],
                strict=True,
            )
            if lab == label and not i
        ]
        f1 = {
            t: 2
            * sum(h for s, h in of_class if s >= t)
            / (sum(s >= t for s, _ in of_class) + objects)
            for t, _ in of_class
        }
        assert best.f1 == pytest.approx(max(f1.values()))
        assert f1[best.threshold] == pytest.approx(best.f1)
        assert best.f1 == pytest.approx(
            2 * best.precision * best.recall / (best.precision + best.recall)
        )


def test_equal_scores_are_kept_together():
    truths = [(BOXES[0], 3, 0)]
    found = [(BOXES[0], 0.5, 3), (BOXES[1], 0.5, 3)]
    best = best_thresholds(match(scenes_of(truths, found), 3, max_detections=100))
    assert (best[0].precision, best[0].recall) == (0.5, 1.0)
    assert np.isnan(best[1].f1)
    nothing = best_thresholds(match(scenes_of(truths, []), 3, max_detections=100))
    assert nothing[0].f1 == 0.0
