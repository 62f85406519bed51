"""Checks values in files that other programs wrote.

Tools write NaN cast to an integer, ids of 128 bits and coordinates of another image.
What passes these checks fits the records and is safe to give to C code.
"""

import reprlib
from collections.abc import Iterable
from typing import Any, TypeGuard

MAX_SIDES = 100  # Coordinates may be that many image sides away.
MAX_SIDE_PX = 65_535  # Of JPEG; nor do the pixels overflow the counts of pycocotools.

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80
_repr.maxlong = 40


def shown(value: Any) -> str:
    """Writes a value for an error message, with long and deep values cut short."""
    return _repr.repr(value)


def is_int(value: Any) -> bool:
    """Whether a json value is an integer of 64 bits, and not true or false."""
    return type(value) is int and -(2**63) <= value < 2**63


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a json value is a finite number: a float or an `is_int`."""
    return is_int(value) or (type(value) is float and abs(value) < float("inf"))


def int_problem(value: Any) -> str | None:
    """Says what is wrong with an id, as "'7', not an integer"; None if `is_int`."""
    if is_int(value):
        return None
    if type(value) is int:
        return f"{shown(value)}, which does not fit 64 bits (-2**63 to 2**63 - 1)"
    return f"{shown(value)}, not an integer"


def text_problem(value: Any) -> str | None:
    """Says what is wrong with a name, or None; json may hold half a character."""
    if not isinstance(value, str):
        return f"{shown(value)}, not a string"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return f"{shown(value)}, which is not text: UTF-8 cannot hold it"
    return None


def side_problem(value: Any) -> str | None:
    """Says what is wrong with the height or width of an image in pixels, or None."""
    if not is_int(value) or value < 1:
        return f"{shown(value)}, not a positive integer"
    if value > MAX_SIDE_PX:
        return f"{value}, more than {MAX_SIDE_PX} pixels"
    return None


def coordinate_problem(values: Iterable[Any], size: tuple[int, int]) -> str | None:
    """Names the first coordinate that is not finite, or far from the image; else None.

    Args:
      values: coordinates, pixels.
      size: (height, width) of the image, pixels.
    """
    limit = MAX_SIDES * max(size)
    for value in values:
        # A comparison with NaN is false.
        if type(value) not in (int, float) or not -limit <= value <= limit:
            if not is_number(value):
                return f"{shown(value)}, which is not a finite number"
            where = f"the image of {size[0]} x {size[1]} pixels (height x width)"
            return f"{shown(value)}, more than {MAX_SIDES} sides away from {where}"
    return None
