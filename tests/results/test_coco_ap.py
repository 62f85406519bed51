"""AP by pycocotools against hand-made cases and a plain-loop oracle."""

import copy
import math
import sys

import numpy as np
import pytest

from tests.helpers.coco_scenes import (
    BOXES,
    make_annotation,
    make_instances,
    make_truth,
    random_scene,
    rectangle_mask,
)
from tests.helpers.error_scenes import random_dataset
from tests.reference import coco_ap
from yolact_jax.results import coco_ap as coco_ap_lib


def evaluate(truth, predictions, category_ids=(7,), **kwargs):
    results = coco_ap_lib.collect_results(predictions, category_ids=category_ids)
    return coco_ap_lib.evaluate_coco(truth, *results, **kwargs)


def test_perfect_predictions_have_ap_one_at_every_size():
    truth = make_truth([make_annotation(box) for box in BOXES])
    metrics = evaluate(truth, [(1, make_instances(BOXES, [0.9, 0.8, 0.7]))])
    assert set(metrics) == {
        f"{kind}_{name}"
        for kind in ("mask", "box")
        for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")
    }
    assert metrics == pytest.approx(dict.fromkeys(metrics, 1.0))


def test_first_annotation_with_id_zero_is_counted():
    truth = make_truth([make_annotation(BOXES[0])])
    assert truth["annotations"][0]["id"] == 0
    metrics = evaluate(truth, [(1, make_instances(BOXES[:1], [0.9]))])
    assert metrics["box_AP"] == pytest.approx(1.0)


def test_hit_miss_hit_of_three_objects():
    # Recall 1/3 at precision 1 for 34 of 101 recalls, 2/3 at 2/3 for 33: 56 / 101.
    truth = make_truth([make_annotation(box) for box in BOXES])
    boxes = [BOXES[1], (100, 0, 140, 10), BOXES[2]]
    metrics = evaluate(truth, [(1, make_instances(boxes, [0.9, 0.8, 0.7]))])
    expected = (34 * 1 + 33 * 2 / 3) / 101
    assert metrics["box_AP"] == pytest.approx(expected)
    assert metrics["mask_AP50"] == pytest.approx(expected)
    assert expected == pytest.approx(0.5544554)


def test_overlap_of_exactly_one_threshold_is_a_hit():
    # IoU 20 * 12 / 400 = 0.6: a hit at 0.50, 0.55 and 0.60, a miss at 0.65 and above.
    truth = make_truth([make_annotation((0, 0, 20, 20))])
    metrics = evaluate(truth, [(1, make_instances([(0, 0, 20, 12)], [0.9]))])
    assert metrics["box_AP"] == pytest.approx(0.3)
    assert (metrics["box_AP50"], metrics["box_AP75"]) == pytest.approx((1.0, 0.0))


def test_second_detection_of_an_object_is_a_miss():
    truth = make_truth([make_annotation(box) for box in BOXES[:2]])
    boxes = [BOXES[0], BOXES[0], BOXES[1]]
    metrics = evaluate(truth, [(1, make_instances(boxes, [0.9, 0.8, 0.7]))])
    assert metrics["box_AP"] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)


def test_detections_on_a_crowd_are_neither_hit_nor_miss():
    crowd = make_annotation((100, 100, 150, 150), crowd=1)
    truth = make_truth([make_annotation(BOXES[0]), crowd])
    boxes = [(105, 105, 115, 115), (120, 120, 140, 140), BOXES[0]]
    metrics = evaluate(truth, [(1, make_instances(boxes, [0.9, 0.8, 0.7]))])
    assert metrics["box_AP"] == pytest.approx(1.0)
    assert metrics["mask_AP"] == pytest.approx(1.0)


def test_no_detections_give_zero_and_absent_sizes_nan():
    truth = make_truth([make_annotation(BOXES[0])])
    metrics = coco_ap_lib.evaluate_coco(truth, [], [])
    assert metrics["mask_AP"] == metrics["box_AP"] == metrics["box_APs"] == 0.0
    assert math.isnan(metrics["mask_APm"])
    assert math.isnan(metrics["box_APl"])


def test_no_classes_give_nan():
    metrics = coco_ap_lib.evaluate_coco(make_truth([], categories=()), [], [])
    assert all(math.isnan(value) for value in metrics.values())


def test_no_ground_truth_gives_nan():
    metrics = evaluate(make_truth([]), [(1, make_instances(BOXES, [0.9, 0.8, 0.7]))])
    assert all(math.isnan(value) for value in metrics.values())


@pytest.mark.parametrize(("limit", "expected"), [(1, 0.0), (2, 51 / 101 / 2)])
def test_max_detections_counts_only_the_best(limit, expected):
    truth = make_truth([make_annotation(box) for box in BOXES[:2]])
    boxes = [(100, 0, 140, 10), BOXES[0], BOXES[1]]
    instances = make_instances(boxes, [0.9, 0.8, 0.7])
    metrics = evaluate(truth, [(1, instances)], max_detections=limit)
    assert metrics["box_AP"] == pytest.approx(expected)
    assert metrics["mask_AP"] == pytest.approx(expected)


def test_image_ids_restricts_the_evaluation():
    annotations = [make_annotation(BOXES[0], image_id=i) for i in (1, 2)]
    truth = make_truth(annotations, num_images=2)
    predictions = [(1, make_instances(BOXES[:1], [0.9]))]
    assert evaluate(truth, predictions)["box_AP"] == pytest.approx(51 / 101)
    only_first = evaluate(truth, predictions, image_ids=[1])
    assert only_first["box_AP"] == pytest.approx(1.0)


def test_per_class_ap_uses_category_ids_of_labels():
    categories = ((3, "dog"), (9, "cat"), (12, "cow"))
    annotations = [
        make_annotation(BOXES[0], category_id=9),
        make_annotation(BOXES[1], category_id=3),
    ]
    truth = make_truth(annotations, categories=categories)
    instances = make_instances([BOXES[0], BOXES[2]], [0.9, 0.8], [0, 1])
    metrics = evaluate(truth, [(1, instances)], (9, 3, 12), per_class=True)
    assert metrics["mask_AP/cat"] == pytest.approx(1.0)
    assert metrics["box_AP/dog"] == 0.0
    assert math.isnan(metrics["box_AP/cow"])
    assert metrics["box_AP"] == pytest.approx(0.5)
    table = coco_ap_lib.format_table(metrics)
    assert table.splitlines()[-1].split() == ["cow", "-", "-"]


def xywh(box):
    return (box[0], box[1], box[2] - box[0], box[3] - box[1])


def oracle_images(scenes, shape_of):
    def area(box):
        return (box[2] - box[0]) * (box[3] - box[1])

    return [
        (
            [(np.float32(s), shape_of(b), area(b)) for b, s in detections],
            [(shape_of(b), area(b), crowd) for b, crowd in truths],
        )
        for truths, detections in scenes
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("max_detections", [4, 100])
def test_agrees_with_plain_loops_on_random_scenes(seed, max_detections):
    generator = np.random.default_rng(seed)
    scenes = [random_scene(generator) for _ in range(14)]
    annotations = [
        make_annotation(box, image_id=i + 1, crowd=crowd)
        for i, (truths, _) in enumerate(scenes)
        for box, crowd in truths
    ]
    truth = make_truth(annotations, num_images=len(scenes))
    predictions = [
        (i + 1, make_instances([b for b, _ in found], [s for _, s in found]))
        for i, (_, found) in enumerate(scenes)
    ]
    metrics = evaluate(truth, predictions, max_detections=max_detections)
    shapes = {
        "box": (xywh, coco_ap.box_overlap),
        "mask": (rectangle_mask, coco_ap.mask_overlap),
    }
    for kind, (shape_of, overlap) in shapes.items():
        images = oracle_images(scenes, shape_of)
        for suffix in coco_ap.AREAS:
            expected = coco_ap.average_precision(
                images, overlap, area=suffix, max_detections=max_detections
            )
            assert 0.03 < expected < 0.97
            assert metrics[f"{kind}_AP{suffix}"] == pytest.approx(expected)
        for percent in (50, 75):
            expected = coco_ap.average_precision(
                images,
                overlap,
                thresholds=[percent / 100],
                max_detections=max_detections,
            )
            assert metrics[f"{kind}_AP{percent}"] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("max_detections", [3, 100])
def test_the_faster_evaluator_has_the_same_numbers(seed, max_detections):
    pytest.importorskip("faster_coco_eval")
    data = random_dataset(seed)
    options = {"per_class": True, "max_detections": max_detections}
    options["image_ids"] = [i["id"] for i in data[0]["images"][:-1]]
    expected = coco_ap_lib.evaluate_coco(*data, **options)
    found = coco_ap_lib.evaluate_coco(*data, evaluator="faster", **options)
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert 0.05 < expected["mask_AP"] < 0.95
    nothing = coco_ap_lib.evaluate_coco(data[0], [], [], evaluator="faster")
    assert nothing["mask_AP"] == 0.0


def test_an_evaluator_that_is_unknown_or_missing_is_named(monkeypatch):
    truth = make_truth([])
    with pytest.raises(ValueError, match="evaluator is 'slow'"):
        coco_ap_lib.evaluate_coco(truth, [], [], evaluator="slow")
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(ValueError, match=r"yolact_jax\[faster\]"):
        coco_ap_lib.evaluate_coco(truth, [], [], evaluator="faster")


def test_inputs_are_not_modified_and_nothing_is_printed(capsys):
    truth = make_truth([make_annotation(box) for box in BOXES])
    instances = make_instances(BOXES, [0.9, 0.8, 0.7])
    results = coco_ap_lib.coco_results(instances, image_id=1, category_ids=[7])
    before = copy.deepcopy((truth, results))
    coco_ap_lib.evaluate_coco(truth, *results)
    assert (truth, results) == before
    assert capsys.readouterr().out == ""


def test_missing_iscrowd_counts_as_no_crowd():
    truth = make_truth([make_annotation(BOXES[0])])
    del truth["annotations"][0]["iscrowd"]
    metrics = evaluate(truth, [(1, make_instances(BOXES[:1], [0.9]))])
    assert metrics["mask_AP"] == pytest.approx(1.0)


def test_table_shows_percent_and_dashes_for_nan():
    truth = make_truth([make_annotation(BOXES[0])])
    metrics = evaluate(truth, [(1, make_instances([(0, 0, 20, 12)], [0.9]))])
    assert coco_ap_lib.format_table(metrics).splitlines() == [
        "           AP   AP50   AP75    APs    APm    APl",
        "box     30.00 100.00   0.00  30.00      -      -",
        "mask    30.00 100.00   0.00  30.00      -      -",
    ]


def test_bad_input_is_named():
    truth = make_truth([make_annotation(BOXES[0])])
    entry = {"image_id": 1, "category_id": 7, "bbox": [0, 0, 2, 2], "score": 1.0}
    with pytest.raises(ValueError, match="image_id 99 of box result 1"):
        coco_ap_lib.evaluate_coco(truth, [entry, entry | {"image_id": 99}], [])
    with pytest.raises(ValueError, match="category_id 8 of box result 0"):
        coco_ap_lib.evaluate_coco(truth, [entry | {"category_id": 8}], [])
    with pytest.raises(ValueError, match="max_detections is 0"):
        coco_ap_lib.evaluate_coco(truth, [], [], max_detections=0)
    with pytest.raises(ValueError, match="image_ids has 5"):
        coco_ap_lib.evaluate_coco(truth, [], [], image_ids=[1, 5])
    truth["annotations"][0]["segmentation"] = []
    with pytest.raises(ValueError, match=r"annotation 0 .* 'segmentation'"):
        coco_ap_lib.evaluate_coco(truth, [], [])


@pytest.mark.parametrize(
    ("box", "column", "far"),
    [((20, 30, 160, 90), 2, 1e9), ((0, 30, 90, 90), 0, -(2**31)), (BOXES[1], 2, 90)],
)
def test_a_polygon_that_reaches_far_is_cut_at_the_image(box, column, far):
    """pycocotools would need 80 bytes for each pixel of its length."""
    truth = make_truth([make_annotation(box)])
    (polygon,) = truth["annotations"][0]["segmentation"]
    for place in {0: (0, 6), 2: (2, 4)}[column]:
        polygon[place] = far
    before = copy.deepcopy(truth)
    metrics = evaluate(truth, [(1, make_instances([box], [0.9]))])
    assert metrics["mask_AP"] == pytest.approx(1)
    assert truth == before


def test_a_polygon_of_no_numbers_is_refused():
    truth = make_truth([make_annotation((20, 30, 160, 90))])
    truth["annotations"][0]["segmentation"][0][0] = float("nan")
    with pytest.raises(ValueError, match="not a finite number"):
        evaluate(truth, [])
