import json

import pytest

from tests.helpers.label_folders import SQUARE, TRIANGLE, shape
from yolact_jax.data.sources.coco_builder import prepare_coco
from yolact_jax.tools.commands.main import main

LINE = "1 0.25 0.25 0.75 0.25 0.5 0.75\n"


def command(folders, source, *more):
    folders.status = main(
        ["convert", source, f"--annotations={folders.labels}"]
        + [f"--images={folders.images}", f"--out={folders.out}", *map(str, more)]
    )


def run(folders, source, *more):
    command(folders, source, *more)
    assert folders.status == 0
    return json.loads(folders.out.read_text())


@pytest.fixture
def refused(capsys):
    def run_in_vain(folders, source, *more):
        capsys.readouterr()
        command(folders, source, *more)
        assert folders.status == 1
        return capsys.readouterr().err

    return run_in_vain


@pytest.fixture
def labelme(folders):
    folders.image("a.jpg", "b.jpg", "c.jpg")
    folders.labelme("a.json", shape("dog", TRIANGLE), shape("cat", SQUARE))
    folders.labelme("b.json")
    return folders


def test_counts_are_told_and_records_can_be_made(labelme, capsys):
    run(labelme, "labelme")
    assert capsys.readouterr().out == (
        f"{labelme.out}: 1 images with objects, 1 without objects in their label file,"
        " 1 without label file; 2 objects; 2 classes: cat, dog\n"
    )
    dataset = prepare_coco(
        data_dir=labelme.root / "records",
        train_annotations=labelme.out,
        train_images=labelme.images,
        validation_annotations=None,
        validation_images=None,
    )
    assert dataset.class_names == ("cat", "dog")
    source = dataset.source("train")
    assert [example.file_name for example in source] == ["a.jpg", "b.jpg", "c.jpg"]
    annotations = source[0].annotations
    assert annotations.labels.tolist() == [1, 0]
    assert annotations.segmentations.points_px.tolist() == TRIANGLE + SQUARE


def test_what_was_left_out_is_told(labelme, capsys, refused):
    for number in range(30):
        labelme.labelme(f"lonely{number}.json")
    labelme.labelme("b.json", shape("cat", SQUARE, "point"), shape("cat", SQUARE))
    message = refused(labelme, "labelme")
    assert message.startswith("yolact-jax convert: 31 problems in the dataset:\n")
    assert not labelme.out.exists()
    assert len(run(labelme, "labelme", "--skip_bad")["annotations"]) == 3
    told = capsys.readouterr().out
    assert "left out 31: 31 problems in the dataset:\n" in told
    assert "lonely0.json: has no image of that name" in told
    assert told.endswith("and 11 more\n")


def test_options_reach_the_importers(folders, refused):
    folders.image("a.jpg")
    folders.text("a.txt", LINE + "0 0.5 0.5 0.2 0.2\n")
    folders.text("data.yaml", "names: [cat, dog]")
    classes = f"--classes={folders.labels / 'data.yaml'}"
    assert "boxes_as_rectangles" in refused(folders, "yolo", classes)
    content = run(folders, "yolo", classes, "--boxes_as_rectangles")
    assert [entry["category_id"] for entry in content["annotations"]] == [2, 1]


def test_only_files_of_conversions_are_replaced(labelme, refused):
    run(labelme, "labelme")
    first = labelme.out.read_bytes()
    labelme.labelme("c.json", shape("cat", SQUARE))
    run(labelme, "labelme")
    assert labelme.out.read_bytes() != first
    labelme.put(labelme.root / "mine.json", b'{"images": []}')
    (labelme.root / "link.json").symlink_to(labelme.root / "mine.json")
    for name in ("mine.json", "link.json", "images", "images/a.jpg"):
        labelme.out = labelme.root / name
        assert f"{name}: is there already, and not" in refused(labelme, "labelme")
    assert (labelme.root / "mine.json").read_bytes() == b'{"images": []}'


def test_output_among_the_label_files_is_refused(labelme, refused):
    before = {p: p.read_bytes() for p in labelme.root.rglob("*.*") if p.is_file()}
    for name in ("a.json", "new.json", "sub/new.json"):
        labelme.out = labelme.labels / name
        assert "is in the folder of the label files" in refused(labelme, "labelme")
    after = {p: p.read_bytes() for p in labelme.root.rglob("*.*") if p.is_file()}
    assert after == before


def test_folders_that_are_missing_are_all_told(folders, refused):
    folders.labels.rmdir()
    folders.images.rmdir()
    message = refused(folders, "labelme")
    assert f"{folders.labels}: there is no such folder" in message
    assert f"{folders.images}: there is no such folder" in message


def test_file_of_classes_that_is_missing_is_told(folders, refused):
    folders.image("a.jpg")
    message = refused(folders, "yolo", f"--classes={folders.root / 'no.txt'}")
    assert f"{folders.root / 'no.txt'}: cannot be read" in message


def test_output_that_cannot_be_written_is_told(labelme, refused):
    labelme.out = labelme.images / "a.jpg" / "train.json"
    assert "a.jpg" in refused(labelme, "labelme")
