"""Batches of several input sizes: each draws one, from its step and the seed alone."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

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
    sizes: Sequence[tuple[int, int]],
    seed: int,
    batch_size: int,
) -> Any:
    """Maps a grain dataset of examples to samples of the size that their batch draws.

    Args:
      examples: in the order of the batches.
      make_sample: takes an example, a random generator, `input_size` and `mask_size`.
      sizes: pairs of `input_size` and `mask_size`.
      seed: see `size_of_step`.
      batch_size: examples of a batch.
    """
    choose = functools.partial(_with_sizes, sizes, seed, batch_size)
    make = functools.partial(_make_sized, make_sample)
    return examples.map_with_index(choose).random_map(make)


def _with_sizes(
    sizes: Sequence[tuple[int, int]],
    seed: int,
    batch_size: int,
    index: int,
    example: Example,
) -> tuple[Example, tuple[int, int]]:
    return example, size_of_step(sizes, index // batch_size, seed)


def _make_sized(
    make_sample: Callable[..., Any],
    sized: tuple[Example, tuple[int, int]],
    rng: np.random.Generator,
) -> Any:
    example, (input_size, mask_size) = sized
    return make_sample(example, rng, input_size=input_size, mask_size=mask_size)
