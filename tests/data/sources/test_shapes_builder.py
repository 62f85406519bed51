import numpy as np
import pytest
from pycocotools import mask as coco_mask

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.records.dataset import coco_ground_truth
from yolact_jax.data.sources.shapes import CLASS_NAMES, draw_shapes
from yolact_jax.data.sources.shapes_builder import prepare_shapes


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return prepare_shapes(
        data_dir=tmp_path_factory.mktemp("shapes"),
        num_train=6,
        num_validation=3,
        image_size=64,
        seed=5,
    )


def test_records_hold_the_drawn_pictures(dataset):
    assert dataset.class_names == CLASS_NAMES
    source = dataset.source("train")
    assert len(source) == 6
    for index, example in enumerate(source):
        drawn = draw_shapes(5, index, image_size=64)
        error = np.abs(example.image.astype(int) - drawn.image)
        assert error.mean() < 2
        np.testing.assert_array_equal(example.annotations.boxes_px, drawn.boxes_px)
        np.testing.assert_array_equal(example.annotations.labels, drawn.labels)
    assert source.num_objects.tolist() == [
        len(draw_shapes(5, index, image_size=64).labels) for index in range(6)
    ]


def test_masks_survive_and_splits_share_no_picture(dataset):
    content = coco_ground_truth(dataset.source("validation"))
    assert [entry["id"] for entry in content["images"]] == [7, 8, 9]
    ids = [entry["id"] for entry in content["annotations"]]
    assert len(set(ids)) == len(ids)
    drawn = draw_shapes(5, 6, image_size=64)
    masks = [
        coco_mask.decode(entry["segmentation"])
        for entry in content["annotations"]
        if entry["image_id"] == 7
    ]
    np.testing.assert_array_equal(masks, drawn.masks)
    assert content["annotations"][0]["area"] == drawn.masks[0].sum()
    assert content["annotations"][0]["category_id"] == drawn.labels[0] + 1


def test_each_parameter_changes_the_fingerprint(dataset, tmp_path):
    same = {"num_train": 2, "num_validation": 1, "image_size": 32, "seed": 0}
    changes = ({}, {"num_train": 3}, {"image_size": 33}, {"seed": 1})
    found = {
        prepare_shapes(data_dir=tmp_path, **{**same, **change}).fingerprint
        for change in changes
    }
    assert len(found) == 4
    assert prepare_shapes(data_dir=tmp_path, **same).fingerprint in found


def test_bad_numbers_are_all_named(tmp_path):
    with pytest.raises(DatasetError) as caught:
        prepare_shapes(
            data_dir=tmp_path, num_train=0, num_validation=1, image_size=8, seed=-1
        )
    assert len(caught.value.problems) == 3
    assert "`num_train` is 0; it must be at least 1." in caught.value.problems
