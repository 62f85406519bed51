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
from collections.abc import Iterator, Sequence

import flax.struct
import jax
import numpy as np

# On a device or on the host.
Array = jax.Array | np.ndarray


@flax.struct.dataclass
class Batch:
    """Padded images and ground truth, as the training step receives them.

    Attributes:
      images: [B, H, W, 3] uint8, RGB.
      boxes: [B, G, 4] float32.
      labels: [B, G] int32.
      masks: [B, G, Hp, Wp] uint8, 0 or 1, at prototype resolution.
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


@dataclasses.dataclass(frozen=True)
class PackedMasks:
    """Masks of one image on the host, eight pixels a byte.

    Attributes:
      rows: [n, height, ceil(width / 8)] uint8, each row from `numpy.packbits`.
      width: of the image, pixels.
    """

    rows: np.ndarray
    width: int

    @classmethod
    def pack(cls, masks: np.ndarray) -> "PackedMasks":
        """Packs [n, height, width] bool masks."""
        return cls(np.packbits(masks, axis=-1), masks.shape[-1])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image, pixels."""
        return self.rows.shape[1], self.width

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index) -> "PackedMasks":
        return PackedMasks(self.rows[index], self.width)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Unpacks one [height, width] bool mask after the other."""
        return (_unpacked(rows, self.width) for rows in self.rows)

    def unpack(self) -> np.ndarray:
        """Unpacks all to [n, height, width] bool."""
        return _unpacked(self.rows, self.width)


@dataclasses.dataclass(frozen=True)
class CroppedMasks:
    """Masks of one large image on the host, each stored only where it is.

    It is used as `PackedMasks` is.

    Attributes:
      crops: the part of each mask that is not empty.
      corners: top and left of each part, pixels.
      size: height and width of the image, pixels.
    """

    crops: tuple[PackedMasks, ...]
    corners: tuple[tuple[int, int], ...]
    size: tuple[int, int]

    @classmethod
    def pack(
        cls,
        crops: Sequence[np.ndarray],
        corners: Sequence[tuple[int, int]],
        size: tuple[int, int],
    ) -> "CroppedMasks":
        """Packs n bool masks [h, w], each with its own size."""
        packed = tuple(PackedMasks.pack(crop[None]) for crop in crops)
        return cls(packed, tuple(corners), size)

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index) -> "CroppedMasks":
        chosen = np.arange(len(self))[index]
        return CroppedMasks(
            tuple(self.crops[i] for i in chosen),
            tuple(self.corners[i] for i in chosen),
            self.size,
        )

    def __iter__(self) -> Iterator[np.ndarray]:
        """Makes one [height, width] bool mask after the other."""
        for crop, (top, left) in zip(self.crops, self.corners, strict=True):
            mask = np.zeros(self.size, bool)
            height, width = crop.size
            mask[top : top + height, left : left + width] = crop.unpack()[0]
            yield mask

    def unpack(self) -> np.ndarray:
        """Makes all, [n, height, width] bool."""
        return np.array([*self], bool).reshape(-1, *self.size)


def _unpacked(rows: np.ndarray, width: int) -> np.ndarray:
    if not rows.size:  # `unpackbits` refuses an axis without elements.
        return np.zeros((*rows.shape[:-1], width), bool)
    return np.unpackbits(rows, axis=-1, count=width).view(bool)
