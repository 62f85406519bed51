"""Batches of a stream of images: neighbors that one call can take."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

_MOST_PIXELS = 4096**2


def batch_that_fits(most: int, pixels: int, devices: int = 1) -> int:
    """Returns how many images a call takes: fewer of large ones, which have many masks.

    Args:
      most: images of a call at most.
      pixels: of an image, or of the canvas that it lies on.
      devices: that share a call; each has at least one image.
    """
    fitting = _MOST_PIXELS // pixels // devices * devices
    return max(devices, min(most, fitting))


def alike_neighbors(
    images: Iterable[np.ndarray],
    kind_of: Callable[[np.ndarray], Any],
    most_of: Callable[[Any], int],
    channels: int,
) -> Iterator[list[np.ndarray]]:
    """Groups images with neighbors of the same kind.

    An error of the iterable comes after the images before it.

    Args:
      images: [h, w, N] uint8, of any sizes.
      kind_of: an image's kind.
      most_of: how many images of a kind a group can have.
      channels: N.

    Raises:
      ValueError: if an image has another type or shape.
    """
    group: list[np.ndarray] = []
    errors: list[Exception] = []
    for image in _until_error(images, channels, errors):
        kind = kind_of(group[0]) if group else None
        if group and (kind_of(image) != kind or len(group) == most_of(kind)):
            yield group
            group = []
        group.append(image)
    if group:
        yield group
    for error in errors:
        raise error


def _until_error(
    images: Iterable[np.ndarray], channels: int, errors: list[Exception]
) -> Iterator[np.ndarray]:
    try:
        for image in images:
            check_image(image, channels)
            yield image
    except Exception as error:
        errors.append(error)


def check_image(image: np.ndarray, channels: int) -> None:
    """Raises a ValueError unless an image is [h, w, channels] uint8 and not empty."""
    ok = isinstance(image, np.ndarray) and image.dtype == np.uint8
    if not ok or image.ndim != 3 or image.shape[2] != channels or 0 in image.shape:
        came = f"{image.dtype} {image.shape}" if hasattr(image, "shape") else image
        raise ValueError(
            f"`image` must be a uint8 {'RGB ' * (channels == 3)}array of shape "
            f"[h, w, {channels}]; got {came}."
        )
