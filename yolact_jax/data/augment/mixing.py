"""Training samples of several images, off by default.

The other images are drawn by their index, so a sample depends only on its place and
the seed, whichever process makes it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from yolact_jax.config import Augment, InputFrame
from yolact_jax.data.augment import sample as sample_lib
from yolact_jax.data.augment import views
from yolact_jax.data.augment.copy_paste import copy_paste
from yolact_jax.data.augment.mosaic import mosaic
from yolact_jax.data.augment.sample import Sample
from yolact_jax.data.example import Example

_MOSAIC_TRIALS = 10


def mixed_sample(
    example: Example,
    rng: np.random.Generator,
    *,
    others: Sequence[Example],
    options: Augment,
    max_objects: int,
    **sizes: Any,
) -> Sample:
    """Augments one example, with a chance to mix in others.

    Args:
      example: image and annotations.
      rng: source of all randomness.
      others: where the other images come from; they have objects.
      options: which random changes to make.
      max_objects: most annotations to keep.
      **sizes: `frame`, `mask_size` and `mask_target`, as for `training_sample`.

    Returns:
      The fields of `sample.training_sample`; `image_ids` is that of `example`.
    """
    mixed = None
    if _happens(options.mosaic_probability, rng):
        drawn = [others[int(i)] for i in rng.integers(len(others), size=3)]
        mixed = _mosaic_with_objects([example, *drawn], rng, options, sizes)
    elif _happens(options.copy_paste_probability, rng):
        other = others[int(rng.integers(len(others)))]
        mixed = copy_paste(example, other, rng, options=options, **sizes)
        mixed = _without_small(mixed, options, sizes["frame"])
    if mixed is not None:
        return _limited(mixed, max_objects)
    return sample_lib.training_sample(
        example, rng, options=options, max_objects=max_objects, **sizes
    )


def _happens(probability: float, rng: np.random.Generator) -> bool:
    """Draws with a probability; 0 draws nothing, so that other draws stay the same."""
    return probability > 0 and rng.random() < probability


def _mosaic_with_objects(
    examples: Sequence[Example],
    rng: np.random.Generator,
    options: Augment,
    sizes: dict[str, Any],
) -> Sample | None:
    """Draws a mosaic that shows an object; None if several draws show none."""
    for _ in range(_MOSAIC_TRIALS):
        mixed = mosaic(examples, rng, options=options, **sizes)
        mixed = _without_small(mixed, options, sizes["frame"])
        if not mixed["crowd"].all():
            return mixed
    return None


def _without_small(sample: Sample, options: Augment, frame: InputFrame) -> Sample:
    """Leaves out objects of which mixing left too little."""
    large = views.large_enough(
        sample["boxes"], sample["crowd"], frame.size, options.min_object_px
    )
    return sample_lib.take(sample, np.flatnonzero(large))


def _limited(sample: Sample, max_objects: int) -> Sample:
    """Keeps what fits into the slots, and counts the rest."""
    places = sample_lib.slots(sample["boxes"], sample["crowd"], max_objects)
    dropped = np.int32(len(sample["labels"]) - len(places))
    return {**sample_lib.take(sample, places), "dropped": dropped}
