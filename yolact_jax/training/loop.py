"""The training loop: config and folder in, trained state out."""

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from yolact_jax import build, checkpoint
from yolact_jax import workdir as run_folder
from yolact_jax.checkpoint import CheckpointManager
from yolact_jax.data.dataset import Dataset
from yolact_jax.disk_errors import explaining_full_disk
from yolact_jax.structures import Batch
from yolact_jax.training import setup
from yolact_jax.training.curves import write_curves
from yolact_jax.training.evaluations import Evaluations
from yolact_jax.training.interruption import Interruption
from yolact_jax.training.metrics import keep_rows
from yolact_jax.training.optimizer import Schedule
from yolact_jax.training.profile import Profiler
from yolact_jax.training.recorder import Recorder
from yolact_jax.training.report import evaluate_and_report
from yolact_jax.training.step import TrainState, make_train_step

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
      replicated: sharding of the state, a copy on every device.
      batch_sharding: how batches are spread over the devices.
    """

    config: ConfigDict
    workdir: Path
    dataset: Dataset
    num_steps: int
    schedule: Schedule
    step_fn: Callable
    initial_state: Callable[[], TrainState]
    replicated: NamedSharding
    batch_sharding: NamedSharding


@dataclasses.dataclass(frozen=True)
class _Keeper:
    """What the loop writes to.

    Attributes:
      manager: of the checkpoints.
      recorder: of the metrics.
      evaluations: of the validation split.
    """

    manager: CheckpointManager
    recorder: Recorder
    evaluations: Evaluations


def train(config: ConfigDict, workdir: str | Path) -> TrainState:
    """Trains a model, resuming from the newest checkpoint in the folder if any.

    Leaves in the folder what ``docs/training.md`` lists: checkpoints, the config,
    metrics, the AP on the validation split, and pictures.

    Args:
      config: see ``configs/coco.py``.
      workdir: folder of the run, made if missing.

    Returns:
      The final state.

    Raises:
      ValueError: if the config cannot work, data are missing or bad, or the
        folder holds the run of another model or dataset.
      Interrupted: after SIGTERM or SIGINT, when the state is saved.
      DivergedError: if ``config.train.max_bad_steps`` updates in a row were skipped.
      OSError: if the disk is full.
    """
    build.validate(config, jax.device_count())
    session = make_session(config, Path(workdir))
    evaluations = Evaluations(workdir)
    keep, best = config.train.keep_checkpoints, evaluations.best
    with (
        explaining_full_disk(workdir),
        checkpoint.open_manager(workdir, keep=keep, best_step=best) as manager,
    ):
        state, notes = _start(session, manager, evaluations)
        with Recorder(
            config,
            workdir,
            session.schedule,
            num_steps=session.num_steps,
            start_step=int(state.step),
            notes=notes,
        ) as recorder:
            return _run(session, state, _Keeper(manager, recorder, evaluations))


def _start(
    session: Session, manager: CheckpointManager, evaluations: Evaluations
) -> tuple[TrainState, dict]:
    """Makes or restores the state; only then changes the folder to match it."""
    config, workdir = session.config, session.workdir
    # Which state wins: 1. the newest whole checkpoint of the folder; 2. a fresh one,
    # with the weights of config.train.init_weights in it.
    if manager.latest_step() is None:
        state, notes = setup.with_init_weights(config, session.initial_state()), {}
    else:
        run_folder.check_same_run(workdir, config, session.dataset)
        like = setup.abstract_state(session.initial_state, session.replicated)
        state, notes = checkpoint.restore_newest(manager, like)
    for name in checkpoint.remove_unfinished(manager):
        _LOGGER.warning("Removed %s, left by a save that was interrupted.", name)
    run_folder.save_run(workdir, config, session.dataset)
    step = int(state.step)
    evaluations.forget_after(step)
    num_rows = keep_rows(workdir, step, evaluated=step in evaluations)
    if num_rows:
        _LOGGER.info("Took %d rows of metrics after step %d back.", num_rows, step)
    if notes:
        what = "parameters, optimizer, batch statistics, order of the data, metrics"
        _LOGGER.info("Resumed %s at step %d, bit for bit: %s.", workdir, step, what)
    return state, notes


def make_session(config: ConfigDict, workdir: Path) -> Session:
    """Makes everything a run needs beside its state."""
    dataset = build.make_dataset(config)
    mesh = jax.make_mesh((jax.device_count(),), ("data",), (AxisType.Auto,))
    replicated = NamedSharding(mesh, PartitionSpec())
    schedule, num_steps = setup.make_schedule(config)
    num_classes = len(dataset.class_names)
    init_key, step_key = jax.random.split(jax.random.key(config.train.seed))
    step_fn = make_train_step(
        build.make_model(config, num_classes),
        build.make_anchors(config),
        setup.optimizer_of(config),
        build.make_loss_options(config),
        key=step_key,
    )
    initial_state = setup.initial_state_fn(config, num_classes, init_key)

    return Session(
        config=config,
        workdir=workdir,
        dataset=dataset,
        num_steps=num_steps,
        schedule=schedule,
        step_fn=jax.jit(
            step_fn, out_shardings=(replicated, replicated), donate_argnums=0
        ),
        initial_state=jax.jit(initial_state, out_shardings=replicated),
        replicated=replicated,
        batch_sharding=NamedSharding(mesh, PartitionSpec("data")),
    )


def _run(session: Session, state: TrainState, keeper: _Keeper) -> TrainState:
    """Takes steps until the run has as many as it should, and evaluates the last."""
    config = session.config
    start_step = int(state.step)
    source = session.dataset.source("train")
    with (
        Interruption() as interruption,
        Profiler(session.workdir, config.train.profile_steps) as profiler,
        build.make_training_batches(config, source, start_step) as batches,
    ):
        for step in range(start_step, session.num_steps):
            _save_and_evaluate_if_due(session, state, keeper, step, interruption)
            try:
                arrays = keeper.recorder.next_of(batches)
            except Exception:
                # Ctrl-C reaches the processes of the loader too, and ends them.
                _save_and_evaluate_if_due(session, state, keeper, step, interruption)
                raise
            batch = to_devices(arrays, session.batch_sharding)
            state, metrics = session.step_fn(state, batch)
            keeper.recorder.add(step + 1, metrics, arrays)
            profiler.after_step(metrics)
        last = session.num_steps
        _save_and_evaluate_if_due(session, state, keeper, last, interruption)
    _LOGGER.info("The run is complete: %d steps.", last)
    return state


def _save_and_evaluate_if_due(
    session: Session,
    state: TrainState,
    keeper: _Keeper,
    step: int,
    interruption: Interruption,
) -> None:
    """Does what is to be done with the state after `step` updates.

    Raises:
      Interrupted: after a signal, when the state is on disk.
    """
    options, last_step = session.config.train, session.num_steps
    evaluate = (
        _is_due(step, options.eval_every_steps, last_step)
        and step not in keeper.evaluations
    )
    checkpoint.check(keeper.manager)
    if (
        evaluate
        or interruption.signal is not None
        or _is_due(step, options.checkpoint_every_steps, last_step)
    ):
        keeper.recorder.flush()
        checkpoint.save(keeper.manager, step, state, keeper.recorder.notes())
    if interruption.signal is not None:
        checkpoint.wait(keeper.manager)
        interruption.raise_if_noted(step)
    if evaluate:
        with interruption.at_once(step):
            _evaluate(session, state, keeper)


def _is_due(step: int, every_steps: int, last_step: int) -> bool:
    """Whether a periodic task is due; at the end of the run every one is."""
    return step == last_step or (every_steps > 0 and step % every_steps == 0 < step)


def _evaluate(session: Session, state: TrainState, keeper: _Keeper) -> None:
    row = evaluate_and_report(session.config, session.dataset, state, session.workdir)
    keeper.evaluations.record(int(state.step), row["eval/mask_AP"])
    keeper.recorder.evaluated(row)
    write_curves(session.workdir)


def to_devices(arrays: dict, sharding: NamedSharding) -> Batch:
    """Puts a batch of the input pipeline on the devices."""
    fields = {f.name: arrays[f.name] for f in dataclasses.fields(Batch)}
    return jax.device_put(Batch(**fields), sharding)
