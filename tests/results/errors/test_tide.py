"""Every kind of error on hand-made scenes whose answer is known, and the identity."""

import numpy as np
import pytest

from tests.helpers.coco_scenes import BOXES, make_annotation, make_truth
from tests.helpers.error_scenes import CATEGORIES, random_dataset, result
from tests.results.errors.test_matches import evaluated
from yolact_jax.results.errors import tide
from yolact_jax.results.errors.matches import match
from yolact_jax.results.errors.scenes import make_scenes


def find_errors(truth, results, kind):
    scenes = make_scenes(truth, results, kind)
    return tide.find_errors(scenes, match(scenes, 3, max_detections=100))


BIG = (20, 20, 150, 150)
FAR = (0, 0, 14, 12)
NEAR = (20, 20, 150, 65)  # IoU 45 / 130 with BIG


def errors_of(boxes, found, kind="box"):
    """Errors of (box, score, category) among (box, category) objects."""
    truth = make_truth(
        [make_annotation(box, category_id=c) for box, c in boxes],
        categories=CATEGORIES,
    )
    results = [result(box, score, category_id=c) for box, score, c in found]
    entries = [pair[("box", "mask").index(kind)] for pair in results]
    return find_errors(truth, entries, kind)


@pytest.mark.parametrize("kind", ["box", "mask"])
@pytest.mark.parametrize(
    ("found", "expected", "missed"),
    [
        ([(BIG, 0.9, 7)], ["hit"], 0),
        ([(BIG, 0.9, 3)], ["classification"], 0),
        ([(NEAR, 0.9, 7)], ["localization"], 0),
        ([(NEAR, 0.9, 3)], ["both"], 1),
        ([(BIG, 0.9, 7), (BIG, 0.8, 7)], ["hit", "duplicate"], 0),
        ([(FAR, 0.9, 7)], ["background"], 1),
        ([], [], 1),
    ],
)
def test_kinds(kind, found, expected, missed):
    errors = errors_of([(BIG, 7)], found, kind)
    assert errors.kinds.tolist() == expected
    assert errors.missed.sum() == missed


@pytest.mark.parametrize(
    ("found", "gains"),
    [
        # One object, found: correcting errors behind it gains nothing.
        ([(BIG, 0.9, 7), (FAR, 0.1, 7)], {}),
        # A wrong one before it halves the precision.
        ([(FAR, 0.9, 7), (BIG, 0.1, 7)], {"background": 0.5}),
        ([(NEAR, 0.9, 7)], {"localization": 1.0}),
        ([(BIG, 0.9, 3)], {"classification": 1.0}),
        # Corrected, it would find an object that is found: it is removed.
        ([(NEAR, 0.9, 7), (BIG, 0.8, 7)], {"localization": 0.5}),
        ([], {"missed": 1.0}),
        # Not asked for, the object leaves a wrong detection behind: still 0.
        ([(FAR, 0.9, 7)], {}),
    ],
)
def test_gains_of_one_object(found, gains):
    table = tide.budget(errors_of([(BIG, 7)], found))
    alone = {k: row["alone"] for k, row in table.items() if row["alone"]}
    assert alone == pytest.approx(gains)


def test_only_the_best_of_several_corrections_finds_the_object():
    found = [(NEAR, 0.9, 7), (NEAR, 0.8, 7), (BIG, 0.7, 3)]
    errors = errors_of([(BIG, 7)], found)
    assert errors.kinds.tolist().count("localization") == 2
    assert tide.precision_without(errors, ["localization"]) == pytest.approx(1.0)


def test_detections_on_crowds_are_no_errors():
    crowd = make_annotation(BIG, crowd=1, category_id=7)
    truth = make_truth([crowd, make_annotation(FAR)], categories=CATEGORIES)
    boxes = [result(box, 0.9)[0] for box in (BIG, BOXES[1], FAR)]
    errors = find_errors(truth, boxes, "box")
    assert sorted(errors.kinds) == ["hit", "ignored", "ignored"]
    assert not errors.missed.any()


@pytest.mark.parametrize("kind", ["box", "mask"])
@pytest.mark.parametrize("seed", range(4))
def test_correcting_everything_gives_one_and_the_gains_add_up(seed, kind):
    truth, boxes, masks = random_dataset(seed)
    results = boxes if kind == "box" else masks
    errors = find_errors(truth, results, kind)
    base = tide.precision_without(errors, ())
    theirs = evaluated(truth, results, kind).eval["precision"][0, ..., 0, 0]
    assert base == pytest.approx(theirs[theirs > -1].mean())
    assert tide.precision_without(errors, tide.KINDS) == 1.0
    table = tide.budget(errors)
    total = sum(row["in_turn"] for row in table.values())
    assert total == pytest.approx(1 - base)
    assert sum(row["count"] > 0 for row in table.values()) >= 3
    # Removing or correcting what is wrong never costs AP.
    assert all(row["alone"] >= -1e-12 for row in table.values())
    assert len(errors.kinds) == len(results)


def test_no_objects_and_no_detections():
    assert np.isnan(tide.precision_without(errors_of([], []), ()))
    table = tide.budget(errors_of([], [(BIG, 0.5, 3)]))
    assert table["background"]["count"] == 1
