"""The loss of each image and object of a split, under a trained model."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from yolact_jax import build
from yolact_jax.config import Augment, Config
from yolact_jax.data.augment import sample, view, views
from yolact_jax.data.example import Example
from yolact_jax.inference.engine import prepare_variables
from yolact_jax.losses.per_object import ObjectLosses, object_losses
from yolact_jax.models.normalize import normalize_images
from yolact_jax.structures import Batch, Predictions

_TERMS = ("box", "classification", "mask")


@dataclasses.dataclass(frozen=True)
class ImageLosses:
    """Losses of one image, means over the flips in which an object has anchors.

    Attributes:
      image_id: of the image.
      annotation: [n] int64, index of each object among the annotations of the image.
      matched: [n] bool, whether training would show the object to any anchor; what
        follows means nothing otherwise.
      losses: [n, 3] float32, box, classification and mask, weighted.
      contradicted: [n] float32, log-probability of the most likely other class minus
        that of the label, see `evidence` of `ObjectLosses`; above 0 where the model
        believes in that class, and -inf where there is no other class.
      likely: [n] int64, that class; the label where there is no other.
      background: [n] float32, see `ObjectLosses`.
      unlabeled: score in [0, 1] of what looks most like an object where none is
        labeled, in the image as it is.
      unlabeled_label: its class.
      unlabeled_px: [4] float32, its corners in the image.
    """

    image_id: int
    annotation: np.ndarray
    matched: np.ndarray
    losses: np.ndarray
    contradicted: np.ndarray
    likely: np.ndarray
    background: np.ndarray
    unlabeled: float = 0.0
    unlabeled_label: int = 0
    unlabeled_px: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros(4, np.float32)
    )


def image_losses(
    examples: Iterable[Example], config: Config, variables: dict, num_classes: int
) -> Iterator[ImageLosses]:
    """Yields the losses of one image after the other.

    Args:
      examples: images with annotations.
      config: of the model.
      variables: parameters and batch statistics.
      num_classes: C.
    """
    model = build.make_model(config, num_classes)
    prepared = prepare_variables(model, variables, config.data.frame.size)
    compute = _loss_fn(config, num_classes)
    for example in examples:
        chosen, batch = _batch(example, config)
        size = example.height, example.width
        sides = np.array([*size[::-1]] * 2, np.float32)
        share = np.array(config.data.frame.share(*size), np.float32)
        found = jax.device_get(compute(prepared, batch, share))
        terms = [getattr(found, name)[: len(chosen)] for name in _TERMS]
        yield ImageLosses(
            example.image_id,
            chosen,
            found.matched[: len(chosen)],
            np.stack(terms, axis=1),
            *contradictions(example.annotations.labels[chosen], found.evidence),
            found.background[: len(chosen)],
            float(found.unlabeled.score),
            int(found.unlabeled.label),
            np.clip(found.unlabeled.box / np.tile(share, 2), 0, 1) * sides,
        )


def contradictions(
    labels: np.ndarray, evidence: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compares each label with the other classes.

    Args:
      labels: [n] int.
      evidence: [G, C] float32, of `ObjectLosses`; the first n rows are used.

    Returns:
      `contradicted` and `likely` of `ImageLosses`.
    """
    rows = np.arange(len(labels))
    others = evidence[: len(labels)].copy()
    own = others[rows, labels]
    others[rows, labels] = -np.inf
    return others.max(axis=1) - own, others.argmax(axis=1)


def _loss_fn(config: Config, num_classes: int) -> Callable[..., ObjectLosses]:
    model, anchors = build.make_model(config, num_classes), build.make_anchors(config)
    # The padding of a letterboxed image has its place.
    flips = [(False, False)] if config.data.frame.letterbox else _flips(config.augment)

    @jax.jit
    def compute(variables: dict, batch: Batch, share: jax.Array) -> ObjectLosses:
        def of_view(predictions: Predictions, batch: Batch) -> ObjectLosses:
            all_anchors = jnp.asarray(anchors)
            return object_losses(predictions, batch, all_anchors, config.loss, share)

        views = [_flipped(batch, *flip) for flip in flips]
        views = jax.tree.map(lambda *x: jnp.stack(x), *views)
        images = normalize_images(views.images, model.normalization)
        predictions = cast("Predictions", model.apply(variables, images, train=False))
        return mean_of_views(jax.vmap(of_view)(predictions, views))

    return compute


def mean_of_views(views: ObjectLosses) -> ObjectLosses:
    """Averages [V, ...] losses over the views in which an object is matched.

    Returns:
      The means, 0 where an object is matched in no view; `unlabeled` is of the first.
    """

    def of_slot(slot: ObjectLosses) -> ObjectLosses:
        count = jnp.maximum(jnp.sum(slot.matched), 1)
        return jax.tree.map(lambda x: jnp.sum(x, axis=0) / count, slot)

    slots = dataclasses.replace(views, unlabeled=None)
    mean = jax.vmap(of_slot, in_axes=1)(slots)
    first = jax.tree.map(lambda x: x[0], views.unlabeled)
    matched = jnp.any(views.matched, axis=0)
    return dataclasses.replace(mean, matched=matched, unlabeled=first)


def _flips(augment: Augment) -> list[tuple[bool, bool]]:
    """Which of left and right, and of top and bottom, change places in each view."""
    either = (False, True)
    return list(
        itertools.product(
            either[: 1 + augment.mirror], either[: 1 + augment.flip_vertical]
        )
    )


def _flipped(batch: Batch, sideways: bool, upside_down: bool) -> Batch:
    """Flips one image and its objects."""
    images, masks, boxes = batch.images, batch.masks, batch.boxes
    x1, y1, x2, y2 = boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3]
    if sideways:
        images, masks, x1, x2 = images[:, ::-1], masks[:, :, ::-1], 1 - x2, 1 - x1
    if upside_down:
        images, masks, y1, y2 = images[::-1], masks[:, ::-1], 1 - y2, 1 - y1
    boxes = jnp.stack([x1, y1, x2, y2], axis=1)
    return dataclasses.replace(batch, images=images, masks=masks, boxes=boxes)


def _batch(example: Example, config: Config) -> tuple[np.ndarray, Batch]:
    """The image as the network sees it, and the objects of its first slots.

    Crowds follow them.  There are slots for all, also where training has fewer.
    """
    options, frame = config.data, config.data.frame
    whole = view.whole(example.height, example.width, frame)
    kept = views.keep(example.annotations, whole, frame.size)
    chosen = sample.select(example.annotations, whole, kept, len(kept))
    slots = options.max_objects
    while slots < len(chosen):  # Few numbers of slots, for each is compiled anew.
        slots *= 2
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
    padded = sample.collate([truth], slots)
    fields = ("images", "boxes", "labels", "masks", "valid", "crowd")
    batch = Batch(**{name: padded[name][0] for name in fields})
    return chosen[~example.annotations.crowd[chosen]], batch
