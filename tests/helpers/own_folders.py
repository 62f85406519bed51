"""Folders of labeled pictures in several layouts, and the records of both ways in."""

import json

import cv2
import numpy as np

from tests.helpers.label_folders import SQUARE, TRIANGLE, shape
from yolact_jax.data.folders.prepare import Options, prepare_folder
from yolact_jax.data.records.dataset import coco_ground_truth
from yolact_jax.data.sources.coco_builder import prepare_coco
from yolact_jax.tools.convert import convert

SIZE = 40, 60
OPTIONS = Options(validation_fraction=0.25, split_seed=0)
SPLITS = {"train": "abc", "valid": "de"}


def picture(path, seed):
    """Blocks of noise, unlike any other seed's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 255, (4, 6, 3), np.uint8)
    cv2.imwrite(str(path), blocks.repeat(10, 0).repeat(10, 1))


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def yolo(root, images, labels):
    """`images` and `labels` say where those of a split are."""
    names = {"train": images("train"), "val": images("valid")}
    text(root / "data.yaml", {"names": ["disc", "square"], **names})
    for split, letters in SPLITS.items():
        for seed, letter in enumerate(letters):
            picture(root / images(split) / f"{letter}.png", (ord(letter), seed))
            points = np.divide(TRIANGLE, SIZE[::-1]).ravel()
            line = " ".join(map(str, [seed % 2, *points]))
            text(root / labels(split) / f"{letter}.txt", line)


def labelme(root, first="a"):
    """By default, `first` is a class of the training pictures only."""
    for split, letters in SPLITS.items():
        for letter in letters:
            picture(root / split / f"{letter}.png", ord(letter))
            name = "first" if letter in first else "square"
            fields = {"shapes": [shape(name, SQUARE), shape("square", TRIANGLE)]}
            text(root / split / f"{letter}.json", fields)


def roboflow(root):
    labelme(root / "labelme")
    for split in SPLITS:
        source = root / "labelme" / split
        convert("labelme", source, source, root / "made.json")
        content = json.loads((root / "made.json").read_text())
        categories = [{"id": 3, "name": "x"}, {"id": 5, "name": "y"}]
        content["categories"] = categories
        for entry in content["annotations"]:
            entry["category_id"] = 5
        text(root / "set" / split / "_annotations.coco.json", content)
        for file in source.glob("*.png"):
            file.rename(root / "set" / split / file.name)
    return root / "set"


def records(dataset):
    return {split: coco_ground_truth(dataset.source(split)) for split in dataset.splits}


def prepared_from(tmp_path, files):
    """The records of json files, split -> (file, images)."""
    arguments = {}
    for split, (file, images) in files.items():
        arguments |= {f"{split}_annotations": file, f"{split}_images": images}
    return records(prepare_coco(data_dir=tmp_path / "converted", **arguments))


def from_folder(tmp_path, folder):
    return records(prepare_folder(folder, tmp_path / "records", OPTIONS))


def converted(tmp_path, folder, kind, images, labels, **options):
    files = {}
    for split, name in (("train", "train"), ("validation", "valid")):
        out = tmp_path / f"{split}.json"
        convert(kind, folder / labels(name), folder / images(name), out, **options)
        files[split] = out, folder / images(name)
    return prepared_from(tmp_path, files)
