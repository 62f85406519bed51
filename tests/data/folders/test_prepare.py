"""A folder in any layout gives the records of its conversion to COCO's format."""

import json

import cv2
import numpy as np
import pytest

from tests.helpers.label_folders import SQUARE, shape
from tests.helpers.own_folders import (
    SIZE,
    converted,
    from_folder,
    labelme,
    picture,
    prepared_from,
    roboflow,
    text,
    yolo,
)
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.folders.recognize import recognize
from yolact_jax.tools.commands.main import main
from yolact_jax.tools.convert import convert


@pytest.mark.parametrize("places", ["{0}/{1}", "{1}/{0}"])
def test_a_yolo_folder_gives_the_records_of_its_conversion(tmp_path, places):
    def images(split):
        return places.format("images", split)

    def labels(split):
        return places.format("labels", split)

    folder = tmp_path / "yolo"
    yolo(folder, images, labels)
    classes = folder / "data.yaml"
    expected = converted(tmp_path, folder, "yolo", images, labels, classes=classes)
    found = from_folder(tmp_path, folder)
    assert found == expected
    assert [len(found[s]["images"]) for s in found] == [3, 2]
    assert [c["name"] for c in found["train"]["categories"]] == ["disc", "square"]


def test_roboflows_paths_that_start_above_the_folder_are_found(tmp_path):
    yolo(tmp_path, "{}/images".format, "{}/labels".format)
    fields = json.loads((tmp_path / "data.yaml").read_text())
    fields |= {"train": "../train/images", "val": "../valid/images"}
    text(tmp_path / "data.yaml", fields)
    places = recognize(tmp_path).places
    assert places["validation"].labels == tmp_path / "valid" / "labels"


def test_a_labelme_folder_gives_the_records_of_its_conversion(tmp_path):
    folder = tmp_path / "labelme"
    labelme(folder)
    found = from_folder(tmp_path, folder)
    # All pictures converted at once have the classes of both parts.
    out = tmp_path / "all.json"
    convert("labelme", folder, folder, out)
    content = json.loads(out.read_text())
    names = {c["id"]: c["name"] for c in content["categories"]}

    def objects(content):
        files = {e["id"]: e["file_name"].split("/")[-1] for e in content["images"]}
        return sorted(
            (files[e["image_id"]], e["category_id"], str(e["segmentation"]), e["area"])
            for e in content["annotations"]
        )

    both = objects(found["train"]) + objects(found["validation"])
    assert sorted(both) == objects(content)
    for part in found.values():
        assert {c["id"]: c["name"] for c in part["categories"]} == names


def test_roboflows_coco_folder_gives_the_records_of_its_files(tmp_path):
    folder = roboflow(tmp_path)
    files = {
        split: (folder / name / "_annotations.coco.json", folder / name)
        for split, name in (("train", "train"), ("validation", "valid"))
    }
    assert from_folder(tmp_path, folder) == prepared_from(tmp_path, files)


def test_masks_beside_images_are_recognized_and_split(tmp_path):
    folder = tmp_path / "cells"
    numbers = np.zeros(SIZE, np.uint8)
    numbers[5:20, 5:20], numbers[25:35, 30:50] = 1, 2
    for seed in range(8):
        picture(folder / "images" / f"{seed}.png", seed)
        (folder / "masks").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / "masks" / f"{seed}.png"), numbers)
    found = from_folder(tmp_path, folder)
    assert [len(found[s]["images"]) for s in ("train", "validation")] == [6, 2]
    areas = {e["area"] for part in found.values() for e in part["annotations"]}
    assert areas == {15 * 15, 10 * 20}


def test_instances_come_before_captions_of_the_same_images(tmp_path):
    picture(tmp_path / "images" / "a.png", 0)
    content = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": []}
    for name in ("instances_train2017", "captions_train2017"):
        text(tmp_path / "annotations" / f"{name}.json", content)
    layout = recognize(tmp_path)
    assert layout.places["train"].labels.name == "instances_train2017.json"
    assert layout.places["train"].images == tmp_path / "images"
    assert [path.name for path in layout.unused] == ["captions_train2017.json"]


def both_kinds(root):
    yolo(root, "images/{}".format, "labels/{}".format)
    labelme(root)


def two_files(root):
    picture(root / "a.png", 0)
    for name in ("one", "two"):
        images = [{"id": 1, "file_name": "a.png"}]
        text(root / f"{name}.json", {"images": images, "annotations": []})


def only_validation(root):
    labelme(root)
    for path in (root / "train").iterdir():
        path.unlink()
    (root / "train").rmdir()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: None, "no labels that are recognized"),
        (both_kinds, "two kinds of labels"),
        (two_files, "not clear which of these json files"),
        (only_validation, "no part to train on"),
        (
            lambda root: text(root / "a.json", {"images": [], "annotations": []}),
            "are in none of the folders",
        ),
        (
            lambda root: text(root / "data.yaml", "names: [a]\ntrain: nowhere"),
            "names the folder nowhere",
        ),
    ],
)
def test_a_folder_that_is_not_clear_is_refused(tmp_path, make, words):
    make(tmp_path)
    with pytest.raises(DatasetError, match=words):
        recognize(tmp_path)


def test_a_second_start_converts_nothing_and_a_change_converts_again(
    tmp_path, monkeypatch
):
    folder = tmp_path / "labelme"
    labelme(folder)
    first = from_folder(tmp_path, folder)
    from yolact_jax.data import importers

    def fail(*_, **__):
        raise AssertionError("converted again")

    with monkeypatch.context() as patched:
        patched.setattr(importers, "from_labelme", fail)
        assert from_folder(tmp_path, folder) == first
    text(folder / "train" / "a.json", {"shapes": [shape("new", SQUARE)]})
    changed = from_folder(tmp_path, folder)
    assert "new" in [c["name"] for c in changed["train"]["categories"]]


def test_train_names_both_sources_of_a_contradiction(tmp_path, capsys):
    words = ["train", f"--data={tmp_path}", "--config=shapes", "--workdir=x"]
    assert main(words) == 1
    assert "config.data.dataset 'shapes'" in capsys.readouterr().err
    assert main(["train", f"--data={tmp_path}", f"--workdir={tmp_path / 'w'}"]) == 1
    assert "no labels that are recognized" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()
