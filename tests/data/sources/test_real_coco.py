"""Real annotations survive the records; set YOLACT_JAX_COCO_DIR to a COCO folder.

The folder has `annotations/instances_val2017.json` and `val2017`, or the same for
`train2017`; a subset will do.
"""

import json
import os
import pathlib

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from yolact_jax.data.records.dataset import coco_ground_truth
from yolact_jax.data.sources.coco_builder import prepare_coco

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["val2017", "train2017"])
def original_and_rebuilt(request, tmp_path_factory):
    folder = pathlib.Path(os.environ.get("YOLACT_JAX_COCO_DIR", "missing"))
    file = folder / "annotations" / f"instances_{request.param}.json"
    if not file.is_file():
        pytest.skip(f"needs {file}: set YOLACT_JAX_COCO_DIR")
    dataset = prepare_coco(
        data_dir=tmp_path_factory.mktemp("records"),
        train_annotations=None,
        train_images=None,
        validation_annotations=file,
        validation_images=folder / request.param,
    )
    rebuilt = coco_ground_truth(dataset.source("validation"))
    return json.loads(file.read_bytes()), rebuilt


def by_id(entries):
    return {entry["id"]: entry for entry in entries}


def test_ids_boxes_areas_and_crowds_are_rebuilt(original_and_rebuilt):
    original, rebuilt = original_and_rebuilt
    expected, found = (by_id(part["annotations"]) for part in original_and_rebuilt)
    assert found.keys() == expected.keys()
    for annotation_id, entry in expected.items():
        kept = {name: entry[name] for name in found[annotation_id]}
        assert found[annotation_id] == kept
    names = ("id", "file_name", "height", "width")
    assert rebuilt["images"] == [
        {name: entry[name] for name in names} for entry in original["images"]
    ]
    assert [c["id"] for c in rebuilt["categories"]] == sorted(
        c["id"] for c in original["categories"]
    )


def test_masks_are_rebuilt_pixel_by_pixel(original_and_rebuilt):
    original, rebuilt = original_and_rebuilt
    sizes = {entry["id"]: entry for entry in original["images"]}
    found = by_id(rebuilt["annotations"])
    assert original["annotations"]
    for entry in original["annotations"][:2000]:
        size = [sizes[entry["image_id"]][side] for side in ("height", "width")]
        expected = decoded(entry["segmentation"], size)
        again = decoded(found[entry["id"]]["segmentation"], size)
        np.testing.assert_array_equal(again, expected)


def decoded(segmentation, size):
    if isinstance(segmentation, list) or isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, *size)
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(segmentation)
    return coco_mask.decode(segmentation)
