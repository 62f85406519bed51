"""Drawings, tested by the pixels that must change and those that must not."""

import cv2
import numpy as np
import pytest

from yolact_jax.results import draw
from yolact_jax.results.instances import Instances

NAMES = ["cat", "dog"]
PLAIN = {"boxes": False, "labels": False}


def make_instances(boxes, scores, labels=None, size=(60, 80), masked=True):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    masks = np.zeros((len(boxes), *size), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int), strict=True):
        mask[y1:y2, x1:x2] = masked
    labels = np.zeros(len(boxes)) if labels is None else np.array(labels)
    return Instances(boxes, np.array(scores, np.float32), labels.astype(int), masks)


def gray(height=60, width=80):
    return np.full((height, width, 3), 100, np.uint8)


def blend(*colors):
    value = np.array([100.0] * 3)
    for color in colors:
        value = np.round(0.55 * value + 0.45 * np.array(color))
    return value.astype(np.uint8).tolist()


RED, BLUE = (244, 67, 54), (33, 150, 243)  # colours 0 and 5 of the palette


def test_palette_is_that_of_the_original():
    assert draw.PALETTE.shape == (19, 3)
    assert draw.PALETTE[0].tolist() == list(RED)
    assert draw.PALETTE[5].tolist() == list(BLUE)
    assert draw.PALETTE[18].tolist() == [96, 125, 139]
    assert len({tuple(color) for color in draw.PALETTE.tolist()}) == 19


def test_mask_is_blended_and_the_rest_untouched():
    instances = make_instances([(20, 10, 60, 50)], [0.9])
    picture = draw.draw_instances(gray(), instances, NAMES, **PLAIN)
    assert picture.shape == (60, 80, 3)
    assert picture.dtype == np.uint8
    assert picture[30, 40].tolist() == blend(RED)
    assert (picture[~instances.masks[0]] == 100).all()


def test_outline_is_stronger_than_the_mask():
    instances = make_instances([(20, 10, 60, 50)], [0.9])
    picture = draw.draw_instances(gray(), instances, NAMES, **PLAIN)
    color = np.array(RED)
    edge, inside = (abs(picture[y, 40] - color).max() for y in (10, 30))
    assert edge < 0.55 * inside


def test_highest_score_is_on_top_whatever_the_order():
    boxes = [(10, 10, 50, 50), (20, 20, 70, 55)]
    instances = make_instances(boxes, [0.5, 0.9])
    picture = draw.draw_instances(gray(), instances, NAMES, **PLAIN)
    # Rank 0 is the second instance; it is blended last.
    assert picture[35, 60].tolist() == blend(RED)
    assert picture[15, 30].tolist() == blend(BLUE)
    np.testing.assert_allclose(picture[35, 35], blend(BLUE, RED), atol=1)


def test_color_by_class_gives_a_class_one_color():
    boxes = [(5, 5, 25, 25), (30, 5, 50, 25), (55, 5, 75, 25)]
    instances = make_instances(boxes, [0.9, 0.8, 0.7], [1, 0, 1])
    picture = draw.draw_instances(gray(), instances, NAMES, color_by="class", **PLAIN)
    colors = [picture[15, x].tolist() for x in (15, 40, 65)]
    assert colors == [blend(BLUE), blend(RED), blend(BLUE)]


def test_low_scores_and_surplus_instances_are_left_out():
    boxes = [(5, 5, 25, 25), (30, 5, 50, 25), (55, 5, 75, 25)]
    instances = make_instances(boxes, [0.9, 0.5, 0.2])
    picture = draw.draw_instances(
        gray(), instances, NAMES, score_threshold=0.4, max_instances=1
    )
    assert (picture[:, 55:] == 100).all()
    picture = draw.draw_instances(
        gray(), instances, NAMES, score_threshold=0.0, max_instances=2, **PLAIN
    )
    assert (picture[15, 40] != 100).any()
    assert (picture[:, 55:] == 100).all()


def test_box_is_drawn_inside_its_pixels():
    instances = make_instances([(20, 10, 60, 50)], [0.9], masked=False)
    picture = draw.draw_instances(gray(), instances, NAMES, labels=False)
    changed = (picture != 100).any(-1)
    expected = np.zeros((60, 80), bool)
    expected[10:50, 20:60] = True
    expected[11:49, 21:59] = False
    np.testing.assert_array_equal(changed, expected)
    assert (picture[changed] == RED).all()


@pytest.mark.parametrize(
    "box", [(0, 0, 80, 60), (70, 50, 80, 60), (0, 0, 3, 3), (78, 0, 80, 2)]
)
def test_label_is_inside_the_picture(box):
    instances = make_instances([box], [0.9], masked=False)
    picture = draw.draw_instances(gray(), instances, NAMES, boxes=False)
    ys, xs = np.nonzero((picture != 100).any(-1))
    assert np.ptp(ys) + 1 >= 12
    assert np.ptp(xs) + 1 >= 30
    assert len(ys) == (np.ptp(ys) + 1) * (np.ptp(xs) + 1)  # whole, not clipped
    assert picture[(picture != 100).any(-1)].max() > 240  # it holds white text


@pytest.mark.parametrize("box", [(0, 8, 20, 14), (70, 5, 80, 14)])
def test_label_is_whole_in_a_flat_picture(box):
    instances = make_instances([box], [0.9], size=(14, 80), masked=False)
    picture = draw.draw_instances(gray(14), instances, NAMES, boxes=False)
    changed = (picture != 100).any(-1)
    assert changed.any(1).sum() == 12
    assert changed.sum() == 12 * changed.any(0).sum()


def test_labels_of_one_place_do_not_cover_each_other():
    boxes = [(50, 50, 110, 110)] * 4
    instances = make_instances(
        boxes, [0.9, 0.8, 0.7, 0.6], size=(160, 200), masked=False
    )
    picture = draw.draw_instances(gray(160, 200), instances, NAMES, boxes=False)
    alone = draw.draw_instances(
        gray(160, 200), instances, NAMES, boxes=False, max_instances=1
    )
    changed, changed_alone = ((p != 100).any(-1).sum() for p in (picture, alone))
    assert changed >= 3.9 * changed_alone


def test_long_label_is_shrunk_to_a_small_picture():
    instances = make_instances([(0, 0, 9, 9)], [0.9], size=(10, 16))
    picture = draw.draw_instances(gray(10, 16), instances, ["long name" * 9])
    assert picture.shape == (10, 16, 3)


def test_scale_enlarges_picture_masks_and_boxes():
    instances = make_instances([(20, 10, 60, 50)], [0.9])
    picture = draw.draw_instances(gray(), instances, NAMES, scale=3, labels=False)
    assert picture.shape == (180, 240, 3)
    assert picture[90, 120].tolist() == blend(RED)
    assert picture[30, 120].tolist() == list(RED)  # the top edge of the box
    assert (picture[:27] == 100).all()
    assert (picture[:, 184:] == 100).all()


def test_no_instances_and_empty_masks_give_the_picture_back():
    image = np.arange(60 * 80 * 3, dtype=np.uint8).reshape(60, 80, 3)
    nothing = make_instances([], [])
    np.testing.assert_array_equal(draw.draw_instances(image, nothing, NAMES), image)
    empty = make_instances([(9, 9, 9, 9)], [0.9])
    np.testing.assert_array_equal(
        draw.draw_instances(image, empty, NAMES, **PLAIN), image
    )


def test_image_is_not_modified():
    image = gray()
    instances = make_instances([(20, 10, 60, 50)], [0.9])
    draw.draw_instances(image, instances, NAMES)
    assert (image == 100).all()


def test_grid_centers_pictures_of_different_sizes():
    pictures = [np.full((h, w, 3), h, np.uint8) for h, w in [(4, 6), (2, 3), (8, 4)]]
    grid = draw.image_grid(pictures, 2, margin=2, background=(9, 8, 7))
    assert grid.shape == (4 + 2 + 8, 6 + 2 + 3, 3)
    assert (grid[:4, :6] == 4).all()
    assert (grid[1:3, 8:11] == 2).all()
    assert (grid[6:14, 1:5] == 8).all()
    assert (grid == (9, 8, 7)).all(-1).sum() == 14 * 11 - 24 - 6 - 32


def test_grid_is_no_wider_than_its_pictures():
    assert draw.image_grid([gray()] * 2, 5, margin=1).shape == (60, 161, 3)


def test_png_keeps_every_pixel_and_leaves_no_temporary_file(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3)).astype(np.uint8)
    path = tmp_path / "picture.png"
    path.write_text("old")
    draw.write_picture(path, image)
    read = cv2.imread(str(path))[..., ::-1]
    np.testing.assert_array_equal(read, image)
    assert list(tmp_path.iterdir()) == [path]


def test_bad_input_is_named(tmp_path):
    instances = make_instances([(20, 10, 60, 50)], [0.9], [1])
    with pytest.raises(ValueError, match="image is float32"):
        draw.draw_instances(gray().astype(np.float32), instances, NAMES)
    with pytest.raises(ValueError, match=r"masks are \(60, 80\), must be \(60, 81\)"):
        draw.draw_instances(gray(60, 81), instances, NAMES)
    with pytest.raises(ValueError, match="label 1 is not in class_names"):
        draw.draw_instances(gray(), instances, ["cat"])
    with pytest.raises(ValueError, match="color_by is 'size'"):
        draw.draw_instances(gray(), instances, NAMES, color_by="size")
    with pytest.raises(ValueError, match="0 images and 2 columns"):
        draw.image_grid([], 2)
    with pytest.raises(ValueError, match=r"images\[1\] is uint8 \(60, 80\)"):
        draw.image_grid([gray(), gray()[..., 0]], 2)
    with pytest.raises(ValueError, match="image is float64"):
        draw.write_picture(tmp_path / "x.png", np.zeros((2, 2, 3)))


def test_crowded_pictures_have_no_labels_unless_asked_for():
    for count, labeled in ((25, True), (26, False)):
        instances = make_instances([[10, 20, 30, 40]] * count, [0.9] * count)
        default = draw.draw_instances(gray(), instances, NAMES)
        with_labels = draw.draw_instances(gray(), instances, NAMES, labels=True)
        assert np.array_equal(default, with_labels) == labeled
