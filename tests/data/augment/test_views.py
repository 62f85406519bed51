import dataclasses

import numpy as np
import pytest

from yolact_jax.config import Augment, InputFrame
from yolact_jax.data.augment import view as view_lib
from yolact_jax.data.augment import views
from yolact_jax.data.augment.views import NO_AUGMENTATION
from yolact_jax.data.example import Annotations, Example, Segmentations

HEIGHT, WIDTH = 300, 400
FRAME = InputFrame(550, 550)


def example(boxes_px, crowd=None):
    """An image with boxes (x1, y1, x2, y2) and no segmentations."""
    boxes = np.array(boxes_px, np.float64).reshape(-1, 4)
    n, none = len(boxes), np.zeros(0, np.int64)
    boxes[:, 2:] -= boxes[:, :2]
    segmentations = Segmentations(
        (HEIGHT, WIDTH), np.zeros((0, 2)), none, none, none, (), none.astype(bool)
    )
    annotations = Annotations(
        ids=np.arange(n),
        labels=np.zeros(n, np.int32),
        boxes_xywh_px=boxes,
        areas_px=boxes[:, 2] * boxes[:, 3],
        crowd=np.zeros(n, bool) if crowd is None else np.array(crowd),
        segmentations=segmentations,
    )
    return Example(1, "a.jpg", HEIGHT, WIDTH, b"", annotations)


MIDDLE = [150, 100, 250, 200]


def test_expansion_is_as_documented():
    rng = np.random.default_rng(0)
    start = view_lib.whole(HEIGHT, WIDTH)
    drawn = [views.random_expand(start, rng, 4.0) for _ in range(3000)]
    expanded = [view for view in drawn if view != start]
    assert abs(len(expanded) / 3000 - 0.5) < 0.04
    ratios = np.array([view.width / WIDTH for view in expanded])
    assert 1 <= ratios.min() < 1.05
    assert 3.95 < ratios.max() <= 4
    assert abs(ratios.mean() - 2.5) < 0.06
    for view in expanded:
        assert abs(view.height / HEIGHT - view.width / WIDTH) < 0.01
        assert view.left <= 0 <= view.left + view.width - WIDTH
        assert view.top <= 0 <= view.top + view.height - HEIGHT
    # The image is anywhere on the canvas, evenly.
    rights = [(view.left + view.width - WIDTH) / view.width for view in expanded]
    lefts = [-view.left / view.width for view in expanded]
    assert abs(np.mean(lefts) - np.mean(rights)) < 0.03


def crops(count, min_scale=0.3, boxes=(MIDDLE,)):
    rng = np.random.default_rng(1)
    annotations = example(boxes).annotations
    start = view_lib.whole(HEIGHT, WIDTH)
    return start, [
        views.random_crop(start, annotations, rng, min_scale) for _ in range(count)
    ]


def test_crop_is_as_documented():
    start, drawn = crops(3000)
    parts = [view for view in drawn if view != start]
    assert abs(1 - len(parts) / 3000 - 1 / 6) < 0.03
    sizes = np.array([(view.width, view.height) for view in parts])
    assert (sizes >= np.floor([0.3 * WIDTH, 0.3 * HEIGHT])).all()
    assert (sizes <= [WIDTH, HEIGHT]).all()
    # Sides are cut to whole pixels after their ratio was checked.
    ratios = sizes[:, 1] / sizes[:, 0]
    assert ratios.min() >= 0.49
    assert ratios.max() <= 2.05
    for view in parts:
        assert view.left >= 0
        assert view.top >= 0
        assert view.left + view.width <= WIDTH
        assert view.top + view.height <= HEIGHT
        assert view.contains(np.array([[200.0, 150.0]])).all()


def test_crop_offsets_follow_the_original():
    """Uniform between 1 and the largest offset: the left border is as good as never."""
    everywhere = [
        [x, y, x + 1, y + 1] for x in range(5, 400, 7) for y in range(5, 300, 7)
    ]
    start, drawn = crops(2000, boxes=everywhere)
    parts = [view for view in drawn if view != start]
    relative = [
        (view.left - 1) / (WIDTH - view.width - 1) for view in parts if view.width < 380
    ]
    assert abs(np.mean(relative) - 0.5) < 0.03
    assert np.mean(np.array(relative) < 0.1) == pytest.approx(0.1, abs=0.03)
    assert np.mean([view.left == 0 for view in parts]) < 0.02


def test_crop_never_shows_crowds_only():
    rng = np.random.default_rng(2)
    annotations = example([[0, 0, 40, 40], [300, 200, 390, 290]], [True, False])
    for _ in range(300):
        view = views.random_crop(
            view_lib.whole(HEIGHT, WIDTH), annotations.annotations, rng, 0.3
        )
        assert view.contains(np.array([[345.0, 245.0]])).all()


def test_crop_of_an_image_whose_objects_it_cannot_show_ends():
    rng = np.random.default_rng(2)
    start = view_lib.View(0, 0, 100, 90)
    assert views.random_crop(start, example([MIDDLE]).annotations, rng, 0.3) == start


def test_kept_are_those_with_their_center_inside_and_some_extent():
    boxes = [
        [10, 10, 50, 50],
        [90, 10, 130, 50],  # Centre beyond the right border.
        [60, 10, 139, 50],  # Centre inside, box cut.
        [20, 20, 20, 40],  # No width.
        [20, 20, 20.001, 40],  # As good as no width.
        [20, 20, 21, 40],
    ]
    view = view_lib.View(0, 0, 100, 100)
    kept = views.keep(example(boxes).annotations, view, 550)
    assert kept.tolist() == [0, 2, 5]


def test_flips_fire_half_of_the_time_and_only_if_asked_for():
    rng = np.random.default_rng(0)
    options = Augment(expand=False, crop=False, mirror=True, flip_vertical=True)
    drawn = [views.random_view(example([MIDDLE]), rng, options) for _ in range(1000)]
    flips = np.array([(view.flip_x, view.flip_y) for view in drawn])
    np.testing.assert_allclose(flips.mean(axis=0), 0.5, atol=0.05)
    assert abs(np.corrcoef(flips.T)[0, 1]) < 0.1
    options = Augment(expand=False, crop=False, mirror=True)
    drawn = [views.random_view(example([MIDDLE]), rng, options) for _ in range(100)]
    assert not any(view.flip_y for view in drawn)


def test_without_augmentation_the_view_is_the_image():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        view, kept = views.choose_view(example([MIDDLE]), rng, NO_AUGMENTATION, FRAME)
        assert view == view_lib.whole(HEIGHT, WIDTH)
        assert kept.tolist() == [0]


def test_chosen_view_always_shows_an_object():
    rng = np.random.default_rng(0)
    tiny = example([[200, 100, 200.02, 100.02], [0, 0, 3, 3]])
    for _ in range(200):
        _, kept = views.choose_view(tiny, rng, Augment(), FRAME)
        assert len(kept)


@pytest.mark.parametrize(
    "options",
    [
        Augment(),
        Augment(large_scale_jitter=True),
        Augment(expand=False, crop=False, flip_vertical=True),
        Augment(min_object_px=1e9),
    ],
)
@pytest.mark.parametrize(
    "empty",
    [example([]), example([MIDDLE], [True]), example([[100, 100, 100, 200]])],
    ids=["none", "crowd", "degenerate"],
)
def test_images_without_objects_are_seen_in_as_many_ways_as_others(options, empty):
    """Else a network could tell them by how they are shown."""
    full = example([[0, 0, WIDTH, HEIGHT]])

    def drawn(image):
        rng = np.random.default_rng(3)
        found = [views.choose_view(image, rng, options, FRAME)[0] for _ in range(200)]
        return np.array([dataclasses.astuple(view)[:6] for view in found])

    ways, others = drawn(empty), drawn(full)
    assert len(np.unique(ways, axis=0)) > 0.9 * len(np.unique(others, axis=0))
    scale = others.std(axis=0) + 1e-9
    assert (np.abs(ways.mean(axis=0) - others.mean(axis=0)) / scale < 0.4).all()
    np.testing.assert_allclose(
        ways.std(axis=0) / scale, others.std(axis=0) / scale, atol=0.4
    )


def test_whole_image_is_shown_where_no_part_of_it_shows_an_object():
    """Jitter halves its views, most of which miss an object in the corner."""
    rng = np.random.default_rng(0)
    corner = example([[0, 0, 3, 3]])
    options = Augment(crop=False, expand=False, mirror=False, large_scale_jitter=True)
    wholes = 0
    for _ in range(300):
        view, kept = views.choose_view(corner, rng, options, FRAME)
        assert kept.tolist() == [0]
        wholes += view == view_lib.whole(HEIGHT, WIDTH)
    assert wholes < 30


def test_small_objects_are_left_out_by_their_boxes_in_the_input_and_crowds_are_not():
    small = [[0, 0, 30, 40], [0, 0, 30, 41], [0, 0, 3, 4]]
    few = example(small, crowd=[False, False, True])
    whole = view_lib.whole(HEIGHT, WIDTH)
    area = 30 / WIDTH * 40 / HEIGHT * 550**2
    assert views.keep(few.annotations, whole, 550).tolist() == [0, 1, 2]
    kept = views.keep(few.annotations, whole, 550, min_object_px=1.01 * area)
    assert kept.tolist() == [1, 2]
