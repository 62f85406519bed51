"""Runs a model on one image, and shows what leads to its detections."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from yolact_jax.inference.engine import canvas_side
from yolact_jax.inference.neighbors import check_image
from yolact_jax.inference.options import Choices
from yolact_jax.structures import Detections, Predictions


@dataclasses.dataclass(frozen=True)
class Inspector:
    """A model with its weights, for looking into it.

    Attributes:
      find_fn: from `make_find_fn`, jitted.
      variables: parameters and batch statistics, from `prepare_variables`.
      anchors_cxcywh: [A, 4] float32.
      choices: which objects.
      channels: N, of the images.
    """

    find_fn: Callable[..., tuple[Detections, Predictions]]
    variables: dict
    anchors_cxcywh: np.ndarray
    choices: Choices
    channels: int

    def __call__(self, image: np.ndarray) -> tuple[Detections, Predictions]:
        """Finds the objects of a [h, w, N] uint8 image.

        Returns:
          Detections without padding, best first, and the raw predictions; NumPy arrays
          without the B axis.

        Raises:
          ValueError: if the image has another type or shape.
        """
        check_image(image, self.channels)
        side = canvas_side(image)
        canvas = np.zeros((1, side, side, self.channels), np.uint8)
        canvas[0, : image.shape[0], : image.shape[1]] = image
        outputs = self.find_fn(
            self.variables,
            canvas,
            np.array([image.shape[:2]], np.int32),
            self.choices,
        )
        found, predictions = jax.tree.map(lambda x: np.asarray(x)[0], outputs)
        return jax.tree.map(lambda x: x[found.valid], found), predictions
