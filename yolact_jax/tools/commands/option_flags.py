"""Flags of what a prediction may choose at run time, and of what it writes."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from absl import flags

from yolact_jax.inference.options import (
    DEFAULT_SCORE,
    OTHERS,
    ClassKey,
    PredictOptions,
)
from yolact_jax.results.formats import SEGMENTATIONS
from yolact_jax.results.takeaway import TakeAway


def define(values: flags.FlagValues) -> None:
    """Defines the flags."""
    flags.DEFINE_list(
        "score_threshold",
        [str(DEFAULT_SCORE)],
        "Least score of an object; also per class, as in 0.3,person=0.6,18=0.5.",
        flag_values=values,
    )
    flags.DEFINE_list(
        "classes",
        None,
        "Names or category ids of the classes to find. [all]",
        flag_values=values,
    )
    flags.DEFINE_float(
        "mask_margin",
        0.0,
        "How far masks may leave their boxes, as a fraction of the box.",
        lower_bound=0,
        flag_values=values,
    )
    flags.DEFINE_float(
        "iou_threshold",
        None,
        "Overlap above which NMS acts. [of the config]",
        lower_bound=0,
        upper_bound=1,
        flag_values=values,
    )


def define_take_away(values: flags.FlagValues) -> None:
    """Defines the flags of what is written beside the pictures."""
    flags.DEFINE_enum(
        "segmentation",
        "rle",
        SEGMENTATIONS,
        "Masks in detections.json: rle is exact, polygons fill holes.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "tolerance_px",
        0.0,
        "How far polygons may be from the edges of pixels, to have fewer corners.",
        lower_bound=0,
        flag_values=values,
    )
    for name, text in (
        ("disjoint", "Give each pixel to the best object only."),
        ("connected", "Leave out parts of masks far from the middle of their box."),
    ):
        flags.DEFINE_bool(name, False, text, flag_values=values)
    for name, text in (
        ("labelme", "Folder for labelme files."),
        ("masks", "Folder for 16-bit PNG files with the number of the object."),
        ("crops", "Folder for cut-outs of the objects."),
    ):
        flags.DEFINE_string(name, None, text, flag_values=values)


def take_away(values: Any) -> TakeAway:
    """Reads the flags of what is written.

    Raises:
      ValueError: if they contradict each other.
    """
    return TakeAway(
        **{
            field.name: values[field.name].value
            for field in dataclasses.fields(TakeAway)
        }
    )


def options(values: Any, class_names: Sequence[str]) -> PredictOptions:
    """Reads the flags.

    Args:
      values: of the flags.
      class_names: of the model; any other text that is a number is a category id.

    Raises:
      ValueError: if a threshold is no number, or stands there twice.
    """
    classes = values.classes
    if classes is not None:
        classes = [_class(text, class_names) for text in classes]
    return PredictOptions(
        _thresholds(values.score_threshold, class_names),
        classes,
        values.mask_margin,
        values.iou_threshold,
    )


def _thresholds(items: Sequence[str], class_names) -> dict[ClassKey, float]:
    thresholds: dict[ClassKey, float] = {}
    for item in items:
        name, _, number = item.rpartition("=")
        key = _class(name, class_names) if name else OTHERS
        if key in thresholds:
            what = "a number without a class" if key == OTHERS else repr(key)
            raise ValueError(f"--score_threshold has {what} twice.")
        try:
            thresholds[key] = float(number)
        except ValueError as error:
            raise ValueError(
                f"--score_threshold has {item!r}; it must be a number, such as 0.3, or "
                f"one for a class, such as person=0.6."
            ) from error
    return thresholds


def _class(text: str, class_names: Sequence[str]) -> ClassKey:
    text = text.strip()
    return int(text) if text not in class_names and text.isdecimal() else text
