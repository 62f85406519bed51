"""What a run needs beside its state, made once from its config."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
from ml_collections import ConfigDict

from yolact_jax import build
from yolact_jax.data.dataset import Dataset
from yolact_jax.training import distributed, setup
from yolact_jax.training.mesh import Layout, make_layout
from yolact_jax.training.optimizer import Schedule
from yolact_jax.training.step import TrainState


@dataclasses.dataclass(frozen=True)
class Session:
    """What a run needs beside its state.

    Attributes:
      config: the whole config.
      workdir: folder of the run.
      dataset: training and validation data.
      num_steps: updates of the whole run.
      schedule: learning rate by step.
      step_fn: the compiled training step.
      initial_state: makes the state before the first step.
      layout: how state and batches lie on the devices of all processes.
    """

    config: ConfigDict
    workdir: Path
    dataset: Dataset
    num_steps: int
    schedule: Schedule
    step_fn: Callable
    initial_state: Callable[[], TrainState]
    layout: Layout


def make_session(config: ConfigDict, workdir: Path) -> Session:
    """Makes everything a run needs beside its state."""
    # One process prepares the records, if need be, and all read them.
    dataset = distributed.first_process_first(lambda: build.make_dataset(config))
    layout = make_layout()
    schedule, num_steps = setup.make_schedule(config)
    num_classes = len(dataset.class_names)
    init_key, step_key = jax.random.split(jax.random.key(config.train.seed))
    step_fn = setup.train_step_fn(config, num_classes, step_key)
    initial_state = setup.initial_state_fn(config, num_classes, init_key)

    return Session(
        config=config,
        workdir=workdir,
        dataset=dataset,
        num_steps=num_steps,
        schedule=schedule,
        step_fn=setup.compile_lazily(step_fn, layout),
        initial_state=jax.jit(initial_state, out_shardings=layout.replicated),
        layout=layout,
    )
