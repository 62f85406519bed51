import numpy as np
import pytest

from tests.helpers.label_folders import HEIGHT, TRIANGLE, WIDTH
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.importers.yolo import read_class_names

NAMES = ("cat", "dog")
GOOD = "0 0.25 0.25 0.75 0.25 0.5 0.75"


def test_outlines_are_exact_within_rounding(folders):
    folders.image("a.jpg")
    values = (np.array(TRIANGLE) / (WIDTH, HEIGHT)).ravel()
    line = " ".join(["1", *(f"{value:.6f}" for value in values)])
    folders.text("a.txt", f"{line}\n\n")
    content, _ = folders.convert("yolo", classes=("cat", "dog", "bird"))
    (annotation,) = content["annotations"]
    assert annotation["category_id"] == 2
    expected = np.ravel(TRIANGLE)
    np.testing.assert_allclose(annotation["segmentation"][0], expected, atol=1e-4)
    # Classes that do not occur keep their place.
    assert [entry["name"] for entry in content["categories"]] == ["cat", "dog", "bird"]


def test_boxes_are_rectangles_on_request(folders):
    folders.image("a.jpg")
    folders.text("a.txt", f"{GOOD}\n1 0.5 0.5 0.2 0.4\n")
    with pytest.raises(DatasetError, match=r"line 2 .* boxes_as_rectangles makes"):
        folders.convert("yolo", classes=NAMES)
    content, _ = folders.convert("yolo", classes=NAMES, boxes_as_rectangles=True)
    box = content["annotations"][1]
    np.testing.assert_allclose(box["bbox"], [24, 12, 12, 16])
    assert box["area"] == 12 * 16


def test_coordinates_up_to_a_hundredth_outside_are_moved_in(folders):
    folders.image("a.jpg")
    folders.text("a.txt", "0 -0.000571 0.1 1.0021 0.1 0.5 1.01\n")
    (annotation,) = folders.convert("yolo", classes=NAMES)[0]["annotations"]
    np.testing.assert_allclose(annotation["segmentation"], [[0, 4, 60, 4, 30, 40]])


BAD_LINES = {
    "2 0 0 1 0 1 1": "has class 2, but there are names for 0 to 1",
    "-1 0 0 1 0 1 1": "has class -1, but",
    "0.5 0 0 1 0 1 1": "has class 0.5, but",
    "nan 0 0 1 0 1 1": "has class nan, but",
    "9" * 999 + " 0 0 1 0 1 1": "has class 99999999999999999999, but",
    "0": "has an outline of 0 numbers",
    "0 0 0 1 0 1": "has an outline of 5 numbers",
    "0 0.5 0.5 0.1 0.1": "has an outline of 4 numbers: it is a box",
    "0 0 0 1 0 1 1.5": "has a coordinate that is not in 0..1",
    "0 0 0 1 0 1 nan": "has a coordinate that is not in 0..1",
    "0 0 0 1 0 1 inf": "has a coordinate that is not in 0..1",
    "0 0 0 1 0 1 -1e999": "has a coordinate that is not in 0..1",
    "cat 0 0 1 0 1 1": "is not a class and numbers",
    "0 0 0 1 0 1 1,5": "is not a class and numbers",
    "x" * 9999: "is not a class and numbers",
}


@pytest.mark.parametrize("line", BAD_LINES, ids=BAD_LINES.values())
def test_bad_line_is_named_and_can_be_left_out(folders, line):
    folders.image("a.jpg")
    folders.text("a.txt", f"{GOOD}\n\n{line}\n")
    with pytest.raises(DatasetError) as caught:
        folders.convert("yolo", classes=NAMES)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{folders.labels / 'a.txt'}: line 3 {BAD_LINES[line]}")
    assert len(problem) < 500
    content, skipped = folders.convert("yolo", classes=NAMES, skip_bad=True)
    assert skipped == [problem]
    assert len(content["annotations"]) == 1


CLASS_FILES = {
    "names.txt": "cat\ndog\n\n",
    "crlf.txt": "cat\r\ndog\r\n",
    "data.yaml": 'nc: 2\nnames: ["cat", "dog"]\n',
    "dict.yml": "path: ../data\nnames:\n  0: cat\n  1: dog\n",
    "yaml.txt": "nc: 2\nnames:\n- cat\n- dog\n",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", CLASS_FILES)
def test_names_of_classes_are_read(tmp_path, name, encoding):
    (tmp_path / name).write_bytes(CLASS_FILES[name].encode(encoding))
    assert read_class_names(tmp_path / name) == NAMES


def test_numbers_are_names_too(tmp_path):
    (tmp_path / "data.yaml").write_text("names: [0, 1, 2]")
    assert read_class_names(tmp_path / "data.yaml") == ("0", "1", "2")


BAD_CLASS_FILES = {
    "": "names no class",
    "cat\n\ndog": "class number 1 has the name '', which is empty",
    "cat\ndog\ncat": "2 classes have the name 'cat'",
    "names: [cat": "is not valid yaml",
    "names: " + "[" * 5000: "is not valid yaml",
    "names: cat": "has no list `names`",
    "names: {1: cat, 2: dog}": "has `names` of the classes [1, 2], not 0, 1",
    "names: {0: cat, x: dog}": "has `names` of the classes [0, 'x'], not 0, 1",
    "nc: 3\nnames: [cat, dog]": "has `nc` 3, but `names` of 2 classes",
    "names: [cat, no]": "class number 1 has the name False, not a string",
    "names: [cat, ' ']": "class number 1 has the name ' ', which is empty",
    "names: []": "names no class",
    "a: &a [x, x, x]\nb: &b [*a, *a]\nnames: [*b, *b]": "class number 0 has the name [",
}


@pytest.mark.parametrize("text", BAD_CLASS_FILES, ids=BAD_CLASS_FILES.values())
def test_bad_names_of_classes_are_told(tmp_path, text):
    file = tmp_path / "classes.txt"
    file.write_text(text)
    with pytest.raises(DatasetError) as caught:
        read_class_names(file)
    assert str(caught.value).startswith(f"{file}: ") or len(caught.value.problems) > 1
    assert BAD_CLASS_FILES[text] in str(caught.value)
    assert len(str(caught.value)) < 500


def test_yaml_file_without_names_is_refused(tmp_path):
    (tmp_path / "data.yaml").write_text("cat\ndog\n")
    with pytest.raises(DatasetError, match=r"data\.yaml: has no list `names`"):
        read_class_names(tmp_path / "data.yaml")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"gr\xfcn", "is not UTF-8 text: byte 2 is 0xfc"),
        ("cat".encode("utf-16-le"), "is not UTF-8 text: byte 1 is 0x00"),
        ("cat".encode("utf-16")[:-1], "is not UTF-16 text: byte 6 is 0x74"),
    ],
)
def test_file_in_another_encoding_is_named_with_its_byte(folders, data, message):
    folders.image("a.jpg", "b.jpg")
    folders.put(folders.labels / "a.txt", data)
    folders.text("b.txt", GOOD)
    content, (problem,) = folders.convert("yolo", classes=NAMES, skip_bad=True)
    assert problem.startswith(f"{folders.labels / 'a.txt'}: {message}")
    assert [entry["file_name"] for entry in content["images"]] == ["b.jpg"]
    folders.put(folders.root / "names.txt", data)
    with pytest.raises(DatasetError, match=r"names\.txt: is not UTF-"):
        folders.convert("yolo", classes=folders.root / "names.txt")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_labels_with_an_encoding_mark_are_read(folders, encoding):
    folders.image("a.jpg")
    folders.text("a.txt", GOOD, encoding)
    assert len(folders.convert("yolo", classes=NAMES)[0]["annotations"]) == 1
