"""The training loop: config and folder in, trained state out."""

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

import jax
from ml_collections import ConfigDict

from yolact_jax import build, checkpoint
from yolact_jax import workdir as run_folder
from yolact_jax.data.dataset import Dataset
from yolact_jax.training import distributed, setup
from yolact_jax.training import metrics as metrics_lib
from yolact_jax.training.mesh import Layout, make_layout, to_devices
from yolact_jax.training.optimizer import Schedule
from yolact_jax.training.report import evaluate_and_report
from yolact_jax.training.step import TrainState

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Session:
    """What the loop needs beside the state; made once from the config.

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


def train(config: ConfigDict, workdir: str | Path) -> TrainState:
    """Trains a model, resuming from the newest checkpoint in the folder if any.

    Leaves in the folder: checkpoints, ``config.json``, ``metrics.jsonl``, the AP on
    the validation split, and ``samples.png`` with predictions on it.

    Args:
      config: see ``configs/coco.py``.
      workdir: folder of the run, made if missing.

    Returns:
      The final state.

    Raises:
      ValueError: if the config cannot work, data are missing or bad, or the
        checkpoints in the folder are of another model.
    """
    build.validate(config, jax.device_count())
    session = _make_session(config, Path(workdir))
    keep = config.train.keep_checkpoints
    with checkpoint.open_manager(workdir, keep=keep) as manager:
        # Which state wins: 1. the newest checkpoint of the folder; 2. a fresh one,
        # with the weights of config.train.init_weights in it.
        if manager.latest_step() is None:
            state = setup.with_init_weights(config, session.initial_state())
        else:
            sharding = session.layout.replicated
            like = setup.abstract_state(session.initial_state, sharding)
            state = checkpoint.restore(manager, like)
            _LOGGER.info("Resumed %s at step %d.", workdir, int(state.step))
        # Only now: a run with another model must not change this folder.
        if distributed.is_first_process():
            run_folder.save_run(workdir, config, session.dataset)
        if int(state.step) < session.num_steps:
            state = _run(session, state, manager)
        checkpoint.save(manager, int(state.step), state)
    _evaluate(session, state)
    return state


def _make_session(config: ConfigDict, workdir: Path) -> Session:
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


def _run(session: Session, state: TrainState, manager) -> TrainState:
    """Takes steps until the run has as many as it should."""
    config = session.config
    start_step = int(state.step)
    progress = metrics_lib.Progress(session.num_steps, config.train.batch_size)
    window = []
    source = session.dataset.source("train")
    processes = {
        "process_index": jax.process_index(),
        "process_count": jax.process_count(),
    }
    batches = build.make_training_batches(config, source, start_step, **processes)
    with batches:
        for step in range(start_step + 1, session.num_steps + 1):
            batch = to_devices(next(batches), session.layout.sharded)
            state, metrics = session.step_fn(state, batch)
            window.append(metrics)
            if step == start_step + 1:
                _log_first_step(session, step, metrics)
                progress.restart(step)
                window.clear()
            elif step % config.train.log_every_steps == 0:
                _log(session, step, window, progress)
                window.clear()
            if _is_due(step, config.train.checkpoint_every_steps, session.num_steps):
                checkpoint.save(manager, step, state)
            if _is_due(step, config.train.eval_every_steps, session.num_steps):
                _evaluate(session, state)
                progress.restart(step)
    return state


def _is_due(step: int, every_steps: int, last_step: int) -> bool:
    """Whether a periodic task is due; the end of the run has its own."""
    return every_steps > 0 and step % every_steps == 0 and step < last_step


def _evaluate(session: Session, state: TrainState) -> None:
    """Evaluates on the first device of process 0."""
    distributed.on_first_process(
        evaluate_and_report, session.config, session.dataset, state, session.workdir
    )


def _log_first_step(session: Session, step: int, metrics) -> None:
    if not distributed.is_first_process():
        return
    values = metrics_lib.average([metrics])
    _LOGGER.info("step %d compiled, loss %.3f", step, values["train/loss"])
    metrics_lib.append_row(session.workdir, step, values)


def _log(session: Session, step: int, window, progress) -> None:
    if not distributed.is_first_process():
        return
    values = metrics_lib.average(window)
    # The rate of the update just made, whose index is one less than its count.
    rate = float(session.schedule(step - 1))
    _LOGGER.info("%s", progress.line(step, values, rate))
    values["train/learning_rate"] = rate
    values["train/images_per_second"] = progress.images_per_second
    metrics_lib.append_row(session.workdir, step, values)
