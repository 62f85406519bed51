"""What a prediction may choose at run time, and the arrays the program gets for it."""

import dataclasses
import difflib
import math
import numbers
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import flax.struct
import numpy as np

from yolact_jax.structures import Array

DEFAULT_SCORE = 0.3
"""Least score of an object, unless a call says otherwise."""

OTHERS = "*"
"""In a mapping of thresholds, all classes that it does not name."""

_NUMBERS = (int, float, np.integer, np.floating)
_MOST_NAMES = 10  # in an error message

ClassKey = str | int
"""A class: its name, or its category id in the dataset."""


@flax.struct.dataclass
class Choices:
    """The run-time inputs of the compiled program; no value of them recompiles it.

    Attributes:
      score_thresholds: [C] float32, least score of an object of each class; infinite
        for a class that is left out.
      mask_margin: [] float32, at least 0, see `PredictOptions`.
      candidate_threshold: [] float32 in [0, 1], which the score of an anchor's best
        class must exceed for the anchor to enter NMS.
      iou_threshold: [] float32 in [0, 1], overlap above which NMS acts.
    """

    score_thresholds: Array
    mask_margin: Array
    candidate_threshold: Array
    iou_threshold: Array


@dataclasses.dataclass(frozen=True)
class PredictOptions:
    """What `Predictor.predict` and all that builds on it may choose at run time.

    The result is what selecting from all detections gives: a class that is left out
    still takes its place among the detections that NMS keeps.

    Attributes:
      score_threshold: least score of an object, in [0, 1]; or a mapping of classes to
        such scores, in which "*" stands for all others, 0.3 by default.  YOLACT++
        ranks objects by the scores of their masks.
      classes: names or category ids of the classes to find; None finds all.
      mask_margin: how far a mask may leave its box, as a fraction of the width and
        height of the box, at least 0.  At 0, as published, it may by one pixel of the
        prototypes.
      iou_threshold: overlap above which NMS acts, in [0, 1]; None takes that of the
        config.
      tile: side in pixels of the tiles in which to search; None searches an image as a
        whole.
      overlap: share of a tile that its neighbor shows too, from 0 to 0.9.

    Raises:
      ValueError: if an overlap is given without a tile.
    """

    score_threshold: float | Mapping[ClassKey, float] = DEFAULT_SCORE
    classes: ClassKey | Iterable[ClassKey] | None = None
    mask_margin: float = 0.0
    iou_threshold: float | None = None
    tile: int | None = None
    overlap: float = 0.2

    def __post_init__(self) -> None:
        if isinstance(self.classes, Iterator):  # It can be read only once.
            object.__setattr__(self, "classes", tuple(self.classes))
        if self.tile is None and self.overlap != type(self).overlap:
            raise ValueError(
                f"`overlap` is {self.overlap!r}, which is for tiles; give `tile`, "
                f"their side in pixels, too."
            )

    def choices(
        self,
        class_names: Sequence[str],
        category_ids: Sequence[int],
        *,
        candidate_threshold: float,
        iou_threshold: float,
    ) -> Choices:
        """Makes the run-time inputs for a model.

        Args:
          class_names: name of each label.
          category_ids: dataset category id of each label.
          candidate_threshold: as in `Choices`.
          iou_threshold: what to take if the options do not say.

        Raises:
          ValueError: if a value is out of range, a class is unknown, or thresholds and
            classes contradict each other.
        """
        vocabulary = _Vocabulary(class_names, category_ids)
        _check_range("mask_margin", self.mask_margin, math.inf)
        if self.iou_threshold is not None:
            _check_range("iou_threshold", self.iou_threshold, 1)
            iou_threshold = self.iou_threshold
        wanted = _wanted(self.classes, vocabulary)
        thresholds = _thresholds(self.score_threshold, wanted, vocabulary)
        scalars = self.mask_margin, candidate_threshold, iou_threshold
        return Choices(
            np.where(wanted, thresholds, np.inf).astype(np.float32),
            *(np.asarray(scalar, np.float32) for scalar in scalars),
        )


@dataclasses.dataclass(frozen=True)
class _Vocabulary:
    class_names: Sequence[str]
    category_ids: Sequence[int]

    def labels(self, key: Any, argument: str) -> list[int]:
        """Finds the labels of a class, by its name or id.

        Raises:
          ValueError: naming the argument, if there is none.
        """
        is_id = isinstance(key, numbers.Integral) and not isinstance(key, bool)
        if not is_id and not isinstance(key, str):
            raise ValueError(
                f"`{argument}` has {key!r}; a class is given by its name or its id."
            )
        known = self.category_ids if is_id else self.class_names
        found = [label for label, other in enumerate(known) if other == key]
        if not found:
            raise ValueError(f"`{argument}` has {key!r}, {self._why_unknown(key)}")
        return found

    def _why_unknown(self, key: Any) -> str:
        if not isinstance(key, str):
            ids = sorted(self.category_ids)
            return f"but the {len(ids)} category ids are from {ids[0]} to {ids[-1]}."
        folded = {name.casefold(): name for name in self.class_names}
        close = difflib.get_close_matches(key.casefold(), folded, 1)
        if close:
            return f"which is no class; did you mean {folded[close[0]]!r}?"
        names = ", ".join(self.class_names[:_MOST_NAMES])
        more = len(self.class_names) - _MOST_NAMES
        return f"but the classes are {names}{f' and {more} more' * (more > 0)}."


def _wanted(classes: Any, vocabulary: _Vocabulary) -> np.ndarray:
    """[C] bool, whether a class is to be found."""
    wanted = np.zeros(len(vocabulary.class_names), bool)
    if classes is None:
        return ~wanted
    single = isinstance(classes, str) or not isinstance(classes, Iterable)
    keys = [classes] if single else list(classes)
    if not keys:
        raise ValueError("`classes` is empty; give names or ids, or None for all.")
    for key in keys:
        wanted[vocabulary.labels(key, "classes")] = True
    return wanted


def _thresholds(threshold: Any, wanted, vocabulary: _Vocabulary) -> np.ndarray:
    """[C] float64, least score of each class."""
    by_class = threshold if isinstance(threshold, Mapping) else {OTHERS: threshold}
    for value in by_class.values():
        _check_range("score_threshold", value, 1)
    named: dict[int, float] = {}
    for key in by_class.keys() - {OTHERS}:
        for label in vocabulary.labels(key, "score_threshold"):
            if not wanted[label]:
                raise ValueError(
                    f"`score_threshold` has {key!r}, which `classes` leaves out."
                )
            if named.setdefault(label, by_class[key]) != by_class[key]:
                raise ValueError(
                    f"`score_threshold` has {vocabulary.class_names[label]!r} twice, "
                    f"with {named[label]} and {by_class[key]}."
                )
    others = by_class.get(OTHERS, DEFAULT_SCORE)
    return np.array([named.get(label, others) for label in range(len(wanted))])


def _check_range(argument: str, value: Any, most: float) -> None:
    is_number = isinstance(value, _NUMBERS) and not isinstance(value, bool)
    if is_number and 0 <= value <= most and value < math.inf:
        return
    allowed = f"from 0 to {most:g}" if most < math.inf else "a number of at least 0"
    raise ValueError(f"`{argument}` is {value!r}; it must be {allowed}.")
