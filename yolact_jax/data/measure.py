"""What the numbers in the images of a train split are like, for `Pixels`."""

import dataclasses
import logging
from collections.abc import Callable

import numpy as np

from yolact_jax.config import Data
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.example import Example
from yolact_jax.data.pixels import Pixels
from yolact_jax.data.records.dataset import Dataset, RecordSource

_LOGGER = logging.getLogger(__name__)
_MOST_IMAGES = 1000
_NUMBERS = 1 << 16


def pixels_of(data: Data, dataset: Dataset) -> Pixels:
    """Returns the pixels of a config, with what it leaves open measured and logged.

    The window is left open by ``window_percentiles``; mean and standard deviation
    where there are no three channels, and none are given.  At most 1000 images are
    read, evenly spread over the train split.

    Raises:
      DatasetError: if there is no train split to measure, or a channel has one number
        only.
    """
    closed = dataclasses.replace(data, window_percentiles=())
    pixels = Pixels.of(closed)
    if data.window_percentiles:
        counts = _counts(dataset, pixels, lambda example: example.values)
        asked = data.window_percentiles
        low, high = _windows(counts, asked)
        pixels = dataclasses.replace(pixels, low=low, high=high, percentiles=asked)
    if pixels.channels != 3 and not pixels.mean:
        counts = _counts(dataset, pixels, lambda example: example.image)
        mean, std = _moments(counts)
        pixels = dataclasses.replace(pixels, mean=mean, std=std)
    if pixels != Pixels.of(closed):
        _LOGGER.info("Measured on the train split: %s.", pixels)
    return pixels


def _counts(
    dataset: Dataset, pixels: Pixels, read: Callable[[Example], np.ndarray]
) -> np.ndarray:
    """[N, 65536] int64, how often each channel has each number."""
    source: RecordSource = dataclasses.replace(dataset, pixels=pixels).source("train")
    counts = np.zeros((pixels.channels, _NUMBERS), np.int64)
    number = min(len(source), _MOST_IMAGES)
    for index in np.linspace(0, len(source) - 1, number).round().astype(int):
        values = read(source[int(index)])
        for channel, row in enumerate(counts):
            row += np.bincount(values[..., channel].ravel(), minlength=_NUMBERS)
    return counts


def _windows(
    counts: np.ndarray, percentiles: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The smallest numbers that so many percent of each channel do not exceed."""
    shares = np.cumsum(counts, axis=1) / counts.sum(axis=1, keepdims=True)
    low, high = (
        tuple(float(np.searchsorted(row, p / 100 - 1e-12)) for row in shares)
        for p in percentiles
    )
    for channel, (start, end) in enumerate(zip(low, high, strict=True), start=1):
        if start >= end:
            raise DatasetError(
                f"Channel {channel} of the train split has {start:g} at both of "
                f"config.data.window_percentiles {percentiles}; give other ones, or "
                f"config.data.window_low and window_high."
            )
    return low, high


def _moments(counts: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel; at least 1, for constant ones."""
    numbers, total = np.arange(_NUMBERS), counts.sum(axis=1)
    mean = counts @ numbers / total
    variance = (counts * (numbers - mean[:, None]) ** 2).sum(axis=1) / total
    std = np.sqrt(variance).clip(1.0)
    return tuple(map(float, mean.round(3))), tuple(map(float, std.round(3)))
