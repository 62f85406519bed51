"""Thresholds and classes on the command line."""

import re

import pytest
from absl import flags

from yolact_jax.inference.options import PredictOptions
from yolact_jax.tools.commands import option_flags
from yolact_jax.tools.commands.main import main

NAMES = ("person", "a=b", "traffic light", "7")


def options(*arguments):
    values = flags.FlagValues()
    option_flags.define(values)
    values(["predict", *arguments])
    return option_flags.options(values, NAMES)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), PredictOptions({"*": 0.3})),
        (("--score_threshold=0.5",), PredictOptions({"*": 0.5})),
        (
            ("--score_threshold=0.2,person=0.6, 12=1,7=0",),
            PredictOptions({"*": 0.2, "person": 0.6, 12: 1.0, "7": 0.0}),
        ),
        (("--score_threshold=a=b=0.25",), PredictOptions({"a=b": 0.25})),
        (
            ("--classes=traffic light,7,12", "--mask_margin=0.1"),
            PredictOptions({"*": 0.3}, ["traffic light", "7", 12], 0.1),
        ),
        (("--iou_threshold=0.7",), PredictOptions({"*": 0.3}, iou_threshold=0.7)),
    ],
)
def test_flags_become_options(arguments, expected):
    assert options(*arguments) == expected


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--score_threshold=high", "--score_threshold has 'high'; it must be a number"),
        ("--score_threshold=person=", "--score_threshold has 'person='; it must be"),
        ("--score_threshold=0.3,0.4", "has a number without a class twice."),
        ("--score_threshold=7=0.3,7=0.3", "--score_threshold has '7' twice."),
    ],
)
def test_bad_thresholds_are_named(argument, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        options(argument)


def test_an_overlap_without_tiles_is_refused_before_anything_is_loaded(
    tmp_path, capsys
):
    words = ["predict", "--weights=yolact_base", "--source=a.jpg", "--overlap=0.2"]
    assert main([*words, f"--output={tmp_path / 'out'}"]) == 1
    assert capsys.readouterr().err.endswith(
        "--overlap is for tiles; give --tile, their side in pixels.\n"
    )
    assert not (tmp_path / "out").exists()
