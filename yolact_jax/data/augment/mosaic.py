"""Four images in one training sample."""

from collections.abc import Sequence

import numpy as np

from yolact_jax.config import Augment
from yolact_jax.data.augment import views
from yolact_jax.data.augment.sample import (
    MASKS,
    Sample,
    ground_truth,
    join,
    render_randomly,
)
from yolact_jax.data.augment.view import View
from yolact_jax.data.example import Example

# (x1, y1, x2, y2), fractions of the network input.
_Window = tuple[float, float, float, float]
_CENTER_RANGE = (0.25, 0.75)
_TILE_SCALES = (0.5, 1.0)


def mosaic(
    examples: Sequence[Example],
    rng: np.random.Generator,
    *,
    options: Augment,
    input_size: int,
    mask_size: int,
    mask_target: str,
) -> Sample:
    """Shows parts of four images around a random point.

    Bochkovskiy et al., "YOLOv4: Optimal Speed and Accuracy of Object Detection", 2020.
    Parts are not stretched; expand, crop and jitter of scale have no effect.

    Args:
      examples: four.
      rng: source of randomness.
      options: whether to mirror and to change colors.
      input_size: height and width of the image, pixels.
      mask_size: height and width of the masks, pixels.
      mask_target: see `config.Data`.

    Returns:
      Fields of `training_sample` without `dropped`; the id is that of the first image.
    """
    x, y = rng.uniform(*_CENTER_RANGE, size=2)
    windows = ((0, 0, x, y), (x, 0, 1, y), (0, y, x, 1), (x, y, 1, 1))
    dtype = np.uint8 if options.clip_colors else np.int16
    channels = examples[0].pixels.channels
    canvas = np.empty((input_size, input_size, channels), dtype)
    truths = []
    for example, window in zip(examples, windows, strict=True):
        view = window_view(example, window, rng, options)
        area = _pixels(window, input_size)
        canvas[area] = render_randomly(example, view, rng, options, input_size)[area]
        kept = _centered(example, view, window, options, input_size)
        truth = ground_truth(
            example,
            view,
            kept,
            input_size=input_size,
            mask_size=mask_size,
            mask_target=mask_target,
        )
        truths.append(_windowed(truth, window))
    return {"images": canvas, **join(truths)}


def window_view(
    example: Example,
    window: _Window,
    rng: np.random.Generator,
    options: Augment,
) -> View:
    """Draws a view that shows a part of an image in a window of the network input.

    Only the size of `example` matters; the view reaches beyond the window too.
    """
    flip_x = options.mirror and bool(rng.random() < 0.5)
    flip_y = options.flip_vertical and bool(rng.random() < 0.5)
    x1, y1, x2, y2 = window
    width, height = x2 - x1, y2 - y1
    # Pixels of the image for the whole network input.
    side = min(example.width / width, example.height / height)
    side *= rng.uniform(*_TILE_SCALES)
    left = rng.uniform(0, example.width - side * width)
    top = rng.uniform(0, example.height - side * height)
    left -= side * (1 - x2 if flip_x else x1)
    top -= side * (1 - y2 if flip_y else y1)
    side = max(round(side), 1)
    return View(round(left), round(top), side, side, flip_x, flip_y)


def _centered(
    example: Example, view: View, window: _Window, options: Augment, input_size: int
) -> np.ndarray:
    """Selects annotations with their center in a window, [n] int64."""
    centers = view.points(example.annotations.centers_px)
    low, high = np.array(window[:2]), np.array(window[2:])
    inside = np.all((centers > low) & (centers < high), axis=1)
    kept = views.keep(example.annotations, view, input_size, options.min_object_px)
    return kept[inside[kept]]


def _windowed(truth: Sample, window: _Window) -> Sample:
    """Cuts ground truth to a window."""
    limits = np.array([window[:2], window[2:]], np.float32)
    corners = np.clip(truth["boxes"].reshape(-1, 2, 2), limits[0], limits[1])
    cut = {n: _cut(truth[n], window) for n in MASKS if n in truth}
    return {**truth, **cut, "boxes": corners.reshape(-1, 4)}


def _cut(masks: np.ndarray, window: _Window) -> np.ndarray:
    """Clears masks [n, s, s] outside of a window."""
    area = (slice(None), *_pixels(window, masks.shape[-1]))
    cut = np.zeros_like(masks)
    cut[area] = masks[area]
    return cut


def _pixels(window: _Window, size: int) -> tuple[slice, slice]:
    """Rows and columns of a square picture with their centers in a window."""
    x1, y1, x2, y2 = (int(np.ceil(side * size - 0.5)) for side in window)
    return slice(y1, y2), slice(x1, x2)
