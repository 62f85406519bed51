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
label ``c`` is channel ``c + 1``.  Padding is marked by a boolean ``valid``.
"""

import dataclasses

import flax.struct
import jax
import numpy as np


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
class Instances:
    """Detected objects of one image on the host, best first, no padding.

    Attributes:
      boxes_px: [n, 4] float32, ``(x1, y1, x2, y2)`` in pixels, inside the image.
      scores: [n] float32 in [0, 1].
      labels: [n] int32.
      masks: [n, height, width] bool, at the size of the image.
      mask_scores: [n] float32, at least 0, what to rank masks by (YOLACT++), or None.
    """

    boxes_px: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    mask_scores: np.ndarray | None = None

    def __len__(self) -> int:
        """Returns the number of objects."""
        return len(self.scores)

    def take(self, index: np.ndarray) -> "Instances":
        """Selects or orders objects by a mask or indices, as NumPy does."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Instances(
            **{k: None if v is None else v[index] for k, v in fields.items()}
        )

    def ranked_by_mask(self) -> "Instances":
        """Puts the scores of the masks, if there are any, in place of the others."""
        if self.mask_scores is None:
            return self
        order = np.argsort(-self.mask_scores, kind="stable")
        return dataclasses.replace(self, scores=self.mask_scores).take(order)
