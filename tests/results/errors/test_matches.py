"""Matches and AP against pycocotools; bootstrap weights against repeated images."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.helpers.coco_scenes import make_annotation, make_truth
from tests.helpers.error_scenes import random_dataset, result
from yolact_jax.results.errors import images, precision
from yolact_jax.results.errors.matches import SIZES, match
from yolact_jax.results.errors.scenes import make_scenes


def evaluated(truth, results, kind, max_detections=100):
    """pycocotools' own evaluation, without any code of ours."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        numbered = [a | {"id": i} for i, a in enumerate(truth["annotations"], 1)]
        coco.dataset = truth | {"annotations": numbered}
        coco.createIndex()
        found = coco.loadRes([dict(r) for r in results])
        evaluator = COCOeval(coco, found, "segm" if kind == "mask" else "bbox")
        evaluator.params.maxDets = [max_detections]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def ours(truth, results, kind, max_detections=100):
    scenes = make_scenes(truth, results, kind)
    return match(scenes, len(truth["categories"]), max_detections=max_detections)


@pytest.mark.parametrize("kind", ["box", "mask"])
@pytest.mark.parametrize("max_detections", [2, 100])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_pycocotools(seed, kind, max_detections):
    truth, boxes, masks = random_dataset(seed)
    results = boxes if kind == "box" else masks
    evaluator = evaluated(truth, results, kind, max_detections)
    matches = ours(truth, results, kind, max_detections)
    theirs = evaluator.eval["precision"][:, :, :, 0, 0]  # [T, R, C]
    by_class = precision.class_precision(matches)
    for label in range(3):
        expected = [row[row > -1].mean() for row in theirs[:, :, label]]
        np.testing.assert_allclose(by_class[label], expected, atol=1e-12)
    assert 0.05 < by_class.mean() < 0.95
    # Which detection takes which annotation, image by image.
    num_ids = 0
    for entry in evaluator.evalImgs:
        if entry is None or entry["aRng"] != [0, 1e10] or not entry["dtIds"]:
            continue
        rows = matches.image == entry["image_id"] - 1
        label = [3, 7, 9].index(entry["category_id"])
        rows = np.flatnonzero(rows & (matches.labels == label))
        hit = matches.hit[rows].T
        taken = np.where(entry["dtIgnore"], 0, entry["dtMatches"])
        np.testing.assert_array_equal(hit + 1, taken)
        num_ids += len(rows)
    assert num_ids == len(matches.image) > 20


def test_an_object_of_the_size_goes_before_a_better_one_of_another():
    near, exact = (0, 0, 20, 50), (0, 0, 22, 50)  # 1000 and 1100 square pixels
    truth = make_truth([make_annotation(near), make_annotation(exact)])
    found, _ = result(exact, 0.9)
    (scene,) = make_scenes(truth, [found], "box")
    hits = match([scene], 1, max_detections=9, areas=SIZES["s"]).hit[0]
    assert hits.tolist() == 9 * [0] + [-1]  # IoU 0.909
    theirs = evaluated(truth, [found], "box").eval["recall"][:, 0, 1, 0]
    assert theirs.tolist() == 9 * [1] + [0]


def test_weighted_images_equal_repeated_ones():
    truth, boxes, _ = random_dataset(5, num_images=6)
    weights = np.array([0, 1, 3, 2, 0, 1])
    repeated = {"categories": truth["categories"], "images": [], "annotations": []}
    results = []
    for image, count in zip(truth["images"], weights, strict=True):
        for copy in range(count):
            new = image["id"] + 100 * copy
            repeated["images"].append(image | {"id": new})
            for source, target in (
                (truth["annotations"], repeated["annotations"]),
                (boxes, results),
            ):
                target += [
                    entry | {"image_id": new}
                    for entry in source
                    if entry["image_id"] == image["id"]
                ]
    evaluator = evaluated(repeated, results, "box")
    matches = ours(truth, boxes, "box")
    by_class = precision.class_precision(matches, weights.astype(float))
    theirs = evaluator.eval["precision"][:, :, :, 0, 0]
    for label in range(3):
        known = theirs[:, :, label]
        expected = known[known > -1].mean() if (known > -1).any() else np.nan
        assert by_class[label].mean() == pytest.approx(expected, nan_ok=True)


def test_ap_by_crowding_is_that_of_the_images_alone():
    truth, boxes, _ = random_dataset(2)
    groups = images.by_crowding(ours(truth, boxes, "box"))
    objects = {image["id"]: 0 for image in truth["images"]}
    for annotation in truth["annotations"]:
        objects[annotation["image_id"]] += not annotation["iscrowd"]
    assert len(groups) > 2
    for group in groups:
        last = group["objects_to"] if group["objects_to"] > 0 else 10**9
        inside = {i for i, n in objects.items() if group["objects_from"] <= n <= last}
        part = {
            "categories": truth["categories"],
            "images": [i for i in truth["images"] if i["id"] in inside],
            "annotations": [a for a in truth["annotations"] if a["image_id"] in inside],
        }
        found = [b for b in boxes if b["image_id"] in inside]
        theirs = evaluated(part, found, "box").eval["precision"][..., 0, 0]
        assert group["AP"] == pytest.approx(theirs[theirs > -1].mean())
        assert group["images"] == len(inside)


def test_bootstrap_finds_a_better_model_and_no_difference_of_equals():
    truth, boxes, _ = random_dataset(4, num_images=20)
    perfect = [
        {k: a[k] for k in ("image_id", "category_id", "bbox")} | {"score": 1.0}
        for a in truth["annotations"]
        if not a["iscrowd"]
    ]
    first, second = (ours(truth, r, "box") for r in (boxes, perfect))
    same = images.bootstrap_differences(first, first, samples=20)
    assert all((same[name] == 0).all() for name in ("difference", "low", "high"))
    found = images.bootstrap_differences(first, second, samples=50)
    exact = precision.mean_precision(second).mean() - precision.mean_precision(first)
    assert found["difference"][-1] == pytest.approx(exact.mean())
    assert 0 < found["low"][-1] < found["difference"][-1] < found["high"][-1]
    with pytest.raises(ValueError, match="same"):
        images.bootstrap_differences(first, ours({**truth, "images": []}, [], "box"))
