"""Runs a model on one image, and shows what leads to its detections."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from yolact_jax.inference.engine import canvas_side, check_image
from yolact_jax.structures import Detections, Predictions


@dataclasses.dataclass(frozen=True)
class Inspector:
    """A model with its weights, for looking into it.

    Attributes:
      find_fn: from `make_find_fn`, jitted.
      variables: parameters and batch statistics, from `prepare_variables`.
      anchors_cxcywh: [A, 4] float32.
      candidate_threshold: least score of an anchor's best class to enter NMS.
      iou_threshold: overlap above which NMS drops the lower score.
    """

    find_fn: Callable[..., tuple[Detections, Predictions]]
    variables: dict
    anchors_cxcywh: np.ndarray
    candidate_threshold: float
    iou_threshold: float

    def __call__(self, image: np.ndarray) -> tuple[Detections, Predictions]:
        """Finds the objects of a [h, w, 3] uint8 RGB image.

        Returns:
          Detections without padding, best first, and the raw predictions; NumPy arrays
          without the B axis.

        Raises:
          ValueError: if the image has another type or shape.
        """
        check_image(image)
        side = canvas_side(image)
        canvas = np.zeros((1, side, side, 3), np.uint8)
        canvas[0, : image.shape[0], : image.shape[1]] = image
        outputs = self.find_fn(
            self.variables,
            canvas,
            np.array([image.shape[:2]], np.int32),
            jnp.float32(self.candidate_threshold),
            jnp.float32(self.iou_threshold),
        )
        found, predictions = jax.tree.map(lambda x: np.asarray(x)[0], outputs)
        keep = found.valid & (found.scores > 0)
        return jax.tree.map(lambda x: x[keep], found), predictions
