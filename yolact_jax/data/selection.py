"""Which images of a split are trained on, and a view of them as a sequence."""

from collections.abc import Sequence

import numpy as np

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.example import Example
from yolact_jax.data.records.cache import Source


class Selected(Sequence[Example]):
    """Some examples of a source, as a grain data source."""

    def __init__(self, source: Sequence[Example], indices: np.ndarray):
        self._source, self._indices = source, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Example:
        return self._source[int(self._indices[index])]

    def __repr__(self) -> str:
        return f"{len(self)} images of {self._source!r}"


def images_to_train_on(source: Source, negative_share: float, seed: int) -> np.ndarray:
    """Chooses the images with objects, and some or all of the others.

    Args:
      source: the split.
      negative_share: how much of the result images without objects may be; 0: nothing,
        1: all of them, below 1 a random choice.
      seed: of that choice.

    Returns:
      [n] int64, indices in ascending order.

    Raises:
      DatasetError: if no image has an object.
    """
    positive = np.flatnonzero(source.num_objects)
    if not len(positive):
        raise DatasetError(f"No image of {source!r} has an object to train on.")
    negative = np.flatnonzero(source.num_objects == 0)
    if negative_share < 1:
        most = round(len(positive) * negative_share / (1 - negative_share))
        negative = np.random.default_rng(seed).permutation(negative)[:most]
    return np.sort(np.concatenate([positive, negative]))
