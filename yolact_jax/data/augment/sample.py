"""Training augmentation: a random view, random colors, padded ground truth."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from yolact_jax.config import PADDING_RGB, Augment, InputFrame, Size, sides_of
from yolact_jax.data.augment import photometric, rasterize, targets
from yolact_jax.data.augment import view as view_lib
from yolact_jax.data.augment.coverage import cell_coverage
from yolact_jax.data.augment.view import View
from yolact_jax.data.augment.views import NO_AUGMENTATION, choose_view
from yolact_jax.data.example import Annotations, Example

Sample = dict[str, Any]  # Arrays, and scalars of NumPy.
# Fields of a sample with an axis of annotations.
GROUND_TRUTH = ("boxes", "labels", "masks", "semantic_masks", "crowd")
MASKS = ("masks", "semantic_masks")

__all__ = [
    "GROUND_TRUTH",
    "MASKS",
    "NO_AUGMENTATION",
    "Sample",
    "collate",
    "ground_truth",
    "join",
    "render",
    "render_randomly",
    "select",
    "slots",
    "take",
    "training_sample",
]


def training_sample(
    example: Example,
    rng: np.random.Generator,
    *,
    options: Augment,
    frame: InputFrame,
    mask_size: Size,
    max_objects: int,
    mask_target: str,
) -> Sample:
    """Augments one example.

    Objects come first, then crowds, each in their order; if there are more than
    `max_objects`, those with the largest boxes stay, and crowds are the first to go.

    Args:
      example: image and annotations.
      rng: source of all randomness.
      options: which random changes to make.
      frame: the network input.
      mask_size: height and width of the masks, pixels, or their side.
      max_objects: most annotations to keep.
      mask_target: see `config.Data`.

    Returns:
      `images` [height, width, N] uint8, or int16 with colors that are not
      clipped; `boxes` [n, 4] float32; `labels` [n]
      int32; `masks` [n, hm, wm] uint8, 0 or 1, or with "coverage" targets float16 in
      [0, 1]; `semantic_masks` [n, hm // 2, wm // 2] uint8,
      with "original" targets; `crowd` [n] bool;
      `image_ids` int64; `dropped` int32, annotations that were too many.
    """
    view, kept = choose_view(example, rng, options, frame)
    chosen = select(example.annotations, view, kept, max_objects)
    return {
        "images": render_randomly(example, view, rng, options, frame.size),
        **ground_truth(
            example,
            view,
            chosen,
            input_size=frame.size,
            mask_size=mask_size,
            mask_target=mask_target,
        ),
        "dropped": np.int32(len(kept) - len(chosen)),
    }


def ground_truth(
    example: Example,
    view: View,
    chosen: np.ndarray,
    *,
    input_size: Size,
    mask_size: Size,
    mask_target: str,
) -> Sample:
    """Returns what a view shows of some annotations.

    Args:
      example: the image.
      view: the view.
      chosen: [n] int64, indices of the annotations.
      input_size: height and width of the network input, pixels, or its side.
      mask_size: height and width of the masks, pixels, or their side.
      mask_target: see `config.Data`.

    Returns:
      `boxes`, `labels`, masks, `crowd` and `image_ids` as in `training_sample`.
    """
    annotations = example.annotations
    outlines = annotations.segmentations
    if mask_target == "center":
        masks = [rasterize.object_masks(outlines, chosen, view, mask_size)]
    elif mask_target == "coverage":
        masks = [cell_coverage(outlines, chosen, view, mask_size)]
    else:
        height, width = sides_of(mask_size)
        sizes = ((height, width), (max(height // 2, 1), max(width // 2, 1)))
        masks = targets.original_masks(outlines, chosen, view, input_size, sizes)
    return {
        "boxes": view.boxes(annotations.boxes_px[chosen]).astype(np.float32),
        "labels": annotations.labels[chosen],
        **dict(zip(MASKS, masks, strict=False)),
        "crowd": annotations.crowd[chosen],
        "image_ids": np.int64(example.image_id),
    }


def collate(samples: Sequence[dict[str, np.ndarray]], max_objects: int) -> Sample:
    """Stacks samples to a batch, padding ground truth to `max_objects` slots (G).

    Returns:
      The fields of the samples with a batch axis, [B, G, ...] for those of annotations,
      zeros in unused slots; and `valid` [B, G] bool.
    """
    counts = np.array([len(sample["labels"]) for sample in samples])
    batch = {"valid": np.arange(max_objects) < counts[:, None]}
    for name in samples[0]:
        values = [sample[name] for sample in samples]
        is_ground_truth = name in GROUND_TRUTH
        batch[name] = (
            _padded(values, max_objects) if is_ground_truth else (np.stack(values))
        )
    return batch


def _padded(values: Sequence[np.ndarray], length: int) -> np.ndarray:
    """Stacks arrays, filling up their first axes with zeros."""
    padded = np.zeros((len(values), length, *values[0].shape[1:]), values[0].dtype)
    for row, value in zip(padded, values, strict=True):
        row[: len(value)] = value
    return padded


def select(
    annotations: Annotations, view: View, kept: np.ndarray, max_objects: int
) -> np.ndarray:
    """Orders the annotations to keep for the slots, objects before crowds.

    Args:
      annotations: of the image.
      view: the view.
      kept: [m] int64, indices to choose from.
      max_objects: how many there can be.

    Returns:
      [min(m, max_objects)] int64, indices.
    """
    boxes = view.boxes(annotations.boxes_px[kept])
    return kept[slots(boxes, annotations.crowd[kept], max_objects)]


def slots(boxes: np.ndarray, crowd: np.ndarray, max_objects: int) -> np.ndarray:
    """Orders ground truth for the slots: objects before crowds, each in their order.

    Args:
      boxes: [m, 4] float, xyxy in [0, 1].
      crowd: [m] bool.
      max_objects: how many there can be; the largest boxes stay, and crowds go first.

    Returns:
      [min(m, max_objects)] int64, indices.
    """
    places = np.arange(len(boxes))
    if len(boxes) > max_objects:
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        places = np.sort(np.lexsort([-areas, crowd])[:max_objects])
    return places[np.argsort(crowd[places], kind="stable")]


def join(samples: Sequence[Sample]) -> Sample:
    """Joins the ground truth of several samples; the first gives its id."""
    names = [name for name in GROUND_TRUTH if name in samples[0]]
    joined = {name: np.concatenate([one[name] for one in samples]) for name in names}
    return joined | {"image_ids": samples[0]["image_ids"]}


def take(sample: Sample, places: np.ndarray) -> Sample:
    """Selects annotations of a sample by their indices [k] int64."""
    return sample | {n: sample[n][places] for n in GROUND_TRUTH if n in sample}


def render_randomly(
    example: Example,
    view: View,
    rng: np.random.Generator,
    options: Augment,
    input_size: Size,
) -> np.ndarray:
    """Renders a view in random colors, if `options` say so; see `render`."""
    change = photometric.random_change(rng) if options.photometric else None
    mean, clip = example.pixels.mean, options.clip_colors
    return render(example.image, view, change, input_size, clip=clip, mean=mean)


def render(
    image: np.ndarray,
    view: View,
    change: photometric.ColorChange | None,
    input_size: Size,
    *,
    clip: bool = True,
    mean: Sequence[float] = (),
) -> np.ndarray:
    """Draws a view as network input, [height, width, N].

    Args:
      image: [h, w, N] uint8.
      view: the view.
      change: what to do to the colors, if anything; where they are not three, which are
        RGB, only to brightness and contrast.
      input_size: height and width of the result, pixels, or its side.
      clip: colors to 0..255, as uint8; else they are int16.
      mean: of each channel, 0..255, the color around the image; () for that of RGB.
    """
    draw = functools.partial(_render_rgb, view=view, input_size=input_size, clip=clip)
    channels, around = image.shape[2], tuple(round(value) for value in mean)
    if channels == 3:
        return draw(image, change=change, mean=around or PADDING_RGB)
    change = change and change.without_color()
    # OpenCV draws up to four channels, and is used to three.
    filled = np.pad(image, ((0, 0), (0, 0), (0, -channels % 3)))
    around = (*(around or (view_lib.MEAN_GRAY,) * channels), 0, 0)
    parts = [
        draw(filled[..., i : i + 3].copy(), change=change, mean=around[i : i + 3])
        for i in range(0, channels, 3)
    ]
    return np.concatenate(parts, axis=-1)[..., :channels].copy()


def _render_rgb(
    image: np.ndarray,
    view: View,
    change: photometric.ColorChange | None,
    input_size: Size,
    clip: bool,
    mean: tuple[int, ...],
) -> np.ndarray:
    """Does what `render` does for three channels."""
    rows, columns = view.visible(*image.shape[:2])
    patch, at = image[rows, columns], (rows.start, columns.start)
    dtype = np.uint8 if clip else np.int16
    if change is None or not patch.size:
        drawn = view_lib.draw_view(patch, at, view, input_size, mean=mean)
        return drawn.astype(dtype, copy=False)
    recolor = functools.partial(photometric.apply, change=change, clip=clip)
    # Resizing and colors may come in either order, up to rounding: take the one with
    # fewer pixels to color.
    if patch.shape[0] * patch.shape[1] > _drawn_pixels(patch, view, input_size):
        return view_lib.draw_view(patch, at, view, input_size, recolor, dtype, mean)
    return view_lib.draw_view(
        recolor(patch), at, view, input_size, dtype=dtype, mean=mean
    )


def _drawn_pixels(patch: np.ndarray, view: View, input_size: Size) -> float:
    """About how many pixels of the network input show the patch."""
    shown = patch.shape[0] * patch.shape[1] / (view.height * view.width)
    return shown * math.prod(view.used(input_size))
