"""Loader processes that die, stop, or lose the process they load for."""

import collections
import itertools
import logging
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers.process_tree import SHARED_MEMORY, are_gone, blocks_of, children_of
from yolact_jax.config import Augment, InputFrame
from yolact_jax.data import pipeline, workers
from yolact_jax.data.sources.shapes_builder import prepare_shapes

ROOT = pathlib.Path(__file__).parents[2]
SIZES = {
    "batch_size": 4,
    "frame": InputFrame(256, 256),
    "mask_size": 64,
    "mask_target": "original",
    "max_objects": 8,
}
LOADING = """
import sys, time
from tests.data.test_workers import open_batches

if __name__ == "__main__":
    with open_batches(sys.argv[1], num_workers=2) as batches:
        for _ in range(8):
            next(batches)
        print("loading", flush=True)
        time.sleep(1000)
"""


def open_batches(folder, num_workers):
    dataset = prepare_shapes(
        data_dir=folder, num_train=12, num_validation=2, image_size=64, seed=0
    )
    return pipeline.training_batches(
        dataset.source("train"),
        augment=Augment(),
        seed=0,
        num_workers=num_workers,
        **SIZES,
    )


@pytest.mark.long
@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="needs the files of Linux")
def test_killed_process_leaves_neither_workers_nor_shared_memory(tmp_path):
    open_batches(tmp_path, num_workers=0).close()
    script = tmp_path / "loading.py"
    script.write_text(LOADING)
    process = subprocess.Popen(
        [sys.executable, script, tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline().strip() == "loading"
    loaders = children_of(process.pid)
    assert len(loaders) >= 2
    made = set().union(*map(blocks_of, [process.pid, *loaders]))
    assert made
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert are_gone(loaders, made)


@pytest.mark.slow
def test_killed_worker_is_put_into_words(tmp_path):
    with open_batches(tmp_path, num_workers=1) as batches:
        next(batches)
        (worker,) = (
            pid
            for pid in children_of(os.getpid())
            if b"spawn_main" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(workers.LoaderError, match=r"exit code -9; .*num_workers"):
            collections.deque(itertools.islice(batches, 50), maxlen=0)


def test_death_of_a_worker_names_the_field():
    message = "Worker process was terminated unexpectedly with exit code -9. Search"
    with (
        pytest.raises(workers.LoaderError, match=r"exit code -9; .* below 3\."),
        workers.watched(3),
    ):
        raise RuntimeError(message)
    with pytest.raises(RuntimeError, match="other"), workers.watched(3):
        raise RuntimeError("other")


def test_long_wait_is_told(caplog):
    caplog.set_level(logging.WARNING)
    with workers.watched(2, seconds=0.05):
        time.sleep(0.3)
    assert "Waiting for a batch of the 2 loader processes" in caplog.text
    caplog.clear()
    with workers.watched(0, seconds=0.05):
        pass
    time.sleep(0.1)
    assert not caplog.text
