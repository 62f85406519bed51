import copy
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import simplejpeg
from PIL import Image
from pycocotools import mask as coco_mask

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.records.dataset import coco_ground_truth, open_dataset
from yolact_jax.data.sources import coco_builder
from yolact_jax.data.sources.coco_builder import prepare_coco


@pytest.fixture
def dataset(coco, tmp_path):
    return prepare_coco(data_dir=tmp_path / "records", **coco.arguments())


def folders(tmp_path):
    """All that is left under the data folder."""
    return sorted(path.name for path in (tmp_path / "records").rglob("*"))


def decoded(entry, height=40, width=60):
    segmentation = entry["segmentation"]
    if isinstance(segmentation, list) or isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, height, width)
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(segmentation)
    return coco_mask.decode(segmentation)


def test_json_is_rebuilt_exactly(coco, dataset):
    rebuilt = coco_ground_truth(dataset.source("train"))

    def by_id(entry):
        return entry["id"]

    original = copy.deepcopy(coco.content)
    assert sorted(rebuilt["annotations"], key=by_id) == sorted(
        original["annotations"], key=by_id
    )
    assert rebuilt["images"] == original["images"]
    assert rebuilt["categories"] == sorted(original["categories"], key=by_id)
    # Areas and boxes as they were, to the last bit.
    assert rebuilt["annotations"][2]["area"] == 293.0123456789


def test_masks_survive_through_pycocotools(coco, dataset):
    rebuilt = coco_ground_truth(dataset.source("validation"))["annotations"]
    original = {entry["id"]: entry for entry in coco.content["annotations"]}
    for entry in rebuilt:
        np.testing.assert_array_equal(decoded(entry), decoded(original[entry["id"]]))
    assert sum(decoded(entry).sum() > 0 for entry in rebuilt) == 5


def test_examples_hold_what_the_json_said(dataset, coco):
    assert dataset.class_names == ("car", "dog")
    assert dataset.category_ids == (3, 18)
    assert dataset.splits == ("train", "validation")
    source = dataset.source("train")
    assert len(source) == 3
    nine, seven, empty = source
    assert (seven.image_id, seven.file_name) == (7, "seven.jpg")
    assert (seven.height, seven.width) == (40, 60)
    annotations = seven.annotations
    assert annotations.ids.tolist() == [11, 900, 14, 15]
    assert annotations.labels.tolist() == [1, 0, 0, 1]
    assert annotations.labels.dtype == np.int32
    np.testing.assert_allclose(annotations.boxes_px[0], [5.5, 5.25, 25.2, 21.0])
    assert annotations.boxes_px.dtype == np.float64
    assert nine.annotations.crowd.tolist() == [False, True]
    assert len(empty.annotations) == 0
    assert seven.image_bytes == (coco.images / "seven.jpg").read_bytes()
    expected = simplejpeg.decode_jpeg(seven.image_bytes)
    np.testing.assert_array_equal(seven.image, expected)


def test_objects_to_train_on_are_counted_without_crowds_and_empty_boxes(dataset):
    assert dataset.source("train").num_objects.tolist() == [1, 3, 0]


def test_source_can_be_pickled_after_reading(dataset):
    source = dataset.source("train")
    assert source[1].image_id == 7
    copied = pickle.loads(pickle.dumps(source))
    assert [example.image_id for example in copied] == [9, 7, 300]


@pytest.mark.parametrize("index", [-1, 3])
def test_index_out_of_range_is_an_error(dataset, index):
    with pytest.raises(IndexError, match=rf"index {index} is not in 0\.\.2"):
        dataset.source("train")[index]


def test_second_preparation_reuses_the_records(coco, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(coco_builder.coco_json, "read_coco", None)
    again = prepare_coco(data_dir=tmp_path / "records", **coco.arguments())
    assert again == dataset
    assert open_dataset(dataset.directory) == dataset


def test_changed_json_never_reuses_old_records(coco, dataset, tmp_path):
    coco.content["annotations"][0]["bbox"][0] += 0.25
    coco.write()
    other = prepare_coco(data_dir=tmp_path / "records", **coco.arguments())
    assert other.fingerprint != dataset.fingerprint
    assert other.directory != dataset.directory
    boxes = other.source("train")[1].annotations.boxes_xywh_px
    assert boxes[0, 0] == 5.75


def test_a_moved_dataset_is_the_same_and_keeps_its_records(coco, dataset, tmp_path):
    moved = coco.root.rename(tmp_path / "moved")
    arguments = {
        name: moved / path.relative_to(coco.root)
        for name, path in coco.arguments().items()
    }
    assert prepare_coco(data_dir=tmp_path / "records", **arguments) == dataset


def test_a_copied_dataset_has_the_same_annotations(coco, dataset, tmp_path):
    copied = tmp_path / "copied"
    copied.mkdir()
    for path in coco.images.iterdir():
        (copied / path.name).write_bytes(path.read_bytes())
        os.utime(copied / path.name, (1, 1))
    arguments = {**coco.arguments(), "train_images": copied}
    other = prepare_coco(data_dir=tmp_path / "records", **arguments)
    assert other.fingerprint == dataset.fingerprint
    assert other.directory != dataset.directory


@pytest.mark.parametrize(
    "name", ["nine.jpg", "sub/nine.jpg", "sub\\nine.jpg", "nüün.jpg"]
)
def test_a_replaced_image_is_prepared_anew(coco, tmp_path, name):
    path = coco.images / name.replace("\\", "/")
    path.parent.mkdir(exist_ok=True)
    (coco.images / "nine.jpg").rename(path)
    coco.content["images"][0]["file_name"] = name
    coco.write()
    first = prepare_coco(data_dir=tmp_path / "records", **coco.arguments())
    white = np.full((40, 60, 3), 255, np.uint8)
    path.write_bytes(simplejpeg.encode_jpeg(white))
    second = prepare_coco(data_dir=tmp_path / "records", **coco.arguments())
    assert second.source("train")[0].image.min() == 255
    assert second.source("train").num_objects.tolist() == [1, 3, 0]
    assert second.fingerprint == first.fingerprint


def test_an_image_that_comes_back_comes_in_again(coco, tmp_path, capsys):
    arguments = {"data_dir": tmp_path / "records", **coco.arguments(), "skip_bad": True}
    data = (coco.images / "nine.jpg").read_bytes()
    (coco.images / "nine.jpg").unlink()
    for _ in range(2):
        assert len(prepare_coco(**arguments).source("train")) == 2
        told = capsys.readouterr().err
        assert "left out 2 bad annotations or images" in told
        assert "metadata.json" in told
    (coco.images / "nine.jpg").write_bytes(data)
    assert len(prepare_coco(**arguments).source("train")) == 3
    assert "left out" not in capsys.readouterr().err


def test_a_pipe_is_not_read(coco, tmp_path):
    (coco.images / "nine.jpg").unlink()
    os.mkfifo(coco.images / "nine.jpg")
    with pytest.raises(DatasetError, match=r"nine\.jpg: is not a file"):
        prepare_coco(data_dir=tmp_path / "records", **coco.arguments())


def test_boxes_as_corners_and_many_crowds_are_told(coco, tmp_path, capsys):
    for entry in coco.content["annotations"]:
        x, y, width, height = entry["bbox"]
        entry["bbox"] = [x, y, x + width, y + height]
        entry["iscrowd"] = int(entry["id"] != 11)
    coco.write()
    for _ in range(2):
        found = prepare_coco(data_dir=tmp_path / "records", **coco.arguments())
        told = capsys.readouterr().err.splitlines()
        assert told == [f"warning: {text}" for text in found.warnings]
        assert "train: 5 of 6 annotations are crowds (iscrowd 1)" in told[0]
        assert "train: 4 of 6 annotations have a `bbox`" in told[1]
        assert "4 of these would agree as corners" in told[1]


def test_a_sound_dataset_gives_no_warning(dataset, capsys):
    assert dataset.warnings == ()
    assert capsys.readouterr().err == ""


def test_damaged_images_are_all_named_and_nothing_is_left(coco, tmp_path):
    validation = type(coco)(tmp_path / "other").write()
    damaged = [coco.images / "nine.jpg", coco.images / "empty.jpg"]
    damaged.append(validation.images / "seven.jpg")
    for path in damaged:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
    arguments = {
        **coco.arguments(),
        "validation_annotations": validation.file,
        "validation_images": validation.images,
    }
    with pytest.raises(DatasetError) as caught:
        prepare_coco(data_dir=tmp_path / "records", **arguments)
    assert len(caught.value.problems) == 3
    for path, problem in zip(damaged, caught.value.problems, strict=True):
        assert f"{path}: the JPEG file is damaged or truncated" in problem
    assert folders(tmp_path) == []


def test_bad_entries_and_bad_images_are_told_together(coco, tmp_path):
    (coco.images / "nine.jpg").write_bytes(b"nothing")
    coco.content["annotations"][0]["area"] = -1
    coco.content["annotations"][1]["segmentation"] = [[1, 2]]
    coco.write()
    arguments = {**coco.arguments(), "train_annotations": None, "train_images": None}
    with pytest.raises(DatasetError) as caught:
        prepare_coco(data_dir=tmp_path / "records", **arguments)
    first, second, third = caught.value.problems
    assert "annotation 11 has `area` -1" in first
    assert "annotation 900 of image 7 has a polygon" in second
    assert "nine.jpg: the file is not an image" in third
    assert folders(tmp_path) == []


def test_image_of_another_size_than_stated_is_named(coco, tmp_path):
    wrong = np.zeros((41, 60, 3), np.uint8)
    (coco.images / "nine.jpg").write_bytes(simplejpeg.encode_jpeg(wrong))
    with pytest.raises(DatasetError, match=r"nine\.jpg: .* 41 x 60 .* state 40 x 60"):
        prepare_coco(data_dir=tmp_path / "records", **coco.arguments())


def oriented_square(folder, orientation):
    """A square photo with a red object, upper left when it is shown upright."""
    upright = np.full((48, 48, 3), 40, np.uint8)
    upright[4:20, 4:24] = (250, 60, 60)
    # What is stored is what the inverse of the turning makes of it.
    store = {
        1: lambda image: image,
        2: np.fliplr,
        3: lambda image: np.rot90(image, 2),
        4: np.flipud,
        6: lambda image: np.rot90(image, 1),
        8: lambda image: np.rot90(image, -1),
    }[orientation]
    stored = np.ascontiguousarray(store(upright))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(folder / "photo.jpg", quality=95, exif=exif)


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 6, 8])
def test_outline_of_the_upright_photo_is_on_its_object(
    tmp_path, orientation, told, capsys
):
    (tmp_path / "img").mkdir()
    oriented_square(tmp_path / "img", orientation)
    outline = [4, 4, 24, 4, 24, 20, 4, 20]
    content = {
        "images": [{"id": 1, "file_name": "photo.jpg", "height": 48, "width": 48}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [4, 4, 20, 16],
                "area": 320,
                "iscrowd": 0,
                "segmentation": [outline],
            }
        ],
        "categories": [{"id": 1, "name": "red"}],
    }
    if told:
        content["images"][0]["exif_orientation_applied"] = True
    (tmp_path / "t.json").write_text(json.dumps(content))
    found = prepare_coco(
        data_dir=tmp_path / "records",
        train_annotations=tmp_path / "t.json",
        train_images=tmp_path / "img",
        validation_annotations=None,
        validation_images=None,
    )
    (example,) = found.source("train")
    red = example.image[..., 0] > 150
    mask = np.zeros((48, 48), bool)
    mask[4:20, 4:24] = True
    assert (mask & red).sum() / (mask | red).sum() > 0.9
    warned = "1 images have an EXIF orientation" in capsys.readouterr().err
    assert warned == (orientation != 1 and not told)


def test_annotations_of_stored_pixels_leave_them_as_stored(coco, tmp_path):
    """The same photo, for a json file that says so."""
    oriented_square(coco.images, 3)
    coco.content["images"].append(
        {
            "id": 1,
            "file_name": "photo.jpg",
            "height": 48,
            "width": 48,
            "exif_orientation_applied": False,
        }
    )
    coco.write()
    found = prepare_coco(data_dir=tmp_path / "records", **coco.arguments())
    image = found.source("train")[3].image
    assert (image[30:44, 26:44, 0] > 150).all()


def test_orientation_field_of_another_type_is_named(coco, tmp_path):
    coco.content["images"][1]["exif_orientation_applied"] = "yes"
    coco.write()
    with pytest.raises(DatasetError, match=r"`exif_orientation_applied` 'yes', not"):
        prepare_coco(data_dir=tmp_path / "records", **coco.arguments())


def test_skip_bad_leaves_out_images_and_annotations(coco, tmp_path):
    (coco.images / "nine.jpg").write_bytes(b"nothing")
    coco.content["annotations"][0]["area"] = -1
    coco.write()
    found = prepare_coco(
        data_dir=tmp_path / "records", **coco.arguments(), skip_bad=True
    )
    source = found.source("train")
    assert [example.image_id for example in source] == [7, 300]
    assert source[0].annotations.ids.tolist() == [900, 14, 15]
    assert source.num_objects.tolist() == [2, 0]
    named = "\n".join(found.skipped)
    assert "annotation 11 " in named
    assert "nine.jpg" in named
    with pytest.raises(DatasetError):
        prepare_coco(data_dir=tmp_path / "records", **coco.arguments())


def test_all_images_damaged_is_an_error_even_with_skip_bad(coco, tmp_path):
    for entry in coco.content["images"]:
        (coco.images / entry["file_name"]).write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"nine\.jpg"):
        prepare_coco(data_dir=tmp_path / "records", **coco.arguments(), skip_bad=True)
    assert folders(tmp_path) == []


def test_another_process_may_finish_first(coco, tmp_path, monkeypatch):
    arguments = {"data_dir": tmp_path / "records", **coco.arguments()}
    checked_image = coco_builder._checked_image

    def overtaken(*image):
        monkeypatch.setattr(coco_builder, "_checked_image", checked_image)
        prepare_coco(**arguments)
        return checked_image(*image)

    monkeypatch.setattr(coco_builder, "_checked_image", overtaken)
    found = prepare_coco(**arguments)
    assert len(found.source("train")) == 3
    assert not [name for name in folders(tmp_path) if "incomplete" in name]


def test_relative_data_folder_stays_valid_elsewhere(coco, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = prepare_coco(data_dir="records", **coco.arguments()).source("train")
    monkeypatch.chdir("/")
    assert source[0].image_id == 9


def test_problems_of_both_splits_are_told_together(coco, tmp_path):
    arguments = {
        **coco.arguments(),
        "train_annotations": tmp_path / "one.json",
        "validation_images": tmp_path / "two",
    }
    with pytest.raises(DatasetError) as caught:
        prepare_coco(data_dir=tmp_path / "records", **arguments)
    assert "one.json does not exist" in caught.value.problems[0]
    assert "two does not exist" in caught.value.problems[1]


def test_splits_with_different_classes_are_refused(coco, tmp_path):
    validation = type(coco)(tmp_path / "other")
    validation.content["categories"][0]["name"] = "cat"
    validation.write()
    arguments = {
        **coco.arguments(),
        "validation_annotations": validation.file,
        "validation_images": validation.images,
    }
    with pytest.raises(DatasetError, match=r"differ in `categories`.*cat.*dog"):
        prepare_coco(data_dir=tmp_path / "records", **arguments)


def test_one_split_alone_can_be_prepared(coco, tmp_path):
    arguments = {
        **coco.arguments(),
        "train_annotations": None,
        "train_images": None,
    }
    found = prepare_coco(data_dir=tmp_path / "records", **arguments)
    assert found.splits == ("validation",)
    with pytest.raises(DatasetError, match="has no split 'train'; it has 'validation'"):
        found.source("train")


@pytest.mark.parametrize("missing", ["train_annotations", "train_images"])
def test_half_a_split_is_refused(coco, tmp_path, missing):
    arguments = {**coco.arguments(), missing: None}
    with pytest.raises(DatasetError, match=f"`{missing}` is missing"):
        prepare_coco(data_dir=tmp_path / "records", **arguments)


def test_no_split_is_refused(tmp_path):
    nothing = dict.fromkeys(
        (
            "train_annotations",
            "train_images",
            "validation_annotations",
            "validation_images",
        )
    )
    with pytest.raises(DatasetError, match="No dataset was given"):
        prepare_coco(data_dir=tmp_path / "records", **nothing)


def test_preparing_and_reading_needs_neither_tensorflow_nor_jax(coco, tmp_path):
    code = f"""
import sys
from yolact_jax.data.sources.coco_builder import prepare_coco
dataset = prepare_coco(
    data_dir={str(tmp_path / "records")!r},
    train_annotations={str(coco.file)!r},
    train_images={str(coco.images)!r},
    validation_annotations=None,
    validation_images=None,
)
print([example.image.shape for example in dataset.source("train")])
print([name for name in ("tensorflow", "jax") if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("(40, 60, 3)") == 3
    assert run.stdout.endswith("\n[]\n")
    assert "Downloading" not in run.stdout + run.stderr
    assert "WARNING" not in run.stderr
