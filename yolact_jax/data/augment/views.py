"""Random views: which part of an image a training sample shows.

Follows the original YOLACT, with its quirks: see `random_crop`.
"""

import dataclasses

import numpy as np

from yolact_jax.config import Augment, InputFrame, Size, sides_of
from yolact_jax.data.augment import view as view_lib
from yolact_jax.data.augment.view import View
from yolact_jax.data.example import Annotations, Example

_CROP_MODES = 6  # "No crop", four minimum overlaps, "any overlap".
_TRIALS_PER_MODE = 50
_MAX_ASPECT = 2.0
_EXPAND_MAX_RATIO = 4.0  # Largest side of the canvas, in sides of the image.
_CROP_MIN_SCALE = 0.3  # Smallest side of the part, in sides of what it is cut from.
_VIEW_TRIALS = 10
_JITTER_SCALES = (0.1, 2.0)
# The original discards boxes of at most this many pixels of the network input: its
# threshold is a fraction of the input, compared with pixels.
_MIN_EXTENT_PX = 4 / 550


NO_AUGMENTATION = Augment(photometric=False, expand=False, crop=False, mirror=False)


def choose_view(
    example: Example,
    rng: np.random.Generator,
    options: Augment,
    frame: InputFrame,
) -> tuple[View, np.ndarray]:
    """Draws a view that shows an object, or of an image without objects any view.

    Args:
      example: only its size and annotations matter.
      rng: source of randomness.
      options: which random changes to make.
      frame: the network input.

    Returns:
      The view and [m] int64, the indices of the annotations it keeps.  If several draws
      kept no object, but the whole image does, the view is of that.
    """
    annotations = example.annotations
    for _ in range(_VIEW_TRIALS):
        view = random_view(example, rng, options, frame.width / frame.height)
        view = view.put_on(frame)
        kept = keep(annotations, view, frame.size, options.min_object_px)
        if annotations.crowd.all() or not annotations.crowd[kept].all():
            return view, kept
    whole = view_lib.whole(example.height, example.width, frame)
    shown = keep(annotations, whole, frame.size, options.min_object_px)
    return (view, kept) if annotations.crowd[shown].all() else (whole, shown)


def random_view(
    example: Example,
    rng: np.random.Generator,
    options: Augment,
    aspect_ratio: float = 1.0,
) -> View:
    """Draws canvas and crop, or the jitter of scale; then flips.

    `aspect_ratio` is that of the network input, width over height.
    """
    view = view_lib.whole(example.height, example.width)
    if options.large_scale_jitter:
        view = random_jitter(view, rng, aspect_ratio)
    if options.expand and not options.large_scale_jitter:
        view = random_expand(view, rng, _EXPAND_MAX_RATIO)
    if options.crop and not options.large_scale_jitter:
        view = random_crop(view, example.annotations, rng, _CROP_MIN_SCALE)
    flip_x = options.mirror and rng.random() < 0.5
    flip_y = options.flip_vertical and rng.random() < 0.5
    return dataclasses.replace(view, flip_x=flip_x, flip_y=flip_y)


def random_expand(view: View, rng: np.random.Generator, max_ratio: float) -> View:
    """Puts the view somewhere on a larger canvas, with probability 1/2."""
    if rng.random() < 0.5:
        return view
    ratio = rng.uniform(1.0, max_ratio)
    left = int(rng.uniform(0.0, view.width * ratio - view.width))
    top = int(rng.uniform(0.0, view.height * ratio - view.height))
    width, height = int(view.width * ratio), int(view.height * ratio)
    return View(view.left - left, view.top - top, width, height)


def random_jitter(
    view: View, rng: np.random.Generator, aspect_ratio: float = 1.0
) -> View:
    """Draws a view at a scale from a tenth to twice the one that fits.

    Large-scale jitter of Ghiasi et al., "Simple Copy-Paste is a Strong Data
    Augmentation Method for Instance Segmentation", CVPR 2021.  An image smaller than
    the network input is put somewhere in it, where the paper uses the upper left
    corner.  The view neither stretches nor flips the image.

    Args:
      view: of the image.
      rng: source of randomness.
      aspect_ratio: of the network input, width over height, which the result has.
    """
    fitting = max(view.width / aspect_ratio, view.height)
    height = fitting / rng.uniform(*_JITTER_SCALES)
    width, height = max(round(height * aspect_ratio), 1), max(round(height), 1)
    left = round(_between(0.0, view.width - width, rng))
    top = round(_between(0.0, view.height - height, rng))
    return View(view.left + left, view.top + top, width, height)


def random_crop(
    view: View, annotations: Annotations, rng: np.random.Generator, min_scale: float
) -> View:
    """Cuts out a part that contains the center of an object, if there is one.

    SSD draws a minimum overlap of the part with an object.  In the original YOLACT
    that test never rejects anything, and the offsets are drawn between 1 and the
    largest one; both are kept, as the published weights were trained with them.

    Args:
      view: what to cut from.
      annotations: of the image.
      rng: source of randomness.
      min_scale: smallest side of the part, in sides of `view`.

    Returns:
      The part, or `view` itself with probability of about 1/6.
    """
    centers_px = annotations.centers_px[~annotations.crowd]
    is_empty = not len(centers_px)
    if not is_empty and not view.contains(centers_px).any():
        return view  # No part would do.
    while rng.integers(_CROP_MODES) != 0:
        for _ in range(_TRIALS_PER_MODE):
            part = _random_part(view, rng, min_scale)
            if part is not None and (is_empty or part.contains(centers_px).any()):
                return part
    return view


def _random_part(view: View, rng: np.random.Generator, min_scale: float) -> View | None:
    """Draws a part of a view; None if it is too oblong."""
    width = rng.uniform(min_scale * view.width, view.width)
    height = rng.uniform(min_scale * view.height, view.height)
    if not 1 / _MAX_ASPECT <= height / width <= _MAX_ASPECT:
        return None
    left = _between(1.0, view.width - width, rng)
    top = _between(1.0, view.height - height, rng)
    right, bottom = int(left + width), int(top + height)
    left, top = int(left), int(top)
    if right <= left or bottom <= top:
        return None
    return View(view.left + left, view.top + top, right - left, bottom - top)


def _between(a: float, b: float, rng: np.random.Generator) -> float:
    """Draws uniformly between two numbers in either order."""
    return rng.uniform(min(a, b), max(a, b))


def keep(
    annotations: Annotations, view: View, input_size: Size, min_object_px: float = 0.0
) -> np.ndarray:
    """Finds the annotations that a view shows.

    Args:
      annotations: of the image.
      view: the view.
      input_size: height and width of the network input, pixels, or its side.
      min_object_px: see `config.Augment`.

    Returns:
      [m] int64, indices of those with their center inside and a box that is not
      degenerate and, except for crowds, not too small.
    """
    boxes = view.boxes(annotations.boxes_px)
    large = large_enough(boxes, annotations.crowd, input_size, min_object_px)
    return np.flatnonzero(view.contains(annotations.centers_px) & large)


def large_enough(
    boxes: np.ndarray, crowd: np.ndarray, input_size: Size, min_object_px: float = 0.0
) -> np.ndarray:
    """Finds the annotations whose box is large enough to learn.

    Args:
      boxes: [n, 4] float, xyxy in [0, 1].
      crowd: [n] bool; crowds only need a box that is not degenerate.
      input_size: height and width of the network input, pixels, or its side.
      min_object_px: see `config.Augment`.

    Returns:
      [n] bool.
    """
    extents_px = (boxes[:, 2:] - boxes[:, :2]) * sides_of(input_size)[::-1]
    large = (extents_px > _MIN_EXTENT_PX).all(axis=1)
    return large & (crowd | (extents_px.prod(axis=1) >= min_object_px))
