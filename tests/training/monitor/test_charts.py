"""Charts show every value where it belongs, at round numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolact_jax.training.monitor.charts import Line, draw_chart, log_ticks, ticks

BLUE = (0, 114, 178)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_round_and_inside(low, extent):
    values = ticks(low, low + extent)
    assert 2 <= len(values) <= 7
    assert values[0] >= low
    assert values[-1] <= low + extent + 1e-9 * abs(low)
    step = values[1] - values[0]
    digits = step / 10 ** np.floor(np.log10(step) + 1e-6)
    assert any(np.isclose(digits, d, rtol=1e-3) for d in (1, 2, 5))


@given(st.floats(-6, 6), st.floats(0.8, 12))
def test_log_ticks_are_few_and_inside(low, extent):
    values = log_ticks(low, low + extent)
    assert 1 <= len(values) <= 14
    assert low <= values[0]
    assert values[-1] <= low + extent


def where(picture, color):
    """Rows and columns of a colour."""
    return np.nonzero((np.abs(picture.astype(int) - color) < 30).all(-1))


@pytest.mark.parametrize("log_y", [False, True])
def test_line_runs_from_corner_to_corner(log_y):
    x = np.arange(100.0)
    y = 10 ** (x / 50) if log_y else x
    empty = Line("none", x[:0], x[:0])
    picture = draw_chart("t", [empty, Line("rising", x, y)], log_y=log_y)
    assert picture.shape == (400, 640, 3)
    rows, columns = where(picture[60:], BLUE)
    left, right = columns.argmin(), columns.argmax()
    assert rows[left] > rows[right]
    # Straight, also where the axis is logarithmic.
    slope, offset = np.polyfit(columns, rows, 1)
    assert np.abs(rows - (slope * columns + offset)).max() < 4


def test_values_that_are_not_finite_leave_a_gap():
    x = np.arange(200.0)
    y = np.where((x > 80) & (x < 120), np.nan, 1 + x)
    empty = Line("none", x[:0], x[:0])
    columns = np.unique(where(draw_chart("t", [empty, Line("l", x, y)])[60:], BLUE)[1])
    assert np.diff(columns).max() > 50
    assert len(columns) > 300


def test_nothing_to_draw_is_an_empty_chart():
    for lines in ([], [Line("a", np.zeros(1), np.full(1, np.nan))]):
        assert draw_chart("t", lines, log_y=True).shape == (400, 640, 3)
