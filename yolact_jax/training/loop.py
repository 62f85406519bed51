"""The training loop: config and folder in, trained state out."""

import contextlib
import dataclasses
import logging
import signal
from pathlib import Path

import jax
import jax.numpy as jnp

from yolact_jax import build
from yolact_jax.config import Config, check_batch
from yolact_jax.run import checkpoint
from yolact_jax.run import folder as run_folder
from yolact_jax.run.best import Evaluations
from yolact_jax.run.changes import note_changes
from yolact_jax.run.checkpoint import CheckpointManager
from yolact_jax.run.disk_errors import explaining_full_disk
from yolact_jax.run.lock import sole_training
from yolact_jax.run.metrics import keep_rows, step_of
from yolact_jax.run.variables import load_variables
from yolact_jax.training import length
from yolact_jax.training.evaluate import evaluate_and_report
from yolact_jax.training.interruption import Interruption
from yolact_jax.training.monitor import bad_batches
from yolact_jax.training.monitor.curves import write_curves
from yolact_jax.training.monitor.profiler import Profiler
from yolact_jax.training.monitor.recorder import Recorder
from yolact_jax.training.multihost import processes
from yolact_jax.training.multihost.mesh import to_devices
from yolact_jax.training.report import has_report
from yolact_jax.training.session import (
    Session,
    make_session,
    with_init_weights,
)
from yolact_jax.training.step import TrainState

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Keeper:
    """Where the loop writes: checkpoints, metrics, and AP on the validation split."""

    manager: CheckpointManager
    recorder: Recorder
    evaluations: Evaluations


def train(config: Config, workdir: str | Path) -> TrainState:
    """Trains a model, or continues from the newest checkpoint in the folder.

    Leaves in the folder what ``docs/training.md`` lists: checkpoints, the config,
    metrics, the AP on the validation split, and pictures.

    Args:
      config: what to train, on what and how.
      workdir: folder of the run; created if missing.

    Raises:
      ValueError: if the config cannot work, data are missing or bad, or the
        folder holds the run of another model or dataset.
      Interrupted: after SIGTERM or SIGINT, when the state is saved.
      DivergedError: if ``config.train.max_bad_steps`` updates in a row were skipped.
      WorkdirInUseError: if another process is training in the folder.
      OSError: if the disk is full.
    """
    check_batch(config.train, jax.device_count())
    session = make_session(config, Path(workdir))
    config = session.config
    check_batch(config.train, jax.device_count())  # It may have been left open.
    length.check(config)
    with contextlib.ExitStack() as stack:
        stack.enter_context(explaining_full_disk(workdir))
        # One process writes, so one holds the folder for all of this run.
        processes.on_first_process(stack.enter_context, sole_training(workdir))
        evaluations = Evaluations(workdir, writes=processes.is_first_process())
        keep, best = config.train.keep_checkpoints, evaluations.best
        manager = stack.enter_context(
            checkpoint.open_manager(workdir, keep=keep, best_step=best)
        )
        state, notes = _start(session, manager, evaluations)
        recorder = stack.enter_context(
            Recorder(
                config,
                workdir,
                session.schedule,
                num_steps=session.num_steps,
                start_step=int(state.step),
                notes=notes,
            )
        )
        return _run(session, state, _Keeper(manager, recorder, evaluations))


def _start(
    session: Session, manager: CheckpointManager, evaluations: Evaluations
) -> tuple[TrainState, dict]:
    """Creates or restores the state; only then changes the folder to match it."""
    config, workdir = session.config, session.workdir
    # Which state wins: 1. the newest whole checkpoint of the folder; 2. a fresh one,
    # with the weights of config.train.init_weights in it.
    newest_step = manager.latest_step()
    if newest_step is None:
        names = session.dataset.class_names
        state = with_init_weights(config, session.initial_state(), names)
        notes = {}
    else:
        run_folder.check_same_run(workdir, config, session.dataset)
        length.check_reaches(config, newest_step, workdir)
        like = session.abstract_state()
        state, notes = checkpoint.restore_newest(manager, like)
    evaluations.forget_after(int(state.step))
    processes.on_first_process(
        _tidy_folder, session, manager, evaluations, int(state.step)
    )
    if notes:
        step = int(state.step)
        what = "parameters, optimizer, batch statistics, order of the data, metrics"
        _LOGGER.info("Resumed %s at step %d, bit for bit: %s.", workdir, step, what)
    return state, notes


def _tidy_folder(
    session: Session, manager: CheckpointManager, evaluations: Evaluations, step: int
) -> None:
    """Removes what a stopped run wrote after the step it resumes from."""
    config, workdir = session.config, session.workdir
    for name in checkpoint.remove_unfinished(manager):
        _LOGGER.warning("Removed %s, left by a save that was interrupted.", name)
    note_changes(workdir, config, step)
    run_folder.save_run(workdir, config, session.dataset)
    bad_batches.forget_after(workdir, step)
    evaluates = _evaluates(session, evaluations, step)
    num_rows = keep_rows(workdir, step, evaluates=evaluates)
    if num_rows:
        _LOGGER.info("Removed %d rows of metrics after step %d.", num_rows, step)


def _run(session: Session, state: TrainState, keeper: _Keeper) -> TrainState:
    """Trains up to the last step, and evaluates it."""
    config = session.config
    start_step = int(state.step)
    source = session.dataset.source("train")
    share = processes.share_of_this_process()
    with (
        Interruption() as interruption,
        Profiler(session.workdir, config.train.profile_steps) as profiler,
        build.make_training_batches(config, source, start_step, **share) as batches,
    ):
        for step in range(start_step, session.num_steps):
            _save_and_evaluate_if_due(session, state, keeper, step, interruption)
            if _gains_no_more(config.train.patience, keeper.evaluations):
                with interruption.at_once(step, may_raise=processes.acts_alone):
                    _report_best(session, keeper)
                return state
            try:
                arrays = keeper.recorder.next_of(batches)
            except Exception:
                # Ctrl-C reaches the processes of the loader too, and ends them.
                _save_and_evaluate_if_due(session, state, keeper, step, interruption)
                raise
            batch = to_devices(arrays, session.layout.sharded)
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
    """Saves and evaluates the state after `step` updates, if it is time."""
    options, last_step = session.config.train, session.num_steps
    evaluate = _evaluates(session, keeper.evaluations, step)
    checkpoint.check(keeper.manager)
    interrupted = _agree_to_stop(interruption, step, options.log_every_steps)
    if (
        evaluate
        or interrupted
        or _is_due(step, options.checkpoint_every_steps, last_step)
    ):
        keeper.recorder.flush()
        checkpoint.save(keeper.manager, step, state, keeper.recorder.notes())
    if interrupted:
        checkpoint.wait(keeper.manager)
        interruption.raise_if_noted(step)
    if evaluate:
        with interruption.at_once(step, may_raise=processes.acts_alone):
            _evaluate(session, state, keeper)


def _gains_no_more(patience: int, evaluations: Evaluations) -> bool:
    """Whether the AP has not risen for so many evaluations that the run ends."""
    waited = evaluations.without_gain()
    if not patience or waited < patience:
        return False
    _LOGGER.info(
        "The run ends early: no higher mask AP in %d evaluations; the best checkpoint "
        "is that of step %d.",
        waited,
        evaluations.best(),
    )
    return True


def _agree_to_stop(interruption: Interruption, step: int, every_steps: int) -> bool:
    """Whether a signal came; several processes ask each other only now and then."""
    if jax.process_count() > 1:
        if step % every_steps:
            return False
        number = processes.largest_of_all(interruption.signal or 0)
        interruption.signal = signal.Signals(number) if number else None
    return interruption.signal is not None


def _evaluates(session: Session, evaluations: Evaluations, step: int) -> bool:
    """Whether the run evaluates the state after `step` updates, and has not yet."""
    every_steps = session.config.train.eval_every_steps
    return _is_due(step, every_steps, session.num_steps) and step not in evaluations


def _is_due(step: int, every_steps: int, last_step: int) -> bool:
    """Whether a periodic task is due; at the end of the run every task is."""
    return step == last_step or (every_steps > 0 and step % every_steps == 0 < step)


def _evaluate(session: Session, state: TrainState, keeper: _Keeper) -> None:
    """Evaluates on all devices of all processes; every process gets the result."""
    config = session.config
    if int(state.step) < session.num_steps:  # A report is for the end.
        config = config.replace({"eval.report": False})
    row = evaluate_and_report(config, session.dataset, state, session.workdir)
    processes.on_all_processes(_keep_evaluation, session.workdir, keeper, row)


def _report_best(session: Session, keeper: _Keeper) -> None:
    """Evaluates the best checkpoint once more, for the report of a run that ends early.

    Does nothing if that is done, or no report is wanted.
    """
    config, workdir = session.config, session.workdir
    best = keeper.evaluations.best(among=keeper.manager.all_steps())
    if best is None or not config.eval.report:
        return
    if not processes.largest_of_all(has_report(workdir, best)):
        variables = load_variables(workdir, best)
        state = TrainState(jnp.int32(best), **variables, opt_state=())
        evaluate_and_report(config, session.dataset, state, workdir)


def _keep_evaluation(
    workdir: Path, keeper: _Keeper, row: dict[str, float | None]
) -> None:
    keeper.evaluations.record(step_of(row), row["eval/mask_AP"])
    if processes.is_first_process():
        keeper.recorder.evaluated(row)
        write_curves(workdir)
