"""COCO result entries and files."""

import json
import tracemalloc

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from tests.helpers.coco_scenes import BOXES, make_instances
from yolact_jax.results import coco_entries
from yolact_jax.results.instances import Instances


def test_entries_are_plain_json_and_masks_survive():
    instances = make_instances([(3, 5, 13, 25)], [0.5])
    more = instances.masks.copy()
    more[0, 40:60, 50:55] = True
    instances = Instances(instances.boxes_px, instances.scores, instances.labels, more)
    boxes, masks = coco_entries.coco_results(instances, image_id=5, category_ids=[7])
    expected = {"image_id": 5, "category_id": 7, "score": 0.5}
    assert boxes == [expected | {"bbox": [3.0, 5.0, 10.0, 20.0]}]
    entry = json.loads(json.dumps(masks))[0]
    assert isinstance(entry["segmentation"]["counts"], str)
    decoded = coco_mask.decode(entry.pop("segmentation"))
    np.testing.assert_array_equal(decoded, instances.masks[0])
    assert entry == expected


def test_boxes_without_area_are_left_out_of_both_lists():
    boxes = [(3, 5, 3, 25), (3, 5, 9, 5), (9, 9, 12, 12)]
    results = coco_entries.coco_results(
        make_instances(boxes, [0.9, 0.8, 0.7]), image_id=1, category_ids=[7]
    )
    assert [len(entries) for entries in results] == [1, 1]
    assert results[0][0]["score"] == pytest.approx(0.7)


def test_rescored_masks_have_their_own_score():
    instances = make_instances(BOXES[:2], [0.9, 0.8])
    boxes, masks = coco_entries.coco_results(
        instances, image_id=1, category_ids=[7], mask_scores=np.array([0.25, 0.5])
    )
    assert [entry["score"] for entry in boxes] == pytest.approx([0.9, 0.8])
    assert [entry["score"] for entry in masks] == [0.25, 0.5]


def test_write_results_replaces_whole_files(tmp_path):
    instances = make_instances(BOXES, [0.9, 0.8, 0.7])
    results = coco_entries.coco_results(instances, image_id=1, category_ids=[7])
    folder = tmp_path / "new" / "folder"
    coco_entries.write_results(folder, [{"score": 1.0}] * 50, [])
    paths = coco_entries.write_results(folder, *results)
    assert [path.name for path in paths] == [
        "bbox_detections.json",
        "mask_detections.json",
    ]
    assert tuple(json.loads(path.read_text()) for path in paths) == results
    assert sorted(folder.iterdir()) == sorted(paths)


def test_results_written_as_they_come_are_the_same_and_need_no_memory(tmp_path):
    def found(count):
        for number in range(count):
            yield number, make_instances(BOXES, [0.9, 0.8, 0.01 * (number % 90)])

    def peak(count):
        tracemalloc.start()
        coco_entries.stream_results(tmp_path / "a", found(count), category_ids=[7])
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    few, many = peak(20), peak(200)
    assert many < few + 20_000
    results = coco_entries.collect_results(found(200), category_ids=[7])
    paths = coco_entries.write_results(tmp_path / "b", *results)
    for path in paths:
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()


def test_reader_of_the_old_file_is_not_disturbed(tmp_path):
    old_path, _ = coco_entries.write_results(tmp_path, [{"score": 1.0}], [])
    with old_path.open() as old:
        coco_entries.write_results(tmp_path, [{"score": 0.5}], [])
        assert json.load(old) == [{"score": 1.0}]


def test_failed_write_keeps_the_old_file(tmp_path):
    coco_entries.write_results(tmp_path, [{"score": 1.0}], [])
    with pytest.raises(ValueError, match="JSON"):
        coco_entries.write_results(tmp_path, [{"score": float("nan")}], [])
    text = (tmp_path / "bbox_detections.json").read_text()
    assert json.loads(text) == [{"score": 1.0}]
    assert len(list(tmp_path.iterdir())) == 2


def test_label_without_category_is_named():
    with pytest.raises(ValueError, match="label 2 of image 4"):
        coco_entries.coco_results(
            make_instances(BOXES[:1], [0.9], [2]), image_id=4, category_ids=[7, 8]
        )
