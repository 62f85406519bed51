import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from tests.helpers.label_folders import (
    HEIGHT,
    SQUARE,
    TRIANGLE,
    WIDTH,
    mask_shape,
    shape,
)
from yolact_jax.data.errors import DatasetError


def flat(points):
    return [value for point in points for value in point]


def decoded(annotation):
    counts = annotation["segmentation"]["counts"].encode()
    return coco_mask.decode({"size": [HEIGHT, WIDTH], "counts": counts})


def test_outlines_are_exact(folders):
    folders.image("a.jpg", "b.jpg")
    folders.labelme("a.json", shape("dog", TRIANGLE), shape("cat", SQUARE))
    content, skipped = folders.convert("labelme")
    assert not skipped
    assert [entry["file_name"] for entry in content["images"]] == ["a.jpg", "b.jpg"]
    assert content["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    dog, cat = content["annotations"]
    assert dog["segmentation"] == [flat(TRIANGLE)]
    assert dog["bbox"] == [5.5, 4.0, 24.75, 29.5]
    assert cat["area"] == 15 * 15


def test_groups_rectangles_and_circles(folders):
    folders.image("a.jpg")
    folders.labelme(
        "a.json",
        shape("cat", TRIANGLE, group=3),
        shape("cat", SQUARE, group=3),
        shape("dog", SQUARE, group=3),
        shape("cat", [[40, 10], [55, 25]], "rectangle"),
        shape("cat", [[20, 20], [20, 30]], "circle"),
    )
    both, dog, box, disc = folders.convert("labelme")[0]["annotations"]
    assert both["segmentation"] == [flat(TRIANGLE), flat(SQUARE)]
    assert dog["category_id"] == 2
    assert box["segmentation"] == [flat(SQUARE)]
    np.testing.assert_allclose(disc["bbox"], [10, 10, 20, 20])
    assert disc["area"] == pytest.approx(np.pi * 100, rel=0.03)


def test_masks_are_read_pixel_by_pixel(folders):
    mask = np.zeros((12, 20), np.uint8)
    mask[2:9, 3:17] = 255
    mask[4, 5] = 0
    folders.image("a.jpg")
    folders.labelme("a.json", mask_shape("cat", (10, 25), mask))
    (annotation,) = folders.convert("labelme")[0]["annotations"]
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[25:37, 10:30] = mask > 0
    np.testing.assert_array_equal(decoded(annotation), expected)
    assert annotation["area"] == expected.sum()
    assert annotation["bbox"] == [13, 27, 14, 7]


def test_a_size_in_fractions_is_one_of_integers(folders):
    folders.image("a.jpg")
    parts = shape("cat", SQUARE), mask_shape("cat", (0, 0), np.full((9, 9), 255))
    size = {"imageHeight": float(HEIGHT), "imageWidth": float(WIDTH)}
    folders.labelme("a.json", *parts, **size)
    content = folders.convert("labelme")[0]
    assert json.dumps(content["images"][0]["height"]) == str(HEIGHT)
    assert json.dumps(content["annotations"][1]["segmentation"]["size"][0]) == str(
        HEIGHT
    )


def test_mask_and_outline_of_one_group_are_united(folders):
    mask = np.full((10, 10), 255, np.uint8)
    folders.image("a.jpg")
    parts = mask_shape("cat", (0, 0), mask, group_id=1), shape("cat", SQUARE, group=1)
    folders.labelme("a.json", *parts)
    (annotation,) = folders.convert("labelme")[0]["annotations"]
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[:10, :10] = expected[10:25, 40:55] = 1
    np.testing.assert_array_equal(decoded(annotation), expected)


def test_points_up_to_a_hundredth_outside_are_moved_in(folders):
    folders.image("a.jpg")
    near = [[-0.5, 5], [60.5, 5], [60.5, 40.3], [-0.1, 40.3]]
    far = [[-9, 5], [30, 5], [30, 20]]
    folders.labelme("a.json", shape("cat", near), shape("cat", far))
    inside, reaching = folders.convert("labelme")[0]["annotations"]
    assert inside["segmentation"] == [[0, 5, 60, 5, 60, 40, 0, 40]]
    assert inside["bbox"] == [0, 5, 60, 35]
    assert reaching["segmentation"] == [flat(far)]
    assert reaching["bbox"] == [0, 5, 30, 15]


GOOD = shape("cat", SQUARE)
BAD_SHAPES = [
    (shape("cat", SQUARE[:1], "point"), "is of type 'point', which has no area"),
    (shape("cat", SQUARE, "linestrip"), "is of type 'linestrip'"),
    (shape("cat", SQUARE, ["polygon"]), "is of type ['polygon']"),
    (shape("cat", SQUARE[:2]), "an outline of 2 points"),
    (shape("cat", SQUARE[:1], "circle"), "is a circle of 1 points"),
    (shape("cat", [[1, 2, 3], *SQUARE]), "has the point [1, 2, 3], not two numbers"),
    (shape("cat", "abc"), "has `points` 'abc', not a list"),
    (shape("cat", None), "has `points` None, not a list"),
    (shape("cat", [["1", 2], *SQUARE]), "has the coordinate '1'"),
    (shape("cat", [[float("nan"), 2], *SQUARE]), "has the coordinate nan"),
    (shape("cat", [[1e9, 2], *SQUARE]), "more than 100 sides away"),
    (shape("cat", [[-(2**31), 2], *SQUARE]), "more than 100 sides away"),
    (shape("cat", [[2**63, 2], *SQUARE]), "which is not a finite number"),
    (shape("cat", [[10**400, 2], *SQUARE]), "which is not a finite number"),
    (shape("cat", [[1e9, 2], [3, 4]], "circle"), "more than 100 sides away"),
    (shape("cat", [[x + 70, y] for x, y in SQUARE]), "is outside the image"),
    (shape(3, SQUARE), "has `label` 3, not a string"),
    (shape(" ", SQUARE), "has `label` ' ', which is empty"),
    (shape("\ud800", SQUARE), "which is not text"),
    (shape("cat", SQUARE, group=[1]), "has `group_id` [1], not a number or a name"),
    (7, "is 7, not an object"),
    (shape("cat", SQUARE[:2], "mask"), "has a `mask` that is not base64"),
    (shape("cat", SQUARE[:2], "mask", mask="é"), "has a `mask` that is not base64"),
    (shape("cat", SQUARE[:2], "mask", mask="AAAA"), "is not a sound PNG file"),
    (mask_shape("cat", (0, 0), np.zeros((9, 9), np.uint8)), "a `mask` without pixels"),
    (mask_shape("cat", (55, 0), np.ones((9, 9), np.uint8)), "pixels outside the image"),
    (mask_shape("cat", (0, 0), np.ones((99, 9), np.uint8)), "more than the image"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_SHAPES, ids=[m for _, m in BAD_SHAPES])
def test_bad_shape_is_named_and_can_be_left_out(folders, bad, message):
    folders.image("a.jpg")
    folders.labelme("a.json", bad, GOOD)
    with pytest.raises(DatasetError) as caught:
        folders.convert("labelme")
    (problem,) = caught.value.problems
    assert problem.startswith(f"{folders.labels / 'a.json'}: shape 0 ")
    assert message in problem
    assert len(problem) < 500
    content, skipped = folders.convert("labelme", skip_bad=True)
    assert skipped == [problem]
    assert [entry["bbox"] for entry in content["annotations"]] == [[40, 10, 15, 15]]


BAD_FILES = {
    "[]": "is not a json file of labelme",
    '{"shapes": 3}': "is not a json file of labelme",
    '{"shapes": [': "is not valid json",
    '{"shapes": ' + "[" * 100_000: "is not valid json",
    '{"shapes": [' + "1" * 5000 + "]}": "is not valid json",
    json.dumps({"shapes": [], "imageHeight": 60, "imageWidth": 40}): (
        "has 60 x 40 pixels (height x width), but the image has 40 x 60"
    ),
    json.dumps({"shapes": [], "imageHeight": "a" * 9999, "imageWidth": 40}): "but the",
}


@pytest.mark.parametrize("text", BAD_FILES, ids=BAD_FILES.values())
def test_image_of_an_unreadable_file_is_left_out(folders, text):
    folders.image("a.jpg", "b.jpg")
    folders.text("a.json", text)
    folders.labelme("b.json", GOOD)
    content, (problem,) = folders.convert("labelme", skip_bad=True)
    assert problem.startswith(f"{folders.labels / 'a.json'}: ")
    assert BAD_FILES[text] in problem
    assert len(problem) < 500
    assert [entry["file_name"] for entry in content["images"]] == ["b.jpg"]


def test_all_problems_of_all_files_are_told(folders):
    folders.image("a.jpg", "b.jpg")
    folders.labelme("a.json", *[bad for bad, _ in BAD_SHAPES])
    folders.labelme("b.json", shape("cat", []))
    folders.labelme("c.json", GOOD)
    with pytest.raises(DatasetError) as caught:
        folders.convert("labelme")
    assert len(caught.value.problems) == len(BAD_SHAPES) + 2
    assert not folders.out.exists()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_of_json(folders, encoding):
    folders.image("a.jpg")
    text = json.dumps({"shapes": [shape("grün", SQUARE)]}, ensure_ascii=False)
    folders.text("a.json", text, encoding)
    content, _ = folders.convert("labelme")
    assert content["categories"] == [{"id": 1, "name": "grün"}]
