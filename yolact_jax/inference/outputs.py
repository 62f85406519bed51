"""What the compiled program returns, and how it becomes what was found in an image."""

from collections.abc import Iterator, Sequence

import flax.struct
import jax
import numpy as np

from yolact_jax.config import InputFrame
from yolact_jax.inference.masks import full_size_masks
from yolact_jax.inference.options import Choices
from yolact_jax.structures import Detections, PackedMasks


@flax.struct.dataclass
class Outputs:
    """What the device returns for a batch.

    Attributes:
      detections: [B, D], those that were chosen; the valid ones come first.
      packed_masks: [B, M, Hc, ceil(Wc / 8)] uint8, see `full_size_masks`: of the first
        M of the D slots.
      prototypes: [B, Hp, Wp, K] float32, for the masks of the other slots.
    """

    detections: Detections
    packed_masks: jax.Array
    prototypes: jax.Array


Found = tuple[Detections, PackedMasks]
"""Detections of one image without padding, best first, and their masks."""


def found_in(
    outputs: Outputs,
    images: Sequence[np.ndarray],
    choices: Choices,
    frame: InputFrame | None = None,
) -> Iterator[Found]:
    """Yields what was found in each image of a batch, which it waits for.

    Args:
      outputs: of the program.
      images: [h, w, 3] uint8 RGB, those of the batch.
      choices: of the call.
      frame: the network input; None if images are stretched to it.
    """
    detections, packed = jax.device_get((outputs.detections, outputs.packed_masks))
    for index, image in enumerate(images):
        count = int(detections.valid[index].sum())
        found = jax.tree.map(lambda x, i=index, n=count: x[i, :n], detections)
        masks = _cut(packed[index], image, count)
        while len(masks) < count:
            later = _later_masks(
                outputs, index, found, image, choices, len(masks), frame
            )
            masks += _cut(later, image, count - len(masks))
        yield found, masks


def _cut(packed: np.ndarray, image: np.ndarray, count: int) -> PackedMasks:
    """Takes the first `count` masks, without the padding of the canvas."""
    height, width = image.shape[:2]
    return PackedMasks.of_rows(packed[:count, :height, : -(-width // 8)], width)


def _later_masks(
    outputs: Outputs,
    index: int,
    found: Detections,
    image: np.ndarray,
    choices: Choices,
    first: int,
    frame: InputFrame | None,
) -> np.ndarray:
    """Makes the masks from slot `first` on, which the program had no room for."""
    slots, side = outputs.packed_masks.shape[1:3]
    group = jax.tree.map(lambda x: x[first : first + slots], found)
    missing = slots - len(group.scores)
    masks = _masks_of(
        jax.tree.map(lambda x: _padded(x, missing), group),
        outputs.prototypes[index],
        np.array(image.shape[:2], np.int32),
        (side, side),
        frame,
        mask_margin=choices.mask_margin,
    )
    return np.asarray(masks)


_masks_of = jax.jit(full_size_masks, static_argnums=(3, 4))


def _padded(x: np.ndarray, count: int) -> np.ndarray:
    """Adds empty slots."""
    return np.pad(x, [(0, count), *[(0, 0)] * (x.ndim - 1)])
