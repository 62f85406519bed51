"""Pasting objects of one image onto another."""

import functools

import numpy as np

from yolact_jax.config import Augment, InputFrame, Size
from yolact_jax.data.augment import rasterize, views
from yolact_jax.data.augment.sample import (
    MASKS,
    Sample,
    ground_truth,
    join,
    render_randomly,
    take,
)
from yolact_jax.data.example import Example

_PASTE_FRACTION = 0.5


def copy_paste(
    example: Example,
    other: Example,
    rng: np.random.Generator,
    *,
    options: Augment,
    frame: InputFrame,
    mask_size: Size,
    mask_target: str,
) -> Sample:
    """Pastes about half of the objects of one image onto another.

    Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for Instance
    Segmentation", CVPR 2021, without blurred outlines, which make no difference there.
    Each image gets its own view and colors.  What is covered is cut from masks and
    boxes, and fully covered objects are left out.

    Args:
      example: the image below.
      other: whose objects are pasted; crowds are not.
      rng: source of randomness.
      options: which other random changes to make.
      frame: the network input.
      mask_size: height and width of the masks, pixels, or their side.
      mask_target: see `config.Data`.

    Returns:
      Fields of `training_sample` without `dropped`; pasted objects come last.
    """
    input_size = frame.size
    view, kept = views.choose_view(example, rng, options, frame)
    image = render_randomly(example, view, rng, options, input_size)
    other_view, candidates = views.choose_view(other, rng, options, frame)
    candidates = candidates[~other.annotations.crowd[candidates]]
    pasted = candidates[rng.random(len(candidates)) < _PASTE_FRACTION]
    source = render_randomly(other, other_view, rng, options, input_size)
    segmentations = other.annotations.segmentations
    cover = rasterize.object_masks(segmentations, pasted, other_view, input_size)
    cover = np.any(cover, axis=0)
    image[cover] = source[cover]
    truth_of = functools.partial(
        ground_truth,
        input_size=input_size,
        mask_size=mask_size,
        mask_target=mask_target,
    )
    below = truth_of(example, view, kept)
    above = truth_of(other, other_view, pasted)
    whole = rasterize.object_masks(
        example.annotations.segmentations, kept, view, input_size
    )
    names = [name for name in MASKS if name in above]
    small = {name: above[name].max(axis=0, initial=0) for name in names}
    below = uncovered(below, whole, cover, small)
    return {"images": image, **join([below, above])}


def uncovered(
    truth: Sample,
    masks: np.ndarray,
    cover: np.ndarray,
    small_covers: dict[str, np.ndarray],
) -> Sample:
    """Cuts covered pixels from ground truth.

    Args:
      truth: fields of `ground_truth` for n annotations.
      masks: [n, h, w] uint8, their masks at the size of `cover`.
      cover: [h, w] bool, the pixels that are covered.
      small_covers: the same at the sizes of the masks in `truth`, by their names: the
        share of each cell that is covered, in the type of those masks.

    Returns:
      `truth` without annotations that became invisible; sides of boxes move in as far
      as their masks do.
    """
    visible = masks.astype(bool) & ~cover
    change = _extents(visible) - _extents(masks.astype(bool))
    boxes = truth["boxes"] + change.astype(np.float32)
    remains = visible.any(axis=(1, 2)) | ~masks.any(axis=(1, 2))
    remains &= (boxes[:, 2:] > boxes[:, :2]).all(axis=1)  # Boxes need not fit masks.
    cut = {name: truth[name] * (1 - small) for name, small in small_covers.items()}
    return take({**truth, **cut, "boxes": boxes}, np.flatnonzero(remains))


def _extents(masks: np.ndarray) -> np.ndarray:
    """[n, 4] float64, xyxy in [0, 1] around masks [n, h, w] bool; 0 if empty."""
    sides = []
    for axis in (1, 2):  # Over the rows for x, over the columns for y.
        seen = np.any(masks, axis=axis)
        size = seen.shape[1]
        first, last = seen.argmax(axis=1), size - seen[:, ::-1].argmax(axis=1)
        ends = np.stack([first, last], axis=1) * seen.any(axis=1)[:, None]
        sides.append(ends / size)
    return np.stack(sides, axis=2).reshape(len(masks), 4)
