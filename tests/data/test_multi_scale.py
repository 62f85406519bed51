"""Batches of several sizes: drawn from step and seed, whoever loads them."""

import collections

import numpy as np
import pytest

from tests.data.test_pipeline import assert_equal, source, take  # noqa: F401
from yolact_jax.config import InputFrame
from yolact_jax.data.multi_scale import size_of_step

SIZES = (
    (InputFrame(48, 48), (16, 16)),
    (InputFrame(64, 40), (20, 14)),
    (InputFrame(40, 48), (14, 16)),
)


def take_sized(source, count, **changes):  # noqa: F811
    return take(source, count, drawn_sizes=SIZES, **changes)


def test_each_batch_has_the_size_that_its_step_draws(source):  # noqa: F811
    batches = take_sized(source, 8)
    for step, batch in enumerate(batches):
        frame, mask_size = size_of_step(SIZES, step, seed=11)
        assert batch["images"].shape == (3, *frame.size, 3)
        assert batch["masks"].shape == (3, 4, *mask_size)
        assert batch["semantic_masks"].shape[2:] == tuple(n // 2 for n in mask_size)
        assert batch["valid"].any(axis=1).all()
    assert len({batch["images"].shape for batch in batches}) == 3


@pytest.mark.parametrize("start", [2, 5])
def test_resuming_gives_the_batches_that_would_have_come(source, start):  # noqa: F811
    rest = take_sized(source, 7 - start, start_step=start)
    assert_equal(take_sized(source, 7)[start:], rest)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_processes_and_workers_agree_on_the_size(source, workers):  # noqa: F811
    whole = take_sized(source, 4, batch_size=6)
    share = {"batch_size": 6, "process_count": 2}
    parts = [
        take_sized(source, 4, process_index=0, num_workers=workers, **share),
        take_sized(source, 4, process_index=1, **share),
    ]
    for batch, *halves in zip(whole, *parts, strict=True):
        for name, array in batch.items():
            joined = np.concatenate([half[name] for half in halves])
            np.testing.assert_array_equal(joined, array)


def test_sizes_are_drawn_equally_often_and_otherwise_with_another_seed():
    drawn = [size_of_step("abc", step, seed=0) for step in range(3000)]
    counts = collections.Counter(drawn)
    assert set(counts) == set("abc")
    assert all(900 < count < 1100 for count in counts.values())
    others = [size_of_step("abc", step, seed=1) for step in range(3000)]
    agreeing = sum(a == b for a, b in zip(drawn, others, strict=True))
    assert 900 < agreeing < 1100
