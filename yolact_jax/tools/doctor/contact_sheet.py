"""A picture of augmented training samples, as the network sees them."""

import cv2
import numpy as np

from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.data.augment.mixing import mixed_sample
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.pixels import shown
from yolact_jax.data.records.dataset import RecordSource
from yolact_jax.data.selection import Selected

_TILE_PX = 275
_COLUMNS = 4
_OPACITY = 0.5
_INSIDE = 0.5  # Cells of which more than this share is covered are shown.


def draw_sheet(
    source: RecordSource,
    config: Config,
    *,
    count: int,
    seed: int,
) -> np.ndarray:
    """Draws samples with masks, boxes and class names in a grid, [h, w, 3] uint8 RGB.

    Args:
      source: a split with objects.
      config: sizes of the network, and which random changes to make.
      count: samples.
      seed: of the choice of images and of the augmentation.

    Raises:
      DatasetError: if no image has an object.
    """
    usable = np.flatnonzero(source.num_objects)
    if not len(usable):
        raise DatasetError(f"No image of {source!r} has an object to draw.")
    selected = Selected(source, usable)
    rng = np.random.default_rng(seed)
    rows = -(-count // _COLUMNS)
    sheet = np.zeros((rows * _TILE_PX, _COLUMNS * _TILE_PX, 3), np.uint8)
    for place in range(count):
        sample = mixed_sample(
            selected[int(rng.integers(len(selected)))],
            rng,
            others=selected,
            options=config.augment,
            frame=config.data.frame,
            mask_size=build.prototype_size(config),
            mask_target=config.data.mask_target,
            max_objects=config.data.max_objects,
        )
        top, left = (_TILE_PX * i for i in divmod(place, _COLUMNS))
        tile = draw_sample(sample, source.class_names, (_TILE_PX, _TILE_PX))
        sheet[top : top + _TILE_PX, left : left + _TILE_PX] = tile
    return sheet


def draw_sample(
    sample: dict[str, np.ndarray], class_names: tuple[str, ...], size: tuple[int, int]
) -> np.ndarray:
    """Draws what the network sees, with boxes, masks and class names.

    Args:
      sample: see `data.augment.sample.training_sample`.
      class_names: name of each label.
      size: height and width of the picture, pixels.

    Returns:
      [height, width, 3] uint8 RGB.
    """
    height, width = size
    tile = cv2.resize(pixels_of(sample), size[::-1], interpolation=cv2.INTER_AREA)
    corners = (
        sample["boxes"] * (width - 1, height - 1, width - 1, height - 1)
    ).tolist()
    for i, box in enumerate(corners):
        # Crowds are gray.
        hue = 0 if sample["crowd"][i] else 47 * i % 180
        saturation = 0 if sample["crowd"][i] else 255
        color = np.array([[[hue, saturation, 255]]], np.uint8)
        color = cv2.cvtColor(color, cv2.COLOR_HSV2RGB)[0, 0]
        inside = (sample["masks"][i] > _INSIDE).astype(np.uint8)
        mask = cv2.resize(inside, size[::-1], interpolation=cv2.INTER_NEAREST)
        blended = (1 - _OPACITY) * tile + _OPACITY * color
        tile = np.where(mask[..., None] > 0, blended.astype(np.uint8), tile)
        x1, y1, x2, y2 = map(int, box)
        cv2.rectangle(tile, (x1, y1), (x2, y2), color.tolist(), 1)
        at, font = (x1 + 2, min(y1 + 11, height - 2)), cv2.FONT_HERSHEY_SIMPLEX
        name = class_names[int(sample["labels"][i])]
        cv2.putText(tile, name, at, font, 0.35, (255, 255, 255), 1, cv2.LINE_AA)
    return tile


def pixels_of(sample: dict[str, np.ndarray]) -> np.ndarray:
    """Returns the pixels of a sample as a picture, [h, w, 3] uint8 RGB."""
    return shown(sample["images"].clip(0, 255).astype(np.uint8))
