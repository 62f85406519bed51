"""The loss of each image and object of a split, under a trained model."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.data.augment import sample, view, views
from yolact_jax.data.example import Example
from yolact_jax.inference.engine import prepare_variables
from yolact_jax.losses.per_object import ObjectLosses, object_losses
from yolact_jax.models.normalize import normalize_images
from yolact_jax.structures import Batch, Predictions

_TERMS = ("box", "classification", "mask")


@dataclasses.dataclass(frozen=True)
class ImageLosses:
    """Losses of one image without augmentation.

    Attributes:
      image_id: of the image.
      annotation: [n] int64, index of each object among the annotations of the image.
      losses: [n, 3] float32, box, classification and mask, weighted.
      disagreement: [n] float32, see `ObjectLosses`.
      unlabeled: loss of what looks most like an object where none is labeled.
    """

    image_id: int
    annotation: np.ndarray
    losses: np.ndarray
    disagreement: np.ndarray
    unlabeled: float

    @property
    def worst(self) -> float:
        """The largest loss of an object, or of what looks like one."""
        return float(max(self.losses.sum(axis=1).max(initial=0.0), self.unlabeled))


def image_losses(
    examples: Iterable[Example], config: Config, variables: dict, num_classes: int
) -> Iterator[ImageLosses]:
    """Yields the losses of one image after the other.

    Args:
      examples: images with annotations.
      config: of the model; objects beyond ``data.max_objects`` are left out.
      variables: parameters and batch statistics.
      num_classes: C.
    """
    model = build.make_model(config, num_classes)
    prepared = prepare_variables(model, variables, config.data.frame.size)
    compute = _loss_fn(config, num_classes)
    for example in examples:
        chosen, batch = _batch(example, config)
        found = jax.device_get(compute(prepared, batch))
        terms = [getattr(found, name)[: len(chosen)] for name in _TERMS]
        yield ImageLosses(
            example.image_id,
            chosen,
            np.stack(terms, axis=1),
            found.disagreement[: len(chosen)],
            float(found.unlabeled),
        )


def _loss_fn(config: Config, num_classes: int) -> Callable[..., ObjectLosses]:
    model, anchors = build.make_model(config, num_classes), build.make_anchors(config)

    @jax.jit
    def compute(variables: dict, batch: Batch) -> ObjectLosses:
        images = normalize_images(batch.images[None], model.normalization)
        predictions = cast("Predictions", model.apply(variables, images, train=False))
        one = jax.tree.map(lambda x: x[0], predictions)
        return object_losses(one, batch, jnp.asarray(anchors), config.loss)

    return compute


def _batch(example: Example, config: Config) -> tuple[np.ndarray, Batch]:
    """The image as the network sees it, and the annotations of its slots."""
    options, frame = config.data, config.data.frame
    whole = view.whole(example.height, example.width, frame)
    kept = views.keep(example.annotations, whole, frame.size)
    kept = kept[~example.annotations.crowd[kept]]
    chosen = sample.select(example.annotations, whole, kept, options.max_objects)
    truth = sample.ground_truth(
        example,
        whole,
        chosen,
        input_size=frame.size,
        mask_size=build.prototype_size(config),
        mask_target=options.mask_target,
    )
    truth["images"] = sample.render(
        example.image, whole, None, frame.size, mean=example.pixels.mean
    )
    padded = sample.collate([truth], options.max_objects)
    fields = ("images", "boxes", "labels", "masks", "valid", "crowd")
    return chosen, Batch(**{name: padded[name][0] for name in fields})
