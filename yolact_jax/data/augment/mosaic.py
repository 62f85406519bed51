"""Four images in one training sample."""

from collections.abc import Sequence

import numpy as np

from yolact_jax.config import Augment, InputFrame, Size
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
    frame: InputFrame,
    mask_size: Size,
    mask_target: str,
) -> Sample:
    """Shows parts of four images around a random point.

    Bochkovskiy et al., "YOLOv4: Optimal Speed and Accuracy of Object Detection", 2020.
    Parts are not stretched; expand, crop and jitter of scale have no effect.

    Args:
      examples: four.
      rng: source of randomness.
      options: whether to mirror and to change colors.
      frame: the network input.
      mask_size: height and width of the masks, pixels, or their side.
      mask_target: see `config.Data`.

    Returns:
      Fields of `training_sample` without `dropped`; the id is that of the first image.
    """
    x, y = rng.uniform(*_CENTER_RANGE, size=2)
    windows = ((0, 0, x, y), (x, 0, 1, y), (0, y, x, 1), (x, y, 1, 1))
    dtype = np.uint8 if options.clip_colors else np.int16
    input_size, aspect_ratio = frame.size, frame.width / frame.height
    canvas = np.empty((*input_size, examples[0].pixels.channels), dtype)
    truths = []
    for example, window in zip(examples, windows, strict=True):
        view = window_view(example, window, rng, options, aspect_ratio)
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
    aspect_ratio: float = 1.0,
) -> View:
    """Draws a view that shows a part of an image in a window of the network input.

    Only the size of `example` matters; the view reaches beyond the window too, and has
    the aspect ratio of the network input, width over height.
    """
    flip_x = options.mirror and bool(rng.random() < 0.5)
    flip_y = options.flip_vertical and bool(rng.random() < 0.5)
    x1, y1, x2, y2 = window
    width, height = x2 - x1, y2 - y1
    # Pixels of the image for the whole network input.
    down = min(example.width / width / aspect_ratio, example.height / height)
    down *= rng.uniform(*_TILE_SCALES)
    across = down * aspect_ratio
    left = rng.uniform(0, example.width - across * width)
    top = rng.uniform(0, example.height - down * height)
    left -= across * (1 - x2 if flip_x else x1)
    top -= down * (1 - y2 if flip_y else y1)
    sides = max(round(across), 1), max(round(down), 1)
    return View(round(left), round(top), *sides, flip_x, flip_y)


def _centered(
    example: Example, view: View, window: _Window, options: Augment, input_size: Size
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
    """Clears masks [n, h, w] outside of a window."""
    area = (slice(None), *_pixels(window, masks.shape[1:]))
    cut = np.zeros_like(masks)
    cut[area] = masks[area]
    return cut


def _pixels(window: _Window, size: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a picture of (height, width) with centers in a window."""
    places = zip(window, size[::-1] * 2, strict=True)
    x1, y1, x2, y2 = (int(np.ceil(part * side - 0.5)) for part, side in places)
    return slice(y1, y2), slice(x1, x2)
