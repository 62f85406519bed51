"""What the learning benchmark reads, smooths and refuses."""

import numpy as np
import pytest

from benchmarks import learning

RECORD = """Prose with 1 10 numbers.

seed step B C M S total
1 50 2.0 1.0 10.0 0.5 13.5
2 50 4.0 2.0 12.0 0.7 18.7
3 50 900000.0 7.0 66.0 19.0 900092.0
1 100 3.0 1.0 8.0 0.5 12.5
"""


def course(length, **changes):
    """Metrics of a run whose losses stay the same."""
    values = {"box": 3.0, "class": 1.5, "mask": 11.0, "semantic": 0.6, "loss": 16.1}
    row = {f"train/{name}": value for name, value in (values | changes).items()}
    return [row] * length


def test_band_is_that_of_seeds_that_did_not_diverge():
    band = learning.read_band(RECORD, (50, 100))
    np.testing.assert_array_equal(band[50][0], [2.0, 1.0, 10.0, 0.5, 13.5])
    np.testing.assert_array_equal(band[50][1], [4.0, 2.0, 12.0, 0.7, 18.7])
    np.testing.assert_array_equal(band[100][0], band[100][1])
    with pytest.raises(ValueError, match="no losses of step 150"):
        learning.read_band(RECORD, (150,))


def test_losses_are_averaged_over_the_last_hundred_steps():
    losses = course(10, mask=1000.0) + course(50, mask=20.0) + course(60, mask=30.0)
    mask = learning.NAMES.index("mask")
    assert learning.smoothed(losses, 0)[mask] == 1000.0
    assert learning.smoothed(losses, 109)[mask] == 25.0
    assert learning.smoothed(losses, 19)[mask] == 510.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"mask": 14.3}, []),  # Within a fifth of the highest.
        ({"mask": 14.5}, ["mask at step 50 is 14.500"]),
        ({"box": 1.5}, ["box at step 50 is 1.500"]),  # Too easy.
        ({"class": float("nan")}, ["class at step 50 is nan"]),
    ],
)
def test_what_leaves_the_band_is_named(changes, words):
    found = learning.outside(course(60, **changes), learning.read_band(RECORD, (50,)))
    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found, strict=True))
