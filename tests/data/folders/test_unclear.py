"""Folders of real life whose parts, images or labels could be taken for others."""

import json
import os

import pytest

from tests.helpers.label_folders import SQUARE, shape
from tests.helpers.own_folders import (
    OPTIONS,
    SIZE,
    from_folder,
    labelme,
    picture,
    records,
    text,
    yolo,
)
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.folders.places import WHOLE
from yolact_jax.data.folders.prepare import Options, prepare_folder
from yolact_jax.data.folders.recognize import recognize
from yolact_jax.files import write_json
from yolact_jax.run.folder import save_run

SKIP_BAD = Options(OPTIONS.validation_fraction, OPTIONS.split_seed, skip_bad=True)


def coco(file, names, categories=None):
    box = {"iscrowd": 0, "bbox": [5, 5, 20, 20], "area": 400, "segmentation": [SQUARE]}
    numbered = list(enumerate(names, start=1))
    height, width = SIZE
    content = {
        "images": [
            {"id": i, "file_name": name, "height": height, "width": width}
            for i, name in numbered
        ],
        "annotations": [
            {**box, "id": i, "image_id": i, "category_id": 1} for i, _ in numbered
        ],
        "categories": categories or [{"id": 1, "name": "a"}],
    }
    square = [float(number) for point in SQUARE for number in point]
    for entry in content["annotations"]:
        entry["segmentation"] = [square]
    text(file, content)


NAMES = [f"{i}.png" for i in range(6)]


def pictures(folder, first=0, names=NAMES):
    for seed, name in enumerate(names, start=first):
        picture(folder / name, seed)


def test_images_are_those_of_the_split_that_the_json_file_is_of(tmp_path):
    for first, split in enumerate(("train", "val")):
        pictures(tmp_path / split / "images", 100 * first)
        coco(tmp_path / "annotations" / f"{split}.json", NAMES)
    places = recognize(tmp_path).places
    assert places["train"].images == tmp_path / "train" / "images"
    assert places["validation"].images == tmp_path / "val" / "images"


@pytest.mark.parametrize("other", ["backup", "depth", "zoo"])
def test_images_are_in_the_folder_of_that_name(tmp_path, other):
    pictures(tmp_path / other)
    pictures(tmp_path / "images", 100)
    coco(tmp_path / "annotations" / "instances_default.json", NAMES)
    assert recognize(tmp_path).places[WHOLE].images == tmp_path / "images"


def test_images_beside_the_json_file_come_first(tmp_path):
    pictures(tmp_path)
    pictures(tmp_path / "images", 100)
    coco(tmp_path / "all.json", NAMES)
    assert recognize(tmp_path).places[WHOLE].images == tmp_path


def test_two_folders_of_the_same_names_are_refused_and_a_link_is_not(tmp_path):
    pictures(tmp_path / "rgb")
    coco(tmp_path / "annotations" / "all.json", NAMES)
    os.symlink(tmp_path / "rgb", tmp_path / "linked")
    assert recognize(tmp_path).places[WHOLE].images.resolve() == tmp_path / "rgb"
    pictures(tmp_path / "depth")
    with pytest.raises(DatasetError, match=r"may be those of .*depth, .*same names"):
        recognize(tmp_path)


def test_labels_that_a_yaml_file_names_elsewhere_are_read_again(tmp_path):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "mine"
    yolo(elsewhere, "images/{}".format, "labels/{}".format)
    fields = json.loads((elsewhere / "data.yaml").read_text())
    (elsewhere / "data.yaml").unlink()
    text(folder / "data.yaml", {**fields, "path": str(elsewhere)})
    first = from_folder(tmp_path, folder)
    file = elsewhere / "labels" / "train" / "a.txt"
    file.write_text(file.read_text() + "\n1 0.1 0.1 0.2 0.1 0.2 0.2\n")
    second = from_folder(tmp_path, folder)
    counts = [len(found["train"]["annotations"]) for found in (first, second)]
    assert counts[1] == counts[0] + 1


def test_one_folder_to_train_and_validate_on_is_split(tmp_path):
    yolo(tmp_path, "images/{}".format, "labels/{}".format)
    fields = json.loads((tmp_path / "data.yaml").read_text())
    fields |= {"val": fields["train"], "test": "images/valid"}
    text(tmp_path / "data.yaml", fields)
    assert list(recognize(tmp_path).places) == [WHOLE]


def flat(folder, names="abc"):
    for name in names:
        picture(folder / f"{name}.png", ord(name))
        text(folder / f"{name}.json", {"shapes": [shape("a", SQUARE)]})


def labels_in_two_ways(root):
    labelme(root)
    for kind, suffix in (("images", "png"), ("labels", "json")):
        (root / "train" / kind).mkdir()
        for file in (root / "train").glob(f"*.{suffix}"):
            file.rename(file.parent / kind / file.name)


def labels_beside_a_split(root):
    labelme(root)
    flat(root, "xy")


def two_names_of_a_split(root):
    labelme(root)
    flat(root / "val", "xy")


def masks_of_splits(root):
    for name in ("train", "val"):
        picture(root / "masks" / name / "a.png", 0)
    picture(root / "images" / "a.png", 0)


def images_of_splits(root):
    for name in ("train", "val"):
        picture(root / "images" / name / "a.png", 0)
    picture(root / "masks" / "a.png", 0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (labels_in_two_ways, r"json files of labelme in .*labels, and others .*\.json"),
        (labels_beside_a_split, r"in .*train, .*valid, and others .*x\.json; move"),
        (two_names_of_a_split, r"both .*val and .*valid are the validation part"),
        (masks_of_splits, r"masks has .* \['train', 'val'\], and .*images has none"),
        (images_of_splits, r"masks has .* none, and .*images has \['train', 'val'\]"),
    ],
)
def test_labels_that_would_be_left_out_are_named(tmp_path, make, words):
    make(tmp_path)
    with pytest.raises(DatasetError, match=words):
        recognize(tmp_path)


def test_folders_of_classes_may_have_the_name_of_a_split(tmp_path):
    for name in ("car", "train"):
        picture(tmp_path / "masks" / name / "a.png", 0)
    picture(tmp_path / "images" / "a.png", 0)
    assert list(recognize(tmp_path).places) == [WHOLE]


def test_runs_and_records_in_the_folder_are_no_labels(tmp_path):
    flat(tmp_path, "abcdef")
    data_dir = tmp_path / "data" / "records"
    dataset = prepare_folder(tmp_path, data_dir, OPTIONS)
    save_run(tmp_path / "runs" / "mine", recorded_config(), dataset)
    picture(tmp_path / "runs" / "mine" / "samples" / "a.png", 0)
    write_json(tmp_path / "runs" / "mine" / "odd.json", {"shapes": []})
    flat(tmp_path, "g")
    for other in (data_dir, tmp_path.parent / f"{tmp_path.name}_other"):
        found = records(prepare_folder(tmp_path, other, OPTIONS))
        assert sum(len(part["images"]) for part in found.values()) == 7


def recorded_config():
    from yolact_jax.zoo.specs import spec

    return spec("shapes")


GROUP = {"id": 0, "name": "nuclei", "supercategory": "none"}
NUCLEI = {"id": 1, "name": "nuclei", "supercategory": "nuclei"}


def test_roboflows_group_with_the_name_of_its_class_is_no_class(tmp_path):
    for first, split in enumerate(("train", "valid")):
        pictures(tmp_path / split, 100 * first)
        coco(tmp_path / split / "_annotations.coco.json", NAMES, [GROUP, NUCLEI])
    found = from_folder(tmp_path / "out", tmp_path)
    assert [c["name"] for c in found["train"]["categories"]] == ["nuclei"]
    assert len(found["train"]["annotations"]) == len(NAMES)


@pytest.mark.parametrize(
    "categories",
    [
        [GROUP, {**NUCLEI, "supercategory": "x"}],
        [{**GROUP, "id": 1}, {**NUCLEI, "id": 2}],
    ],
)
def test_other_classes_of_one_name_are_refused_with_their_file(tmp_path, categories):
    for first, split in enumerate(("train", "valid")):
        pictures(tmp_path / split, 100 * first)
        coco(tmp_path / split / "_annotations.coco.json", NAMES, categories)
    with pytest.raises(DatasetError, match=r"valid.*_annotations.*earlier category"):
        from_folder(tmp_path / "out", tmp_path)


def test_every_damaged_image_of_a_whole_set_is_named_or_left_out(tmp_path):
    pictures(tmp_path / "images")
    coco(tmp_path / "all.json", NAMES)
    for name in NAMES[1:4:2]:
        path = tmp_path / "images" / name
        path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DatasetError) as caught:
        from_folder(tmp_path / "out", tmp_path)
    assert len(caught.value.problems) == 2
    found = records(prepare_folder(tmp_path, tmp_path / "out", SKIP_BAD))
    assert sum(len(part["images"]) for part in found.values()) == 4
