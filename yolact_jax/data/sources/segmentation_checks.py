"""Checks the `segmentation` field of COCO-format annotations."""

from collections.abc import Iterable
from typing import Any

from yolact_jax.data import rle
from yolact_jax.data.numbers import coordinate_problem, is_int, shown


def segmentation_problem(segmentation: Any, size: tuple[int, int]) -> str | None:
    """Says what is wrong with polygons or a run-length mask.

    Args:
      segmentation: the field of an annotation entry.
      size: (height, width) of the image, pixels.

    Returns:
      What the annotation "has", or None.
    """
    if not segmentation:
        return "no `segmentation`: instance masks are needed, not only boxes"
    if isinstance(segmentation, dict):
        return _rle_problem(segmentation, size)
    if not isinstance(segmentation, list):
        return f"`segmentation` of type {type(segmentation).__name__}, not a list"
    problems = (_polygon_problem(ring, size) for ring in segmentation)
    return next(filter(None, problems), None)


def _polygon_problem(ring: Any, size: tuple[int, int]) -> str | None:
    if not isinstance(ring, list):
        return "a polygon in `segmentation` that is not a list of numbers"
    problem = coordinate_problem(ring, size)
    if problem:
        return f"a polygon in `segmentation` with the value {problem}"
    if len(ring) % 2 or len(ring) < 6:
        return (
            f"a polygon in `segmentation` of {len(ring)} numbers; an even number, at"
            " least 6 (3 points), is needed"
        )
    return None


def _rle_problem(segmentation: dict[str, Any], size: tuple[int, int]) -> str | None:
    stated = segmentation.get("size")
    if stated != list(size):
        return (
            f"a run-length `segmentation` of `size` {shown(stated)}, but the image has"
            f" [height, width] {list(size)}"
        )
    try:
        total = sum(_counts(segmentation.get("counts")))
    except ValueError as error:
        return f"a run-length `segmentation` whose `counts` {error}"
    if total != size[0] * size[1]:
        return (
            f"a run-length `segmentation` whose `counts` add up to {total} pixels, but"
            f" the image has {size[0] * size[1]}"
        )
    return None


def _counts(counts: Any) -> Iterable[int]:
    """Returns the run lengths of a `counts` field in either form."""
    if isinstance(counts, str):
        if not counts.isascii():
            raise ValueError('has a character outside "0".."o"')
        counts = rle.counts_from_string(counts.encode()).tolist()
    elif not isinstance(counts, list) or not all(map(is_int, counts)):
        raise ValueError("are neither a string nor a list of integers")
    if counts and min(counts) < 0:
        raise ValueError("have a negative run length")
    return counts
