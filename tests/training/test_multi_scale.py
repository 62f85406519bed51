"""Steps of several input sizes: each is that of its size, and stops are invisible."""

import os
import signal

import jax
import numpy as np
import pytest

from tests.helpers.runs import rows, tiny_config
from yolact_jax.config import at_size, training_sizes
from yolact_jax.run.metrics import append_row
from yolact_jax.training import loop, memory, parts
from yolact_jax.training.interruption import Interrupted
from yolact_jax.training.monitor import recorder

pytestmark = pytest.mark.long

SIZES = (64, 96)


def text_of(config, size):
    """The program of a step of a size."""
    state = parts.abstract_state(config, 5, sharding=None)
    batch = memory.abstract_batch(at_size(config, size), 4, sharding=None)
    step = jax.jit(parts.train_step_fn(config, 5))
    return step.lower(state, batch, jax.random.key(0)).as_text()


def test_step_of_a_size_is_that_of_a_run_of_this_size_alone(tmp_path):
    plain = tiny_config(tmp_path)
    text = text_of(plain.replace({"train.multi_scale": SIZES}), 96)
    assert text == text_of(at_size(plain, 96), 96)


def test_memory_is_asked_for_the_largest_input(tmp_path):
    config = tiny_config(tmp_path).replace({"train.multi_scale": (64, 96, 32)})
    largest = memory.at_largest_size(config)
    assert training_sizes(largest) == (96,)
    assert memory.abstract_batch(largest, 4, None).images.shape == (4, 96, 96, 3)
    plain = tiny_config(tmp_path)
    assert memory.at_largest_size(plain) == plain


@pytest.mark.slow
def test_run_that_is_stopped_and_goes_on_ends_with_the_same_bits(tmp_path, monkeypatch):
    config = tiny_config(tmp_path).replace(
        {"train.multi_scale": SIZES, "train.num_steps": 6}
    )

    def evaluate(config, dataset, state, workdir):
        return append_row(workdir, int(state.step), {"eval/mask_AP": 0.0})

    monkeypatch.setattr(loop, "evaluate_and_report", evaluate)
    whole = loop.train(config, tmp_path / "whole")
    add, sides = recorder.Recorder.add, []

    def add_and_stop(self, step, metrics, batch):
        add(self, step, metrics, batch)
        sides.append(batch["images"].shape[1])
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(recorder.Recorder, "add", add_and_stop)
    with pytest.raises(Interrupted):
        loop.train(config, tmp_path / "stopped")
    resumed = loop.train(config, tmp_path / "stopped")
    assert len(sides) == 6
    assert set(sides) == set(SIZES)
    for a, b in zip(*map(jax.tree.leaves, (whole, resumed)), strict=True):
        np.testing.assert_array_equal(a, b)
    first, second = (
        rows(tmp_path / name, timings=False) for name in ("whole", "stopped")
    )
    assert first == second
