"""Batches of several input sizes: each draws one, from its step and the seed alone."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from yolact_jax.config import InputFrame, Size
from yolact_jax.data.example import Example


def size_of_step(sizes: Sequence[Any], step: int, seed: int) -> Any:
    """Draws one of several sizes; one that is there twice, twice as often.

    Args:
      sizes: at least one.
      step: updates before, from 0.
      seed: of the run, 0 or greater.
    """
    return sizes[int(np.random.default_rng([seed, step]).integers(len(sizes)))]


def sized_samples(
    examples: Any,
    make_sample: Callable[..., Any],
    sizes: Sequence[tuple[InputFrame, Size]],
    seed: int,
    batch_size: int,
) -> Any:
    """Maps a grain dataset of examples to samples of the size that their batch draws.

    Args:
      examples: in the order of the batches.
      make_sample: takes an example, a random generator, `frame` and `mask_size`.
      sizes: pairs of `frame` and `mask_size`.
      seed: see `size_of_step`.
      batch_size: examples of a batch.
    """
    choose = functools.partial(_with_sizes, sizes, seed, batch_size)
    make = functools.partial(_make_sized, make_sample)
    return examples.map_with_index(choose).random_map(make)


def _with_sizes(
    sizes: Sequence[tuple[InputFrame, Size]],
    seed: int,
    batch_size: int,
    index: int,
    example: Example,
) -> tuple[Example, tuple[InputFrame, Size]]:
    return example, size_of_step(sizes, index // batch_size, seed)


def _make_sized(
    make_sample: Callable[..., Any],
    sized: tuple[Example, tuple[InputFrame, Size]],
    rng: np.random.Generator,
) -> Any:
    example, (frame, mask_size) = sized
    return make_sample(example, rng, frame=frame, mask_size=mask_size)
