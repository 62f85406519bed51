"""Thresholds and classes as users write them, and the arrays they become."""

import math
import re

import numpy as np
import pytest

from yolact_jax.inference.options import PredictOptions

NAMES = ("person", "traffic light", "dog", "18")
IDS = (1, 10, 18, 90)


def choices(**options):
    return PredictOptions(**options).choices(
        NAMES, IDS, candidate_threshold=0.05, iou_threshold=0.5
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.3] * 4),
        ({"score_threshold": 0}, [0] * 4),
        ({"score_threshold": {"dog": 0.6}}, [0.3, 0.3, 0.6, 0.3]),
        ({"score_threshold": {18: 0.6, "*": 1}}, [1, 1, 0.6, 1]),
        ({"classes": "dog"}, [math.inf, math.inf, 0.3, math.inf]),
        ({"classes": 18}, [math.inf, math.inf, 0.3, math.inf]),
        ({"classes": np.array([1, 90])}, [0.3, math.inf, math.inf, 0.3]),
        (
            {"classes": ["18", "dog", 18], "score_threshold": {"18": 0.1}},
            [math.inf, math.inf, 0.3, 0.1],
        ),
    ],
)
def test_score_threshold_of_each_class(options, expected):
    thresholds = choices(**options).score_thresholds
    np.testing.assert_array_equal(thresholds, np.float32(expected))


def test_scalars_are_those_of_the_config_unless_given():
    plain, given = choices(), choices(iou_threshold=0.7, mask_margin=0.25)
    assert (plain.iou_threshold, plain.mask_margin) == (0.5, 0)
    assert (given.iou_threshold, given.mask_margin) == (np.float32(0.7), 0.25)
    assert plain.candidate_threshold == given.candidate_threshold == np.float32(0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": "Dogg"}, "'Dogg', which is no class; did you mean 'dog'?"),
        ({"classes": "zebra"}, "but the classes are person, traffic light, dog, 18."),
        ({"classes": [1, 2]}, "has 2, but the 4 category ids are from 1 to 90."),
        ({"classes": [True]}, "has True; a class is given by its name or its id."),
        ({"classes": [1.0]}, "has 1.0; a class is given by"),
        ({"classes": []}, "`classes` is empty"),
        ({"score_threshold": 1.5}, "`score_threshold` is 1.5; it must be from 0 to 1."),
        ({"score_threshold": math.nan}, "`score_threshold` is nan"),
        ({"score_threshold": True}, "`score_threshold` is True"),
        ({"score_threshold": {"dog": "0.5"}}, "`score_threshold` is '0.5'"),
        ({"score_threshold": {"cat": 0.5}}, "`score_threshold` has 'cat'"),
        ({"score_threshold": {"dog": 0.5, 18: 0.6}}, "has 'dog' twice, with 0."),
        (
            {"score_threshold": {"dog": 0.5}, "classes": "person"},
            "`score_threshold` has 'dog', which `classes` leaves out",
        ),
        ({"mask_margin": -0.1}, "`mask_margin` is -0.1; it must be a number of at"),
        ({"mask_margin": math.inf}, "`mask_margin` is inf"),
        ({"iou_threshold": 2}, "`iou_threshold` is 2; it must be from 0 to 1."),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        choices(**options)


def test_an_overlap_needs_tiles():
    with pytest.raises(
        ValueError, match=r"`overlap` is 0\.5, which is for tiles; give"
    ):
        PredictOptions(overlap=0.5)
    assert PredictOptions(overlap=0.2) == PredictOptions()
    assert PredictOptions(tile=64, overlap=0.5).overlap == 0.5
