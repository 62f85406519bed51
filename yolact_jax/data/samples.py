"""Training samples, each made when it is read, in the order of the batches."""

import functools
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from yolact_jax.config import Augment, InputFrame, Size
from yolact_jax.data.augment.mixing import mixed_sample
from yolact_jax.data.augment.sample import Sample
from yolact_jax.data.example import Example
from yolact_jax.data.multi_scale import sized_samples
from yolact_jax.data.records.cache import Source
from yolact_jax.data.selection import Selected, images_to_train_on


def seen_sample(
    source: Source,
    index: int,
    epoch: int,
    *,
    frame: InputFrame,
    mask_size: Size,
    augment: Augment,
    seed: int,
    batch_size: int,
    negative_share: float = 0.0,
    drawn_sizes: Sequence[tuple[InputFrame, Size]] = (),
    **options: Any,
) -> tuple[int, Sample]:
    """Makes again what `training_batches` show of an image in an epoch.

    Args:
      source: the split.
      index: of the image in it, from 0.
      epoch: from 1.
      frame: as for `training_batches`, like all that follow.
      mask_size: height and width of the masks, pixels, or their side.
      augment: which random changes to make.
      seed: of shuffling and augmentation.
      batch_size: B, images per batch over all processes.
      negative_share: see `images_to_train_on`.
      drawn_sizes: of which each batch draws one.
      **options: `max_objects` and `mask_target`.

    Returns:
      Its place p among the samples of all epochs, from 0, which is row p % B of batch
      p // B, and the sample, see `sample.training_sample`.

    Raises:
      ValueError: if there is no such image or epoch, or it is not trained on.
    """
    if epoch < 1:
        raise ValueError(f"`epoch` is {epoch}; it must be at least 1.")
    chosen = images_to_train_on(source, negative_share, seed)
    found = np.flatnonzero(chosen == index)
    if not len(found):
        raise ValueError(
            f"`index` is {index}; it must be that of an image in 0..{len(source) - 1} "
            f"that is trained on: one with objects, or that data.negatives keeps."
        )
    order = _shuffled(range(len(chosen)), seed)
    places = range((epoch - 1) * len(chosen), epoch * len(chosen))
    place = next(p for p in places if order[p] == found[0])
    sizes = drawn_sizes or [(frame, mask_size)]
    samples = samples_of(
        source, chosen, seed, batch_size, sizes, options=augment, **options
    )
    return place, samples[place]


def samples_of(
    source: Source,
    chosen: np.ndarray,
    seed: int,
    batch_size: int,
    sizes: Sequence[tuple[InputFrame, Size]],
    **arguments: Any,
) -> Any:
    """Samples of the chosen images, epoch after epoch, each made when it is read.

    Args:
      source: the split.
      chosen: [n] indices of images in it.
      seed: of shuffling and augmentation.
      batch_size: images per batch over all processes.
      sizes: pairs of `frame` and `mask_size`, of which each batch draws one.
      **arguments: of `mixing.mixed_sample`.
    """
    others = Selected(source, np.flatnonzero(source.num_objects))
    make_sample = functools.partial(_sample, others=others, **arguments)
    examples = _shuffled(Selected(source, chosen), seed)
    if len(sizes) > 1:
        return sized_samples(examples, make_sample, sizes, seed, batch_size)
    ((frame, mask_size),) = sizes
    make = functools.partial(make_sample, frame=frame, mask_size=mask_size)
    return examples.random_map(make)


def _shuffled(items: Sequence, seed: int) -> Any:
    """Repeats items without end, each epoch in another order."""
    import grain

    return grain.MapDataset.source(items).seed(seed).shuffle().repeat()


def _sample(
    example: Example, rng: np.random.Generator, **arguments: Any
) -> dict[str, np.ndarray]:
    """Makes one training sample on one core: many run at the same time."""
    cv2.setNumThreads(0)
    return mixed_sample(example, rng, **arguments)
