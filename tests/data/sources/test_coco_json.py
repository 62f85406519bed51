import json
import math
import shutil
import time

import pytest

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.sources.coco_json import read_coco


def read(coco, **arguments):
    return read_coco(coco.file, coco.images, **arguments)


def problems(coco):
    coco.write()
    with pytest.raises(DatasetError) as caught:
        read(coco)
    # Each starts with the path of the file.
    return [text.removeprefix(f"{coco.root}/") for text in caught.value.problems]


def test_good_set_is_read_with_labels_in_order_of_category_id(coco):
    found = read(coco)
    assert found.categories == ((3, "car"), (18, "dog"))
    assert [entry["id"] for entry in found.images] == [9, 7, 300]
    assert [entry["id"] for entry in found.annotations[7]] == [11, 900, 14, 15]
    assert 300 not in found.annotations
    assert found.skipped == ()


BAD_ANNOTATIONS = {
    "unknown image": ({"image_id": 8}, "`image_id` 8, which is not in `images`"),
    "unknown category": (
        {"category_id": 4},
        "`category_id` 4, which is not in `categories`",
    ),
    "id is text": ({"id": "11"}, "has `id` '11', not an integer"),
    "duplicate id": ({"id": 900}, "an `id` that an earlier annotation has too"),
    "crowd flag": ({"iscrowd": 2}, "`iscrowd` 2, not 0 or 1"),
    "no area": ({"area": None}, "`area` None, not a number"),
    "three numbers": ({"bbox": [1, 2, 3]}, "not four numbers x, y, width, height"),
    "nan box": ({"bbox": [math.nan, 2, 3, 4]}, "which is not a finite number"),
    "true in box": ({"bbox": [True, 2, 3, 4]}, "which is not a finite number"),
    "far box": ({"bbox": [1, 2, 1e9, 4]}, "1000000000.0, more than 100 sides away"),
    "huge box": ({"bbox": [1, 2, 10**400, 4]}, "which is not a finite number"),
    "huge area": ({"area": 10**400}, "not a number of square pixels"),
    "huge id": ({"id": 2**63}, "has `id` 9223372036854775808, which does not fit 64"),
    "minimum of int32": (
        {"segmentation": [[1, 2, -2147483648, 4, 5, 6]]},
        "the value -2147483648, more than 100 sides away from the image of 40 x 60",
    ),
    "huge point": ({"segmentation": [[1, 2, 10**400, 4, 5, 6]]}, "not a finite"),
    "negative width": ({"bbox": [1, 2, -3, 4]}, "with a negative width or height"),
    "box right of image": (
        {"bbox": [61, 2, 3, 4]},
        "wholly outside the image of 40 x 60 pixels",
    ),
    "box above image": ({"bbox": [1, -20, 3, 4]}, "wholly outside the image"),
    "two points": ({"segmentation": [[1, 2, 3, 4]]}, "polygon in `segmentation` of 4"),
    "odd polygon": ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "of 7 numbers"),
    "infinite point": (
        {"segmentation": [[1, 2, 3, math.inf, 5, 6]]},
        "the value inf, which is not a finite number",
    ),
    "second polygon": ({"segmentation": [[1, 2, 3, 4, 5, 6], [1]]}, "of 1 numbers"),
    "no masks": ({"segmentation": []}, "no `segmentation`: instance masks are needed"),
    "nested text": ({"segmentation": "1 2 3"}, "of type str, not a list"),
    "flat polygon": ({"segmentation": [1, 2, 3, 4, 5, 6]}, "not a list of numbers"),
    "rle size": (
        {"segmentation": {"size": [60, 40], "counts": [2400]}},
        "`size` [60, 40], but the image has [height, width] [40, 60]",
    ),
    "rle sum": (
        {"segmentation": {"size": [40, 60], "counts": [2400, 5]}},
        "add up to 2405 pixels, but the image has 2400",
    ),
    "rle sum too small": (
        {"segmentation": {"size": [40, 60], "counts": [2000, 399]}},
        "add up to 2399 pixels, but the image has 2400",
    ),
    "negative run": (
        {"segmentation": {"size": [40, 60], "counts": [-5, 2405]}},
        "a negative run length",
    ),
    "rle letters": (
        {"segmentation": {"size": [40, 60], "counts": "not rle~"}},
        'a character outside "0".."o"',
    ),
    "rle cut": (
        {"segmentation": {"size": [40, 60], "counts": "oo"}},
        "ends in the middle of a number",
    ),
    "rle without counts": (
        {"segmentation": {"size": [40, 60]}},
        "neither a string nor a list",
    ),
}


@pytest.mark.parametrize("kind", BAD_ANNOTATIONS)
def test_bad_annotation_is_named_with_file_id_and_field(coco, kind):
    change, expected = BAD_ANNOTATIONS[kind]
    # The second entry, so that the first can have the same id.
    coco.content["annotations"].insert(
        0, {**coco.content["annotations"][1], "id": 900, "image_id": 7}
    )
    coco.content["annotations"][2]["id"] = 901
    coco.content["annotations"][1].update(change)
    (problem,) = problems(coco)
    annotation_id = change.get("id", 11)
    assert problem.startswith(f"instances.json: annotation {annotation_id!r} ")
    assert expected in problem
    assert problem.endswith(".")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"id": 9}, "image 9 has an `id` that an earlier image has too"),
        ({"id": None}, "image number 2 has `id` None, not an integer"),
        ({"height": 0}, "image 300 has `height` 0, not a positive integer"),
        ({"width": "60"}, "image 300 has `width` '60', not a positive integer"),
        ({"file_name": "gone.jpg"}, "image 300 has `file_name` 'gone.jpg', which is"),
        ({"file_name": ""}, "image 300 has `file_name` '', which is not in"),
        ({"file_name": "x" * 300}, "xxx', which is not in"),
        ({"file_name": "nul\0.jpg"}, "which is not in"),
        ({"file_name": "half\ud83d.jpg"}, "which is not text"),
        ({"id": 2**63}, "9223372036854775808, which does not fit 64 bits"),
        ({"width": 70_000}, "image 300 has `width` 70000, more than 65535 pixels"),
        ({"file_name": None}, "image 300 has `file_name` None, not a string"),
    ],
)
def test_bad_image_is_named_with_id_and_field(coco, change, expected):
    coco.content["images"][2].update(change)
    (problem,) = problems(coco)
    assert expected in problem


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"id": 18}, "category number 1 has `id` 18, which an earlier category has"),
        ({"id": "3"}, "category number 1 has `id` '3', not an integer"),
        ({"name": "dog"}, "category number 1 has `name` 'dog', which an earlier"),
        ({"name": 5}, "category number 1 has `name` 5, not a string"),
    ],
)
def test_bad_category_is_named(coco, change, expected):
    coco.content["categories"][1].update(change)
    assert expected in problems(coco)[0]


def test_annotation_of_a_bad_image_gives_no_second_problem(coco):
    coco.content["images"][1]["file_name"] = "gone.jpg"
    (problem,) = problems(coco)
    assert "gone.jpg" in problem


def test_all_problems_are_kept_and_the_first_twenty_are_shown(coco):
    for annotation_id in range(1000, 1030):
        entry = {**coco.content["annotations"][0], "id": annotation_id, "area": -1}
        coco.content["annotations"].append(entry)
    coco.write()
    with pytest.raises(DatasetError) as caught:
        read(coco)
    assert len(caught.value.problems) == 30
    message = str(caught.value)
    assert "annotation 1019" in message
    assert "annotation 1020" not in message
    assert message.endswith("and 10 more")


def test_skip_bad_leaves_out_and_records(coco):
    coco.content["annotations"][0]["area"] = -1
    coco.content["images"][0]["file_name"] = "gone.jpg"
    coco.write()
    found = read(coco, skip_bad=True)
    assert [entry["id"] for entry in found.images] == [7, 300]
    assert [entry["id"] for entry in found.annotations[7]] == [900, 14, 15]
    assert 9 not in found.annotations
    assert len(found.skipped) == 2


def test_skip_bad_does_not_skip_everything(coco):
    for entry in coco.content["images"]:
        entry["file_name"] = "gone.jpg"
    coco.write()
    with pytest.raises(DatasetError, match="no usable image is left"):
        read(coco, skip_bad=True)


def test_truncated_json_is_named(coco):
    coco.file.write_bytes(coco.file.read_bytes()[:500])
    with pytest.raises(DatasetError, match=r"instances.json: is not valid json"):
        read(coco)


@pytest.mark.parametrize("content", [[], 5, "text"])
def test_json_that_is_no_object_is_refused(coco, content):
    coco.file.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match="not an object with `images`"):
        read(coco)


@pytest.mark.parametrize("section", ["images", "annotations", "categories"])
def test_missing_section_is_named(coco, section):
    del coco.content[section]
    (problem,) = problems(coco)
    assert f"has no list `{section}`" in problem


@pytest.mark.parametrize("section", ["images", "categories"])
def test_empty_section_is_named(coco, section):
    coco.content[section] = []
    (problem,) = problems(coco)
    assert f"the list `{section}` is empty" in problem


def test_missing_file_and_folder_are_both_told_at_once(tmp_path):
    start = time.monotonic()
    with pytest.raises(DatasetError) as caught:
        read_coco(tmp_path / "no.json", tmp_path / "none")
    assert time.monotonic() - start < 1
    assert len(caught.value.problems) == 2
    assert str(tmp_path / "no.json") in caught.value.problems[0]
    assert str(tmp_path / "none") in caught.value.problems[1]


def test_empty_image_folder_is_told(coco):
    shutil.rmtree(coco.images)
    coco.images.mkdir()
    with pytest.raises(DatasetError, match=r"image folder .* is empty"):
        read(coco)


def test_image_in_a_subfolder_is_found(coco):
    (coco.images / "sub").mkdir()
    (coco.images / "nine.jpg").rename(coco.images / "sub" / "nine.jpg")
    coco.content["images"][0]["file_name"] = "sub/nine.jpg"
    coco.write()
    assert len(read(coco).images) == 3


@pytest.mark.parametrize(
    "name",
    [
        "../nine.jpg",
        "sub/../../nine.jpg",
        "..\\nine.jpg",
        "/pictures/a.jpg",
        "C:\\a.jpg",
    ],
)
def test_a_file_outside_the_folder_is_refused(coco, name):
    (coco.root / "nine.jpg").write_bytes((coco.images / "nine.jpg").read_bytes())
    coco.content["images"][0]["file_name"] = name
    (problem,) = problems(coco)
    assert problem.startswith("instances.json: image 9 has `file_name`")
    assert "leads out of" in problem


def test_a_file_outside_the_folder_can_be_allowed(coco):
    (coco.images / "nine.jpg").rename(coco.root / "nine.jpg")
    (coco.images / "seven.jpg").rename(coco.root / "seven.jpg")
    coco.content["images"][0]["file_name"] = "../nine.jpg"
    coco.content["images"][1]["file_name"] = str(coco.root / "seven.jpg")
    coco.write()
    assert len(read(coco, allow_outside_paths=True).images) == 3


def test_dots_that_stay_inside_are_no_problem(coco):
    (coco.images / "sub").mkdir()
    coco.content["images"][0]["file_name"] = "sub/../nine.jpg"
    coco.write()
    assert len(read(coco).images) == 3


def test_a_path_of_windows_is_found(coco):
    (coco.images / "sub").mkdir()
    (coco.images / "nine.jpg").rename(coco.images / "sub" / "nine.jpg")
    coco.content["images"][0]["file_name"] = "sub\\nine.jpg"
    coco.write()
    assert read(coco).images[0]["file_name"] == "sub/nine.jpg"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_encodings_that_json_knows_are_read(coco, encoding):
    coco.content["categories"][0]["name"] = "Hündin"
    text = json.dumps(coco.content, ensure_ascii=False)
    coco.file.write_bytes(text.encode(encoding))
    assert read(coco).categories[1] == (18, "Hündin")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"images": "é"}'.encode("latin-1"), "is not valid json"),
        (b'{"images": ' + b"9" * 5000 + b"}", "is not valid json"),
        (b"[" * 100_000, "is nested too deeply"),
        (b"", "is not valid json"),
        (b'{"images": [], "images": []}', "an object has the key 'images' twice"),
    ],
)
def test_json_that_cannot_be_read_is_one_sentence(coco, content, expected):
    coco.file.write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        read(coco)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{coco.file}: ")
    assert expected in problem
