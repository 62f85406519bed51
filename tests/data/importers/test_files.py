import json
import os

import numpy as np
import pytest

from tests.helpers.label_folders import SQUARE, shape
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.importers.files import is_extra, match

GOOD = "0 0.25 0.25 0.75 0.25 0.5 0.75"


def labeled(content):
    """Names of the images that have objects."""
    names = {entry["id"]: entry["file_name"] for entry in content["images"]}
    return [names[entry["image_id"]] for entry in content["annotations"]]


@pytest.mark.parametrize(
    ("labels", "images", "found"),
    [
        (["a.txt"], ["a.jpg", "b.jpg"], {"a.jpg": "a.txt"}),
        (["a.jpg.txt", "a.png.txt"], ["a.jpg", "a.png"], None),
        (["v1.0.txt"], ["v1.0.jpg", "v1.jpg"], {"v1.0.jpg": "v1.0.txt"}),
        (["x/a.txt", "y/a.txt"], ["x/a.jpg", "y/a.jpg"], None),
        (["train/a.txt"], ["a.jpg"], {"a.jpg": "train/a.txt"}),
        (["a.txt"], ["train/a.jpg"], {"train/a.jpg": "a.txt"}),
        (["u/x/a.txt"], ["x/a.jpg", "y/a.jpg"], {"x/a.jpg": "u/x/a.txt"}),
        (["a.txt", "x/a.txt"], ["a.jpg", "x/a.jpg"], None),
        (["e\u0301.txt"], ["\u00e9.jpg"], {"\u00e9.jpg": "e\u0301.txt"}),
    ],
)
def test_label_files_find_their_images(labels, images, found):
    assert match(labels, images) == (
        found or dict(zip(images, labels, strict=True)),
        {},
    )


@pytest.mark.parametrize(
    ("labels", "images", "found", "problem"),
    [
        (["A.txt"], ["a.jpg"], {}, "has no image of that name"),
        (["x/a.txt"], ["y/a.jpg"], {}, "has no image of that name"),
        (["a.txt"], ["a.jpg", "a.png"], {}, "has 2 images of that name (a.jpg, a.png)"),
        (["a.txt"], ["x/a.jpg", "y/a.jpg"], {}, "has 2 images of that name"),
        (["a.txt", "b/a.txt"], ["a.jpg"], {"a.jpg": "a.txt"}, "has the image a.jpg of"),
        (["a.TXT", "a.txt"], ["a.jpg"], {"a.jpg": "a.TXT"}, "has the image a.jpg of a"),
    ],
)
def test_label_files_without_an_image_of_their_own(labels, images, found, problem):
    matched, others = match(labels, images)
    assert matched == found
    ((text, _),) = others.values()
    assert text.startswith(problem)


def test_known_extras():
    names = "README.roboflow.txt", "classes.txt", "sub/data.yaml", "train.cache"
    assert all(map(is_extra, (*names, "Thumbs.db", "obj.names")))
    assert not any(map(is_extra, ("a.txt", "classes.xml", "my_classes.txt")))


@pytest.mark.parametrize("suffix", [".txt", ".TXT", ".Txt"])
def test_suffixes_of_any_case_and_folders_are_read(folders, suffix):
    folders.image("a.JPG", "sub/b.jpeg", "sub/deep/c.jpg", "d.jpg")
    for name in ("a", "sub/b", "sub/deep/c"):
        folders.text(f"{name}{suffix}", GOOD)
    content, skipped = folders.convert("yolo", classes=["cat"])
    assert not skipped
    assert labeled(content) == ["a.JPG", "sub/b.jpeg", "sub/deep/c.jpg"]
    assert all((folders.images / e["file_name"]).is_file() for e in content["images"])


def test_suffix_of_json_may_be_upper_case(folders):
    folders.image("a.jpg")
    folders.labelme("a.JSON", shape("cat", SQUARE))
    assert labeled(folders.convert("labelme")[0]) == ["a.jpg"]


def test_labels_may_lie_beside_the_images(folders):
    folders.labels = folders.images
    folders.image("a.jpg")
    folders.text("a.txt", GOOD)
    folders.text("classes.txt", "cat")
    classes = folders.labels / "classes.txt"
    assert labeled(folders.convert("yolo", classes=classes)[0]) == ["a.jpg"]


def test_masks_in_a_folder_of_the_images_are_no_images(folders):
    folders.labels = folders.images / "masks"
    folders.image("a.jpg")
    folders.mask("a.png", np.ones((40, 60), np.uint8))
    content, _ = folders.convert("png")
    assert [entry["file_name"] for entry in content["images"]] == ["a.jpg"]


def test_images_whose_labels_are_unclear_are_left_out(folders):
    folders.image("a.jpg", "a.png", "b.jpg")
    folders.text("a.txt", GOOD)
    folders.text("b.txt", GOOD)
    content, (problem,) = folders.convert("yolo", classes=["cat"], skip_bad=True)
    assert "a.txt: has 2 images of that name (a.jpg, a.png) in" in problem
    assert [entry["file_name"] for entry in content["images"]] == ["b.jpg"]


def test_every_file_of_a_label_folder_is_used_known_or_told(folders):
    folders.image("a.jpg", "train.jpg")
    for name in ("a.txt", "train.txt"):
        folders.text(name, GOOD)
    for name in ("README.txt", "data.yaml", "val.txt", ".hidden", "a.jpg"):
        folders.text(name, "")
    for name in ("a.xml", "sub/c.json", "other.txt"):
        folders.text(name, "")
    content, skipped = folders.convert("yolo", classes=["cat"], skip_bad=True)
    assert labeled(content) == ["a.jpg", "train.jpg"]
    ends = (
        "a.xml: is no label file, whose name would end with .txt.",
        "sub/c.json: is no label file, whose name would end with .txt.",
        f"other.txt: has no image of that name in {folders.images}.",
    )
    assert skipped == [f"{folders.labels}/{end}" for end in ends]


def make_pipe(path):
    os.mkfifo(path)


def make_dangling_link(path):
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [os.mkdir, make_pipe, make_dangling_link])
def test_what_is_no_file_is_named(folders, make):
    folders.image("a.jpg", "c.jpg")
    for place in ("images/x.png", "labels/c.txt"):
        make(folders.root / place)
    folders.text("a.txt", GOOD)
    content, skipped = folders.convert("yolo", classes=["cat"], skip_bad=True)
    assert [entry["file_name"] for entry in content["images"]] == ["a.jpg"]
    told = sorted(problem.partition(": ")[0] for problem in skipped)
    assert told == [f"{folders.root}/images/x.png", f"{folders.root}/labels/c.txt"]


def test_unreadable_file_and_folder_are_named(folders, monkeypatch):
    if os.geteuid() == 0:
        # Root reads everything: let the system say no.
        def refuse(path, *_, **__):
            raise PermissionError(13, "Permission denied", str(path))

        scandir, read = os.scandir, type(folders.root).read_bytes
        monkeypatch.setattr(
            os, "scandir", lambda p: refuse(p) if "closed" in str(p) else scandir(p)
        )
        monkeypatch.setattr(
            type(folders.root),
            "read_bytes",
            lambda p: refuse(p) if p.name == "b.txt" else read(p),
        )
    folders.image("a.jpg", "b.jpg", "closed/c.jpg")
    folders.text("a.txt", GOOD)
    folders.text("b.txt", GOOD)
    (folders.labels / "b.txt").chmod(0)
    (folders.images / "closed").chmod(0)
    content, skipped = folders.convert("yolo", classes=["cat"], skip_bad=True)
    (folders.images / "closed").chmod(0o755)
    assert labeled(content) == ["a.jpg"]
    assert (
        f"{folders.images / 'closed'}: cannot be read (Permission denied)." in skipped
    )
    assert any(
        f"{folders.labels / 'b.txt'}: cannot be read" in text for text in skipped
    )


def test_names_of_255_bytes_are_read(folders):
    longest = "x" * 251
    folders.image(f"{longest}.jpg", f"{'y' * 250}.jpeg")
    folders.text(f"{longest}.txt", GOOD)
    assert labeled(folders.convert("yolo", classes=["cat"])[0]) == [f"{longest}.jpg"]


def test_names_that_are_no_text_are_told(folders):
    folders.image("a.jpg")
    folders.text("a.txt", GOOD)
    bad = os.fsdecode(os.fsencode(str(folders.images)) + b"/\xff.jpg")
    with open(bad, "wb") as file:
        file.write(b"")
    _, (problem,) = folders.convert("yolo", classes=["cat"], skip_bad=True)
    assert "has a name that is not UTF-8" in problem


def test_links_in_circles_end(folders):
    folders.image("sub/a.jpg")
    folders.text("sub/a.txt", GOOD)
    (folders.images / "sub" / "up").symlink_to(folders.images)
    content, _ = folders.convert("yolo", classes=["cat"])
    assert [entry["file_name"] for entry in content["images"]] == ["sub/a.jpg"]


def test_damaged_image_is_left_out(folders):
    folders.image("a.jpg", "b.jpg")
    folders.put(folders.images / "b.jpg", (folders.images / "b.jpg").read_bytes()[:200])
    folders.text("a.txt", GOOD)
    folders.text("b.txt", GOOD)
    content, (problem,) = folders.convert("yolo", classes=["cat"], skip_bad=True)
    assert "b.jpg: the file is not an image, or it is damaged or truncated" in problem
    assert labeled(content) == ["a.jpg"]
    assert len(content["images"]) == 1
    assert json.dumps(content)


def test_nothing_to_convert_is_refused(folders):
    folders.image("a.jpg")
    for skip_bad in (False, True):
        with pytest.raises(DatasetError, match="no image has an object that can be"):
            folders.convert("labelme", skip_bad=skip_bad)
    folders.labels.rmdir()
    with pytest.raises(DatasetError, match="labels: there is no such folder"):
        folders.convert("labelme")
