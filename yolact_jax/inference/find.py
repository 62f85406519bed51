"""The first half of inference: pixels to detections, with their coefficients."""

import dataclasses
from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from yolact_jax.config import Eval, InputFrame
from yolact_jax.inference.detect import detect, keep_chosen, rescore_masks
from yolact_jax.inference.options import Choices
from yolact_jax.models.normalize import normalize_images
from yolact_jax.models.yolact import mask_iou_fn_of
from yolact_jax.ops import letterbox
from yolact_jax.ops.resize import resize_valid
from yolact_jax.structures import Detections, Predictions


def make_find_fn(
    model: nn.Module, anchors_cxcywh: np.ndarray, frame: InputFrame, options: Eval
) -> Callable[..., tuple[Detections, Predictions]]:
    """Makes the part of inference before full-size masks; not compiled.

    Args and the function that it returns are as for `make_predict_fn`, but for what
    comes out: the detections, with boxes as fractions of the image, and the raw
    predictions, which are of the network input.
    """

    def find(variables, canvases, sizes, choices: Choices):
        resize = jax.vmap(lambda image, size: resize_valid(image, size, frame))
        images = normalize_images(resize(canvases, sizes), model.normalization)
        predictions = cast("Predictions", model.apply(variables, images, train=False))
        detections = detect(
            predictions,
            jnp.asarray(anchors_cxcywh),
            score_threshold=jnp.asarray(choices.candidate_threshold),
            iou_threshold=jnp.asarray(choices.iou_threshold),
            options=options,
            input_size=frame.size,
        )
        mask_iou_fn = mask_iou_fn_of(model, variables)
        if mask_iou_fn is not None:
            detections = jax.vmap(
                lambda *image: rescore_masks(*image, mask_iou_fn=mask_iou_fn)
            )(detections, predictions.prototypes)
        detections = jax.vmap(keep_chosen, (0, None))(
            detections, choices.score_thresholds
        )
        boxes = jax.vmap(lambda b, size: letterbox.to_image(b, size, frame))
        detections = dataclasses.replace(
            detections, boxes=boxes(detections.boxes, sizes)
        )
        return detections, predictions

    return find
