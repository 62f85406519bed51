"""A run in a process of its own, slow enough to be killed at any moment."""

import os
import pathlib
import time
from multiprocessing import resource_tracker

from absl import flags

from tests.helpers import quick_compile
from tests.helpers.runs import tiny_config

CACHE = pathlib.Path(__file__).parents[2] / ".jax_cache"


def train_tiny(
    folder, workdir, num_steps: int, seconds_per_step: float, num_workers: int = 0
) -> None:
    # The process starts without conftest.py; one device is the quickest to start.
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = quick_compile.XLA_FLAGS
    # Who frees shared memory should not live as long as the tests.
    tracker = resource_tracker._resource_tracker
    tracker._fd = tracker._pid = None
    flags.FLAGS.mark_as_parsed()
    import jax
    import optax

    from yolact_jax.run.metrics import append_row
    from yolact_jax.training import loop
    from yolact_jax.training.monitor import recorder

    jax.config.update("jax_compilation_cache_dir", str(CACHE))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    add = recorder.Recorder.add

    def add_slowly(*args):
        add(*args)
        time.sleep(seconds_per_step)

    def evaluate(config, dataset, state, workdir):
        """In place of seconds of compilation, a number that the parameters decide."""
        norm = float(optax.tree.norm(state.params))
        return append_row(workdir, int(state.step), {"eval/mask_AP": norm})

    recorder.Recorder.add = add_slowly
    loop.evaluate_and_report = evaluate
    loop.train(kill_config(folder, num_steps, num_workers), workdir)
    os._exit(0)  # Without waiting for the threads of others.


def kill_config(folder, num_steps: int, num_workers: int):
    return tiny_config(folder).replace(
        {
            "train.num_steps": num_steps,
            "data.num_workers": num_workers,
            # Windows and evaluations fall between checkpoints as well as on them.
            "train.log_every_steps": 3,
            "train.checkpoint_every_steps": 5,
            "train.eval_every_steps": num_steps // 2,
            "train.tensorboard": "no",
        }
    )
