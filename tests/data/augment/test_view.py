import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.letterbox import used_of
from yolact_jax.config import InputFrame
from yolact_jax.data.augment import view as view_lib
from yolact_jax.data.augment.view import MEAN_RGB, View, whole

HEIGHT, WIDTH = 37, 53


def picture(seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def draw(image, view, size):
    rows, columns = view.visible(*image.shape[:2])
    at = (rows.start, columns.start)
    return view_lib.draw_view(image[rows, columns], at, view, size)


def slow_bilinear(image, view, height, width):
    """Pastes the image on a canvas, and interpolates at mapped pixel centres."""
    canvas = np.full((view.height + 2, view.width + 2, 3), MEAN_RGB)
    rows, columns = view.visible(*image.shape[:2])
    top, left = rows.start - view.top + 1, columns.start - view.left + 1
    part = image[rows, columns]
    canvas[top : top + len(part), left : left + part.shape[1]] = part
    # Beyond the canvas its border goes on.
    canvas[0], canvas[-1] = canvas[1], canvas[-2]
    canvas[:, 0], canvas[:, -1] = canvas[:, 1], canvas[:, -2]
    drawn = np.zeros((height, width, 3))
    for row in range(height):
        for column in range(width):
            y = (row + 0.5) * view.height / height + 0.5
            x = (column + 0.5) * view.width / width + 0.5
            j, i = int(y), int(x)
            v, u = y - j, x - i
            upper = (1 - u) * canvas[j, i] + u * canvas[j, i + 1]
            lower = (1 - u) * canvas[j + 1, i] + u * canvas[j + 1, i + 1]
            drawn[row, column] = (1 - v) * upper + v * lower
    drawn = drawn[::-1] if view.flip_y else drawn
    return drawn[:, ::-1] if view.flip_x else drawn


VIEWS = [
    whole(HEIGHT, WIDTH),
    View(5, 3, 31, 20),
    View(5, 3, 31, 20, flip_x=True),
    View(-20, -30, 110, 90),
    View(-20, -30, 110, 90, flip_x=True, flip_y=True),
    View(-7, 10, 30, 60, flip_y=True),
    View(40, 30, 25, 12),
    View(-100, -90, 200, 160),
]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size", [(24, 24), (61, 40)])
def test_drawn_view_equals_slow_interpolation(view, size):
    drawn = draw(picture(), view, size)
    error = np.abs(drawn - slow_bilinear(picture(), view, *size))
    # OpenCV's 8-bit weights are of few bits in older versions.
    assert error.max() < 5
    assert error.mean() < 0.6


def test_whole_view_is_what_the_original_resize_gives():
    expected = cv2.resize(picture(), (64, 64), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(draw(picture(), whole(HEIGHT, WIDTH), 64), expected)


def test_expanded_view_agrees_with_pasting_on_a_canvas():
    view = View(-13, -21, 111, 95)
    canvas = np.full((95, 111, 3), np.rint(MEAN_RGB), np.uint8)
    canvas[21 : 21 + HEIGHT, 13 : 13 + WIDTH] = picture()
    expected = cv2.resize(canvas, (80, 80), interpolation=cv2.INTER_LINEAR)
    error = np.abs(draw(picture(), view, 80).astype(int) - expected)
    assert error.max() <= 4


def test_view_beside_the_image_is_of_mean_color():
    drawn = draw(picture(), View(WIDTH + 5, 0, 10, 10), 8)
    np.testing.assert_array_equal(drawn, np.full((8, 8, 3), np.rint(MEAN_RGB)))


def test_drawing_leaves_the_mean_canvas_alone():
    before = draw(picture(), View(100, 0, 9, 9), 30)
    draw(picture(), View(-10, -10, 90, 90), 30)
    np.testing.assert_array_equal(draw(picture(), View(100, 0, 9, 9), 30), before)


def test_boxes_by_hand():
    view = View(10, 20, 40, 80)
    boxes = view.boxes(np.array([[20.0, 40.0, 30.0, 60.0], [0.0, 0.0, 500.0, 60.0]]))
    np.testing.assert_allclose(boxes, [[0.25, 0.25, 0.5, 0.5], [0, 0, 1, 0.5]])
    flipped = View(10, 20, 40, 80, flip_x=True).boxes(
        np.array([[20.0, 40.0, 30.0, 60.0]])
    )
    np.testing.assert_allclose(flipped, [[0.5, 0.25, 0.75, 0.5]])


def test_only_points_strictly_inside_are_contained():
    points = np.array([[10.0, 30.0], [10.001, 30.0], [49.999, 99.9], [50.0, 99.9]])
    inside = View(10, 20, 40, 80).contains(points)
    assert inside.tolist() == [False, True, True, False]
    assert View(10, 20, 40, 80, True, True).contains(points).tolist() == inside.tolist()


views = st.builds(
    View,
    left=st.integers(-50, 50),
    top=st.integers(-50, 50),
    width=st.integers(1, 200),
    height=st.integers(1, 200),
    flip_x=st.booleans(),
    flip_y=st.booleans(),
)


@settings(max_examples=50)
@given(views, st.integers(0, 100))
def test_mirroring_twice_is_the_identity(view, seed):
    points = np.random.default_rng(seed).uniform(-100, 100, (7, 2))
    original = points.copy()
    mapped = view.points(points)
    np.testing.assert_array_equal(points, original)
    back = mapped.copy()
    back[:, 0] = 1 - back[:, 0] if view.flip_x else back[:, 0]
    back[:, 1] = 1 - back[:, 1] if view.flip_y else back[:, 1]
    back = back * (view.width, view.height) + (view.left, view.top)
    np.testing.assert_allclose(back, points, atol=1e-9)
    image = picture(seed)
    mirrored = draw(image, View(0, 0, WIDTH, HEIGHT, flip_x=True), 40)
    np.testing.assert_array_equal(
        mirrored[:, ::-1], draw(image, whole(HEIGHT, WIDTH), 40)
    )


frames = st.builds(
    InputFrame, st.integers(1, 60), st.integers(1, 60), letterbox=st.booleans()
)


@settings(max_examples=80)
@given(views, frames)
def test_positions_are_where_points_come_from(view, frame):
    put = view.put_on(frame)
    x, y = put.source_positions(frame.size)
    corners = [[x[0], y[0]], [x[-1], y[-1]]]
    height, width = frame.size
    expected = [[0.5 / width, 0.5 / height], [1 - 0.5 / width, 1 - 0.5 / height]]
    np.testing.assert_allclose(put.points(np.array(corners)), expected, atol=1e-9)


@settings(max_examples=80)
@given(views, frames)
def test_boxes_come_back_from_a_letterbox(view, frame):
    """Pixels of the frame and of the image differ by one factor, up to rounding."""
    frame = dataclasses.replace(frame, letterbox=True)
    rows, columns = used_of(frame.size, (view.height, view.width))
    inside = np.array([[0, 0, view.width, view.height]]) + [view.left, view.top] * 2
    put = view.put_on(frame)
    pixels = put.boxes(inside.astype(float)) * (frame.size[::-1] * 2)
    np.testing.assert_allclose(pixels, [[0, 0, columns, rows]], atol=1e-9)
    beyond = put.boxes((inside + [-9, -9, 9, 9]).astype(float))
    np.testing.assert_allclose(beyond * (frame.size[::-1] * 2), pixels, atol=1e-9)
    back = pixels[0, 2:] * [view.width / columns, view.height / rows]
    np.testing.assert_allclose(back, [view.width, view.height])


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size", [(24, 61), (40, 40), (90, 30)])
def test_letterboxed_view_is_drawn_at_its_size_and_padded(view, size):
    rows, columns = used_of(size, (view.height, view.width))
    found = draw(picture(), view.put_on(InputFrame(*size, letterbox=True)), size)
    expected = draw(picture(), view, (rows, columns))
    np.testing.assert_array_equal(found[:rows, :columns], expected)
    for padding in (found[rows:], found[:, columns:]):
        assert (padding == np.rint(MEAN_RGB)).all()


def test_finish_changes_the_image_but_not_the_color_around_it():
    patch = np.random.default_rng(0).integers(0, 256, (31, 47, 3), np.uint8)
    for view in (
        View(-10, -5, 70, 50),
        View(-40, 0, 200, 31, flip_x=True),
        View(0, 0, 47, 31, flip_y=True),
    ):
        expected = view_lib.draw_view(255 - patch, (0, 0), view, 60)
        found = view_lib.draw_view(patch, (0, 0), view, 60, finish=np.bitwise_not)
        # A linear change may come first or last, up to rounding.
        assert np.abs(found.astype(int) - expected).max() <= 1
