"""Anchors against recorded rows of the original and against loops."""

import numpy as np
import pytest

from tests.reference import anchors as ref
from yolact_jax.config import Anchors
from yolact_jax.ops import anchors

RATIOS = (1, 1 / 2, 2)
BASE_SCALES = ((24,), (48,), (96,), (192,), (384,))
# The original truncates the scaled sides to whole pixels.
IM400_SCALES = tuple((int(s / 550 * 400),) for (s,) in BASE_SCALES)
IM700_SCALES = tuple((int(s / 550 * 700),) for (s,) in BASE_SCALES)
PASCAL_SCALES = ((32,), (64,), (128,), (256,), (512,))
PLUS_SCALES = tuple(tuple(s * 2 ** (k / 3) for k in range(3)) for (s,) in BASE_SCALES)


@pytest.mark.parametrize(
    ("input_size", "sizes"),
    [
        (550, (69, 35, 18, 9, 5)),
        (400, (50, 25, 13, 7, 4)),
        (700, (88, 44, 22, 11, 6)),
        (128, (16, 8, 4, 2, 1)),
    ],
)
def test_level_sizes_halve_and_round_up(input_size, sizes):
    assert anchors.level_sizes(input_size) == sizes


def first_level_one_cell(scales, square):
    return anchors.make_anchors((1,), (scales,), RATIOS, 550, square)


def test_order_is_scale_then_ratio_and_half_is_tall():
    cell = first_level_one_cell((100, 200), square=False)
    widths = np.array([100, 100 * 0.5**0.5, 100 * 2**0.5]) / 550
    heights = np.array([100, 100 * 2**0.5, 100 * 0.5**0.5]) / 550
    np.testing.assert_allclose(cell[:3, 2], widths, rtol=1e-6)
    np.testing.assert_allclose(cell[:3, 3], heights, rtol=1e-6)
    np.testing.assert_allclose(cell[3:, 2:], 2 * cell[:3, 2:], rtol=1e-6)
    assert cell[1, 3] > cell[1, 2]


def test_square_anchors_take_the_width_as_height():
    cell = first_level_one_cell((100,), square=True)
    np.testing.assert_array_equal(cell[:, 2], cell[:, 3])
    np.testing.assert_allclose(cell[:, 2] * 550, [100, 70.710678, 141.421356], 1e-6)


@pytest.mark.parametrize(("square", "longer"), [(True, 7), (False, 10)])
def test_smallest_side_is_the_longer_one_of_the_smallest_anchor(square, longer):
    """By hand: a ratio of 1/2 makes 10 / sqrt(2) wide and 10 sqrt(2) high boxes."""
    config = Anchors((*((20.0,),) * 4, (10.0,)), (0.5, 1.0), square)
    assert anchors.smallest_side_px(config) == longer


def test_columns_run_before_rows_before_levels():
    made = anchors.make_anchors((3, 2), ((10,), (20,)), (1,), 100, True)
    third, sixth = 1 / 3, 1 / 6
    assert made.shape == (13, 4)
    np.testing.assert_allclose(made[0, :2], (sixth, sixth), rtol=1e-6)
    np.testing.assert_allclose(made[1, :2], (sixth + third, sixth), rtol=1e-6)
    np.testing.assert_allclose(made[3, :2], (sixth, sixth + third), rtol=1e-6)
    np.testing.assert_allclose(made[10], (0.75, 0.25, 0.2, 0.2), rtol=1e-6)


RECORDED = {
    "base": (
        (550, BASE_SCALES, True),
        {
            0: (0.00724638, 0.00724638, 0.04363636, 0.04363636),
            1: (0.00724638, 0.00724638, 0.03085557, 0.03085557),
            2: (0.00724638, 0.00724638, 0.06171114, 0.06171114),
            3: (0.02173913, 0.00724638, 0.04363636, 0.04363636),
            -1: (0.9, 0.9, 0.98737818, 0.98737818),
        },
        (9624.0, 9624.0, 1301.42031, 1301.42031),
    ),
    "im400": (
        (400, IM400_SCALES, True),
        {
            0: (0.01, 0.01, 0.0425, 0.0425),
            1: (0.01, 0.01, 0.03005204, 0.03005204),
            2: (0.01, 0.01, 0.06010408, 0.06010408),
            3: (0.03, 0.01, 0.0425, 0.0425),
            -1: (0.875, 0.875, 0.98641396, 0.98641396),
        },
        (5038.5, 5038.5, 676.43694, 676.43694),
    ),
    "im700": (
        (700, IM700_SCALES, True),
        {
            0: (0.00568182, 0.00568182, 0.04285714, 0.04285714),
            1: (0.00568182, 0.00568182, 0.03030458, 0.03030458),
            2: (0.00568182, 0.00568182, 0.06060915, 0.06060915),
            3: (0.01704546, 0.00568182, 0.04285714, 0.04285714),
            -1: (0.91666669, 0.91666669, 0.98590887, 0.98590887),
        },
        (15481.5, 15481.5, 2035.79648, 2035.79648),
    ),
    "pascal": (
        (550, PASCAL_SCALES, False),
        {
            0: (0.00724638, 0.00724638, 0.05818182, 0.05818182),
            1: (0.00724638, 0.00724638, 0.04114076, 0.08228152),
            2: (0.00724638, 0.00724638, 0.08228152, 0.04114076),
            -1: (0.9, 0.9, 1.31650424, 0.65825212),
        },
        (9624.0, 9624.0, 1735.22709, 1735.22709),
    ),
    "plus": (
        (550, PLUS_SCALES, False),
        {
            0: (0.00724638, 0.00724638, 0.04363636, 0.04363636),
            1: (0.00724638, 0.00724638, 0.03085557, 0.06171114),
            3: (0.00724638, 0.00724638, 0.05497837, 0.05497837),
            -1: (0.9, 0.9, 1.56736517, 0.78368258),
        },
        (28872.0, 28872.0, 5006.98319, 5006.98319),
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_rows_and_sums_of_the_published_models(name):
    (input_size, scales, square), rows, sums = RECORDED[name]
    sizes = anchors.level_sizes(input_size)
    made = anchors.make_anchors(sizes, scales, RATIOS, input_size, square)
    assert made.dtype == np.float32
    for index, row in rows.items():
        np.testing.assert_allclose(made[index], row, rtol=1e-6, atol=5e-9)
    np.testing.assert_allclose(made.sum(0, dtype=np.float64), sums, rtol=1e-8)
    starts = np.cumsum([0] + [3 * len(scales[0]) * size**2 for size in sizes])
    assert len(made) == starts[-1]
    for level, start in enumerate(starts[:-1]):
        center = 0.5 / sizes[level]
        np.testing.assert_allclose(made[start, :2], center, rtol=1e-6)


@pytest.mark.parametrize("square", [False, True])
def test_agrees_with_loops(square):
    arguments = ((7, 4, 1), ((10, 13), (20, 26), (41, 52)), (1, 0.3, 3), 97, square)
    expected = np.array(ref.anchors(*arguments), np.float32)
    np.testing.assert_array_equal(anchors.make_anchors(*arguments), expected)


def test_scales_for_another_number_of_levels_are_refused():
    with pytest.raises(ValueError, match=r"scales_px.*2 levels"):
        anchors.make_anchors((2, 1), ((10,),), (1,), 16, True)
