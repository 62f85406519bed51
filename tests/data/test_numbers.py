import math

import pytest

from yolact_jax.data import numbers


@pytest.mark.parametrize("value", [0, -7, 2**63 - 1, -(2**63)])
def test_integers_of_64_bits_are_ids_and_numbers(value):
    assert numbers.is_int(value)
    assert numbers.int_problem(value) is None
    assert numbers.is_number(value)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 2**100, 10**400])
def test_larger_integers_are_neither_and_are_shown_short(value):
    assert not numbers.is_int(value)
    assert not numbers.is_number(value)
    assert "does not fit 64 bits" in numbers.int_problem(value)
    assert len(numbers.int_problem(value)) < 120


@pytest.mark.parametrize("value", [True, "5", None, [1], {}, math.nan, math.inf])
def test_other_values_are_neither(value):
    assert not numbers.is_int(value)
    assert not numbers.is_number(value)
    assert numbers.int_problem(value) == f"{value!r}, not an integer"
    assert "not a finite number" in numbers.coordinate_problem([1, value], (40, 60))


def test_coordinates_reach_a_hundred_sides():
    assert numbers.coordinate_problem([6000, -6000.0], (40, 60)) is None
    for far in (6000.5, -6001, 1e9, -2147483648, 1e308, 2**62):
        problem = numbers.coordinate_problem([0, far], (40, 60))
        assert problem.startswith(
            f"{far}, more than 100 sides away from the image of 40"
        )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0, not a positive integer"),
        (2.0, "2.0, not a positive integer"),
        (65_536, "65536, more than 65535 pixels"),
        (1, None),
        (65_535, None),
    ],
)
def test_sides_of_images(value, expected):
    assert numbers.side_problem(value) == expected


def test_names_are_text():
    assert numbers.text_problem("Ünï 🐕") is None
    assert numbers.text_problem(5) == "5, not a string"
    assert "not text" in numbers.text_problem("\ud83d")


def test_long_and_deep_values_are_cut():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for value in ("x" * 10**6, list(range(10**6)), deep, {"a" * 999: "b" * 999}):
        assert len(numbers.shown(value)) < 250
