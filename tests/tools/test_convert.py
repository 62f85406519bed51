import json

import cv2
import numpy as np
import pytest
import simplejpeg
from pycocotools import mask as coco_mask

from yolact_jax.data.sources.coco_builder import prepare_coco
from yolact_jax.tools import convert

HEIGHT, WIDTH = 40, 60
TRIANGLE = [[5.5, 4.0], [30.25, 8.0], [12.0, 33.5]]
SQUARE = [[40.0, 10.0], [55.0, 10.0], [55.0, 25.0], [40.0, 25.0]]


@pytest.fixture
def folders(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for place, name in enumerate(("a", "b")):
        pixels = np.full((HEIGHT, WIDTH, 3), 90 * place, np.uint8)
        (tmp_path / "images" / f"{name}.jpg").write_bytes(
            simplejpeg.encode_jpeg(pixels)
        )
    return tmp_path


def run(folders, kind, *more):
    out = folders / "made" / "train.json"
    convert.main(
        [kind, f"--annotations={folders / 'labels'}", f"--images={folders / 'images'}"]
        + [f"--out={out}", *map(str, more)]
    )
    return json.loads(out.read_text())


def read_back(folders):
    """The annotations of image "a" after preparing records of the json file."""
    dataset = prepare_coco(
        data_dir=folders / "records",
        train_annotations=folders / "made" / "train.json",
        train_images=folders / "images",
        validation_annotations=None,
        validation_images=None,
    )
    source = dataset.source("train")
    assert [example.file_name for example in source] == ["a.jpg", "b.jpg"]
    assert len(source[1].annotations) == 0
    return dataset, source[0].annotations


def flat(points):
    return [value for point in points for value in point]


def shape(label, points, kind="polygon", group=None):
    return {"label": label, "points": points, "shape_type": kind, "group_id": group}


def write_labelme(folders, shapes, name="a"):
    content = {"version": "5.4.1", "shapes": shapes, "imagePath": f"{name}.jpg"}
    (folders / "labels" / f"{name}.json").write_text(json.dumps(content))


def test_labelme_outlines_come_through_exactly(folders, capsys):
    shapes = [shape("dog", TRIANGLE), shape("cat", SQUARE)]
    write_labelme(folders, shapes)
    content = run(folders, "labelme")
    assert "2 images, 2 annotations, 2 categories" in capsys.readouterr().out
    assert content["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    dog, cat = content["annotations"]
    assert dog["segmentation"] == [flat(TRIANGLE)]
    assert dog["bbox"] == [5.5, 4.0, 24.75, 29.5]
    assert cat["area"] == 15 * 15
    dataset, annotations = read_back(folders)
    assert dataset.class_names == ("cat", "dog")
    assert annotations.labels.tolist() == [1, 0]
    np.testing.assert_array_equal(
        annotations.segmentations.points_px, TRIANGLE + SQUARE
    )


def test_labelme_groups_rectangles_and_circles(folders):
    grouped = [shape("cat", TRIANGLE, group=3), shape("cat", SQUARE, group=3)]
    other = shape("dog", SQUARE, group=3)
    rectangle = shape("cat", [[40, 10], [55, 25]], "rectangle")
    circle = shape("cat", [[20, 20], [20, 30]], "circle")
    write_labelme(folders, [*grouped, other, rectangle, circle])
    both, dog, box, disc = run(folders, "labelme")["annotations"]
    assert both["segmentation"] == [flat(TRIANGLE), flat(SQUARE)]
    assert dog["category_id"] == 2
    assert box["segmentation"] == [flat(SQUARE)]
    np.testing.assert_allclose(disc["bbox"], [10, 10, 20, 20])
    assert disc["area"] == pytest.approx(np.pi * 100, rel=0.03)


def test_yolo_outlines_come_through_within_rounding(folders):
    names = folders / "names.txt"
    names.write_text("cat\ndog\nbird\n")
    values = flat(np.array(TRIANGLE) / (WIDTH, HEIGHT))
    line = " ".join(["1", *(f"{value:.6f}" for value in values)])
    (folders / "labels" / "a.txt").write_text(f"{line}\n\n")
    content = run(folders, "yolo", f"--classes={names}")
    (annotation,) = content["annotations"]
    assert annotation["category_id"] == 2
    np.testing.assert_allclose(annotation["segmentation"][0], flat(TRIANGLE), atol=1e-4)
    dataset, annotations = read_back(folders)
    # Classes that do not occur keep their place.
    assert dataset.class_names == ("cat", "dog", "bird")
    assert annotations.labels.tolist() == [1]


def numbered():
    numbers = np.zeros((HEIGHT, WIDTH), np.uint16)
    numbers[5:20, 5:30], numbers[8:12, 10:14] = 7, 300
    return numbers


def png(folders, *parts, numbers=None):
    path = folders.joinpath("labels", *parts)
    path.parent.mkdir(exist_ok=True)
    numbers = numbered() if numbers is None else numbers
    path.write_bytes(cv2.imencode(".png", numbers)[1].tobytes())


def test_png_masks_come_through_pixel_by_pixel(folders):
    png(folders, "a.png")
    content = run(folders, "png", "--class-name=cell")
    assert content["categories"] == [{"id": 1, "name": "cell"}]
    assert [entry["bbox"] for entry in content["annotations"]] == [
        [5, 5, 25, 15],
        [10, 8, 4, 4],
    ]
    assert [entry["area"] for entry in content["annotations"]] == [25 * 15 - 16, 16]
    _, annotations = read_back(folders)
    strings = annotations.segmentations.rle_counts
    for number, counts in zip((7, 300), strings, strict=True):
        found = coco_mask.decode({"size": [HEIGHT, WIDTH], "counts": counts})
        np.testing.assert_array_equal(found, numbered() == number)


def test_png_folders_are_classes(folders):
    png(folders, "dog", "a.png")
    png(folders, "cat", "a.png", numbers=(numbered() == 7).astype(np.uint8))
    content = run(folders, "png")
    assert [entry["name"] for entry in content["categories"]] == ["cat", "dog"]
    assert [entry["category_id"] for entry in content["annotations"]] == [1, 2, 2]


def refused(folders, kind, *more):
    with pytest.raises(SystemExit) as caught:
        run(folders, kind, *more)
    assert not (folders / "made").exists()
    return str(caught.value)


def test_all_problems_of_labelme_files_are_told(folders):
    write_labelme(folders, [shape("cat", SQUARE, "linestrip")])
    write_labelme(folders, [shape("cat", SQUARE[:2])], name="b")
    write_labelme(folders, [], name="c")
    message = refused(folders, "labelme")
    assert "a.json: is not" in message
    assert "a shape of type 'linestrip'" in message
    assert "b.json: is not" in message
    assert "a polygon of 2 points" in message
    assert "c.json: has no image of that name" in message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3 0 0 1 0 1 1", "a.txt: line 1 has class 3, but there are names for 0 to 1"),
        ("0 0.5 0.5 0.1 0.1", "outline of 4 numbers"),
        ("0 0 0 1 0 1 1.5", "a coordinate that is not in 0..1"),
        ("cat 0 0 1 0 1 1", "is not a class and numbers"),
    ],
)
def test_bad_yolo_line_is_named(folders, line, message):
    names = folders / "names.txt"
    names.write_text("cat\ndog\n")
    (folders / "labels" / "a.txt").write_text(line)
    assert message in refused(folders, "yolo", f"--classes={names}")


def test_bad_png_masks_are_named(folders):
    png(folders, "a.png", numbers=np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    png(folders, "b.png", numbers=np.zeros((WIDTH, HEIGHT), np.uint8))
    message = refused(folders, "png")
    assert "a.png: is not a PNG file with one channel" in message
    assert "b.png: has 60 x 40 pixels (height x width), but the image has 40" in message


def test_nothing_to_convert_is_refused(folders):
    assert "no image has an object" in refused(folders, "labelme")
    (folders / "labels").rmdir()
    assert "labels: there is no such folder" in refused(folders, "labelme")
