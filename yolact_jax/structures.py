"""Data structures that cross module borders, and the glossary of array shapes.

Shape letters, used in every docstring of the package:

  B      images in a batch
  H W    height and width of the network input, pixels
  A      anchors (also called priors) over all pyramid levels
  G      padded ground-truth slots per image
  C      foreground classes (the background class is not counted)
  K      prototype masks
  Hp Wp  height and width of the prototype masks
  D      padded detection slots per image

Boxes are ``(x1, y1, x2, y2)`` as fractions of image width and height, unless the
name says otherwise (``anchors_cxcywh``, ``boxes_px``).  Labels count foreground
classes from 0; in class logits and class targets channel 0 is the background and
label ``c`` is channel ``c + 1``.  A boolean ``valid`` marks what is not padding.
"""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import flax.struct
import jax
import numpy as np

_SMALL_MASK_BYTES = (
    2**16
)  # up to about 700 x 700 pixels; looking for a window is slower

# On a device or on the host.
Array = jax.Array | np.ndarray


@flax.struct.dataclass
class Batch:
    """Padded images and ground truth, as the training step receives them.

    Attributes:
      images: [B, H, W, 3] uint8 RGB, or int16 with colors beyond 0..255.
      boxes: [B, G, 4] float32.
      labels: [B, G] int32.
      masks: [B, G, Hp, Wp] uint8, 0 or 1, at prototype resolution; or float16, the
        share of each cell that the object covers.
      valid: [B, G] bool, whether the slot holds an annotation.
      crowd: [B, G] bool, whether the annotation is a crowd region, which only
        keeps anchors on it from becoming negatives.
      semantic_masks: [B, G, Hp // 2, Wp // 2] uint8, 0 or 1, for the semantic loss,
        or None to make them of `masks`.
    """

    images: jax.Array
    boxes: jax.Array
    labels: jax.Array
    masks: jax.Array
    valid: jax.Array
    crowd: jax.Array
    semantic_masks: jax.Array | None = None

    @property
    def is_object(self) -> jax.Array:
        """[B, G] bool, whether the slot holds an object to be detected."""
        return self.valid & ~self.crowd


@flax.struct.dataclass
class Predictions:
    """Raw network outputs; anchors run over levels, rows, columns, anchor shapes.

    Attributes:
      box_deltas: [B, A, 4] float32, encoded offsets to the anchors.
      class_logits: [B, A, C + 1] float32, channel 0 is the background.
      coefficients: [B, A, K] float32 in (-1, 1), after tanh.
      prototypes: [B, Hp, Wp, K] float32, non-negative.
      semantic_logits: [B, Hp // 2, Wp // 2, C] float32 in training, else None.
    """

    box_deltas: jax.Array
    class_logits: jax.Array
    coefficients: jax.Array
    prototypes: jax.Array
    semantic_logits: jax.Array | None = None


@flax.struct.dataclass
class Detections:
    """Detections of one image or batch, best first, padded to D slots.

    Attributes:
      boxes: [..., D, 4] float32, not clipped to the image.
      scores: [..., D] float32 in [0, 1], 0 where not valid.
      labels: [..., D] int32.
      coefficients: [..., D, K] float32.
      anchor_index: [..., D] int32, the anchor each detection came from.
      valid: [..., D] bool.
      mask_scores: [..., D] float32, at least 0: scores times the predicted IoU of
        the masks (YOLACT++), or None.
    """

    boxes: jax.Array
    scores: jax.Array
    labels: jax.Array
    coefficients: jax.Array
    anchor_index: jax.Array
    valid: jax.Array
    mask_scores: jax.Array | None = None


class Window(NamedTuple):
    """A part of a mask that has all of its pixels.

    Attributes:
      top: first row.
      left: first column, a multiple of 8.
      rows: [h, n] uint8, eight pixels a byte, from `numpy.packbits`.
    """

    top: int
    left: int
    rows: np.ndarray


@dataclasses.dataclass(frozen=True)
class PackedMasks:
    """Masks of one image on the host, which take as much memory as the objects need.

    Attributes:
      size: height and width of the image, pixels.
      windows: one for each mask.
    """

    size: tuple[int, int]
    windows: tuple[Window, ...]

    @classmethod
    def pack(cls, masks: np.ndarray) -> "PackedMasks":
        """Packs [n, height, width] bool masks."""
        return cls.of_rows(np.packbits(masks, axis=-1), masks.shape[-1])

    @classmethod
    def of_rows(cls, rows: np.ndarray, width: int) -> "PackedMasks":
        """Takes [n, height, ceil(width / 8)] uint8 packed rows, which are copied."""
        return cls((rows.shape[1], width), tuple(map(_window, rows)))

    def __len__(self) -> int:
        return len(self.windows)

    def __add__(self, other: "PackedMasks") -> "PackedMasks":
        return PackedMasks(self.size, self.windows + other.windows)

    def __getitem__(self, index) -> "PackedMasks":
        """Selects as NumPy does: by slice, mask or numbers."""
        chosen = np.arange(len(self))[index]
        return PackedMasks(self.size, tuple(self.windows[i] for i in chosen))

    def __iter__(self) -> Iterator[np.ndarray]:
        """Unpacks one [height, width] bool mask after the other."""
        return (
            self._unpack_into(np.zeros(self.size, bool), window)
            for window in self.windows
        )

    def unpack(self) -> np.ndarray:
        """Unpacks all to [n, height, width] bool."""
        masks = np.zeros((len(self), *self.size), bool)
        for window, mask in zip(self.windows, masks, strict=True):
            self._unpack_into(mask, window)
        return masks

    def parts(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """Unpacks one window after the other: first row and column, [h, w] bool."""
        return (self._part(window) for window in self.windows)

    def _part(self, window: Window) -> tuple[int, int, np.ndarray]:
        top, left, rows = window
        width = min(8 * rows.shape[1], self.size[1] - left)
        if not rows.size:  # `unpackbits` refuses an axis without elements.
            return top, left, np.zeros((len(rows), width), bool)
        return top, left, np.unpackbits(rows, axis=-1, count=width).view(bool)

    def _unpack_into(self, mask: np.ndarray, window: Window) -> np.ndarray:
        top, left, part = self._part(window)
        mask[top : top + len(part), left : left + part.shape[1]] = part
        return mask


def _window(rows: np.ndarray) -> Window:
    """Copies the part of a packed mask that is not 0."""
    if rows.nbytes < _SMALL_MASK_BYTES:
        return Window(0, 0, rows.copy())
    y, x = (np.flatnonzero(rows.any(axis=axis)) for axis in (1, 0))
    if not len(y):
        return Window(0, 0, rows[:0, :0].copy())
    top, left = int(y[0]), int(x[0])
    return Window(top, 8 * left, rows[top : y[-1] + 1, left : x[-1] + 1].copy())
