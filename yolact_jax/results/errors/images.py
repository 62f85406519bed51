"""AP by what is in the image, and how sure a difference of AP is."""

from collections.abc import Sequence

import numpy as np

from yolact_jax.results.errors.matches import Matches
from yolact_jax.results.errors.precision import class_precision, mean_of_known

CROWDING = (1, 2, 3, 5, 9, 17, 33, 65)
"""First number of objects of each group of images."""


def by_crowding(matches: Matches) -> list[dict[str, float]]:
    """AP of images by their number of objects.

    Returns:
      For each group that has images: `objects_from` and `objects_to` (-1 for no
      bound), `images`, `objects`, and `AP`, over IoU 0.50 to 0.95, of those images
      alone.
    """
    objects = np.bincount(
        matches.truth_image[~matches.crowd].astype(int), minlength=matches.num_images
    )
    ends = [*(start - 1 for start in CROWDING[1:]), -1]
    groups = []
    for first, last in zip(CROWDING, ends, strict=True):
        inside = (objects >= first) & ((objects <= last) | (last < 0))
        if inside.any():
            precision = class_precision(matches, inside.astype(float))
            groups.append(
                {
                    "objects_from": first,
                    "objects_to": last,
                    "images": int(inside.sum()),
                    "objects": int(objects[inside].sum()),
                    "AP": float(mean_of_known(precision).mean()),
                }
            )
    return groups


def bootstrap_differences(
    first: Matches, second: Matches, *, samples: int = 200, seed: int = 0
) -> dict[str, np.ndarray]:
    """How far AP differs between two models on the same images, and how surely.

    The images are drawn anew, with replacement, the same for both models.

    Args:
      first: of all images.
      second: of the same images in the same order.
      samples: how many draws.
      seed: of the draws.

    Returns:
      `difference` (second minus first), `low` and `high`, the bounds of the middle 95 %
      of the draws; each [C + 1] float64, the mean over classes last; nan where a class
      has no objects.

    Raises:
      ValueError: if the images differ in number.
    """
    if first.num_images != second.num_images:
        raise ValueError(
            f"the first run has {first.num_images} images, the second "
            f"{second.num_images}; both must be evaluated on the same."
        )
    count = first.num_images
    generator = np.random.default_rng(seed)
    draws = [
        np.bincount(generator.integers(0, count, count), minlength=count)
        for _ in range(samples if count else 0)
    ]
    differences = np.array([_difference((first, second), draw) for draw in draws])
    exact = _difference((first, second), np.ones(count))
    low, high = (_quantile(differences, q, len(exact)) for q in (0.025, 0.975))
    return {"difference": exact, "low": low, "high": high}


def _difference(pair: Sequence[Matches], weights: np.ndarray) -> np.ndarray:
    """[C + 1] float64, AP of the second minus that of the first."""
    rows = []
    for matches in pair:
        classes = class_precision(matches, weights.astype(float)).mean(axis=1)
        rows.append(np.append(classes, mean_of_known(classes)))
    return rows[1] - rows[0]


def _quantile(values: np.ndarray, share: float, columns: int) -> np.ndarray:
    """Quantiles over the first axis of what is not nan; nan where nothing is."""
    result = np.full(columns, np.nan)
    for column in range(columns if len(values) else 0):
        known = values[~np.isnan(values[:, column]), column]
        if len(known):
            result[column] = np.quantile(known, share)
    return result
