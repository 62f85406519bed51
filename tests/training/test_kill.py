"""Runs killed at random moments end as if nothing had happened."""

import dataclasses
import multiprocessing
import random
import time

import jax
import numpy as np
import pytest

from tests.helpers.killed_run import train_tiny
from tests.helpers.process_tree import are_gone, blocks_of, descendants_of
from tests.helpers.runs import rows
from yolact_jax.training.session import load_state

# A fresh process for each start, with the imports done once.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["yolact_jax.training.loop", "tests.helpers.killed_run", "grain"]
)


def start(folder, workdir, num_steps, seconds_per_step=0.0, num_workers=0):
    arguments = (folder, workdir, num_steps, seconds_per_step, num_workers)
    process = CONTEXT.Process(target=train_tiny, args=arguments)
    process.start()
    return process


def checkpoints(workdir):
    return {path.name for path in (workdir / "checkpoints").glob("*")}


def unfinished(workdir):
    return [name for name in checkpoints(workdir) if "tmp" in name]


def wait_for_moment(process, workdir, rng, moment):
    """Waits for a random moment: of the start, within a save, or soon after one."""
    if moment == "start":
        time.sleep(rng.uniform(0, 3))
        return
    before = checkpoints(workdir)
    while process.is_alive() and checkpoints(workdir) <= before:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.01 if moment == "save" else 0.2))


@dataclasses.dataclass
class Killed:
    """What was killed, and what it had."""

    count: int = 0
    half_written: int = 0
    pids: list[int] = dataclasses.field(default_factory=list)
    memory: set[str] = dataclasses.field(default_factory=set)

    def kill(self, process) -> bool:
        """Kills a process; returns whether it was alive."""
        pids = descendants_of(process.pid)
        self.memory |= set().union(*map(blocks_of, pids))
        alive = process.is_alive()
        process.kill()
        process.join()
        self.pids += pids
        self.count += alive
        return alive


def run_with_kills(folder, workdir, num_steps, num_kills, num_workers):
    """Returns what was killed before the run was complete."""
    rng, killed = random.Random(0), Killed()
    while killed.count < num_kills:
        process = start(folder, workdir, num_steps, 0.02, num_workers)
        moment = ("save", "step", "start")[killed.count % 3]
        wait_for_moment(process, workdir, rng, moment)
        if not killed.kill(process):
            break
        killed.half_written += bool(unfinished(workdir))
    process = start(folder, workdir, num_steps, 0.0, num_workers)
    process.join()
    assert process.exitcode == 0
    return killed


def assert_same_run(workdir, other):
    states = [load_state(folder)[1] for folder in (workdir, other)]
    for a, b in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_array_equal(a, b)
    assert rows(workdir, timings=False) == rows(other, timings=False)
    for name in ("evaluations.json", "config.json"):
        assert (workdir / name).read_text() == (other / name).read_text()
    assert not unfinished(workdir)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_kills", "num_steps", "num_workers"),
    [(2, 40, 0), (84, 700, 0), (24, 250, 2)],
    ids=["twice", "84 times", "24 times with loader processes"],
)
def test_killed_run_equals_an_uninterrupted_one(
    num_kills, num_steps, num_workers, tmp_path
):
    process = start(tmp_path, tmp_path / "whole", num_steps, 0.0, num_workers)
    process.join()
    assert process.exitcode == 0
    killed = run_with_kills(
        tmp_path, tmp_path / "killed", num_steps, num_kills, num_workers
    )
    assert killed.count == num_kills
    assert killed.half_written >= num_kills // 12
    assert bool(killed.memory) == bool(num_workers)
    assert are_gone(killed.pids, killed.memory)
    assert not list((tmp_path / "killed").rglob("*.tmp"))
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
