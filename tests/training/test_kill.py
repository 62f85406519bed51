"""Runs killed at random moments end as if nothing had happened."""

import multiprocessing
import random
import time

import jax
import numpy as np
import pytest

from tests.helpers.killed_run import train_tiny
from tests.helpers.runs import rows
from yolact_jax.training.session import load_state

# A fresh process for each start, with the imports done once.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["yolact_jax.training.loop", "tests.helpers.killed_run", "grain"]
)


def start(folder, workdir, num_steps, seconds_per_step=0.0):
    arguments = (folder, workdir, num_steps, seconds_per_step)
    process = CONTEXT.Process(target=train_tiny, args=arguments)
    process.start()
    return process


def checkpoints(workdir):
    return {path.name for path in (workdir / "checkpoints").glob("*")}


def unfinished(workdir):
    return [name for name in checkpoints(workdir) if "tmp" in name]


def kill_at_random(process, workdir, rng, *, during_save):
    """Kills soon after the first news of a start; returns whether it was alive."""
    before = checkpoints(workdir)
    while process.is_alive() and checkpoints(workdir) <= before:
        time.sleep(0.002)
    if during_save:
        time.sleep(rng.uniform(0, 0.01))
    else:
        time.sleep(rng.uniform(0, 0.2))
    alive = process.is_alive()
    process.kill()
    process.join()
    return alive


def run_with_kills(folder, workdir, num_steps, num_kills):
    """Returns how many starts were killed, and how many of them within a save."""
    rng = random.Random(0)
    killed = half_written = 0
    while killed < num_kills:
        process = start(folder, workdir, num_steps, seconds_per_step=0.02)
        during_save = killed % 2 == 0
        if not kill_at_random(process, workdir, rng, during_save=during_save):
            break
        killed += 1
        half_written += bool(unfinished(workdir))
    process = start(folder, workdir, num_steps)
    process.join()
    assert process.exitcode == 0
    return killed, half_written


def assert_same_run(workdir, other):
    states = [load_state(folder)[1] for folder in (workdir, other)]
    for a, b in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_array_equal(a, b)
    assert rows(workdir, timings=False) == rows(other, timings=False)
    for name in ("evaluations.json", "config.json"):
        assert (workdir / name).read_text() == (other / name).read_text()
    assert not unfinished(workdir)


@pytest.mark.parametrize(
    ("num_steps", "num_kills", "least_half_written"),
    [
        pytest.param(40, 2, 0, id="twice", marks=pytest.mark.slow),
        pytest.param(200, 12, 2, id="twelve times", marks=pytest.mark.slow),
    ],
)
def test_killed_run_equals_an_uninterrupted_one(
    num_steps, num_kills, least_half_written, tmp_path
):
    process = start(tmp_path, tmp_path / "whole", num_steps)
    process.join()
    assert process.exitcode == 0
    killed, half_written = run_with_kills(
        tmp_path, tmp_path / "killed", num_steps, num_kills
    )
    assert killed == num_kills
    assert half_written >= least_half_written
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
