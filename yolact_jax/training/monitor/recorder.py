"""Records the metrics of a run, one step behind the device."""

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from yolact_jax.config import Config
from yolact_jax.run import metrics as metrics_lib
from yolact_jax.run.metrics import step_of
from yolact_jax.training.monitor.bad_batches import BadBatches
from yolact_jax.training.monitor.progress import Progress
from yolact_jax.training.monitor.tensorboard import open_writer, write_row
from yolact_jax.training.multihost import processes
from yolact_jax.training.optimizer import Schedule
from yolact_jax.training.step import StepMetrics, values_of

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Pending:
    """A step whose metrics may not be computed yet."""

    step: int
    metrics: StepMetrics
    batch: dict[str, np.ndarray]


class Recorder:
    """Reads the metrics of each step while the next one runs, and reports them.

    Use as a context manager.  With the `notes` saved at `start_step`, a resumed run
    continues the same rows.
    """

    def __init__(
        self,
        config: Config,
        workdir: str | Path,
        schedule: Schedule,
        *,
        num_steps: int,
        start_step: int,
        notes: dict[str, Any],
    ):
        options = config.train
        self._workdir = workdir
        self._schedule = schedule
        self._log_every = options.log_every_steps
        self._first_step = start_step + 1
        self._pending: _Pending | None = None
        self._window: list[dict[str, float]] = notes.get("window", [])
        self._bad = BadBatches(
            workdir,
            limit=options.max_bad_steps,
            seed=options.seed,
            notes=notes.get("bad", {}),
            # A process has its own rows only; `replay` makes the batch again.
            saves=jax.process_count() == 1,
        )
        self._progress = Progress(num_steps, options.batch_size)
        # The other processes of a run know the same and would write the same.
        self._writes = processes.is_first_process()
        self._writer = (
            open_writer(workdir, options.tensorboard, start_step)
            if self._writes
            else None
        )

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_) -> None:
        if self._writer is not None:
            self._writer.close()

    def notes(self) -> dict[str, Any]:
        """What a resumed run needs to write the same rows; call `flush` first."""
        return {"window": self._window, "bad": self._bad.notes()}

    def next_of(self, batches: Iterator[dict]) -> dict[str, np.ndarray]:
        """Takes the next batch, and measures the wait."""
        with self._progress.waiting_for_data():
            return next(batches)

    def add(
        self, step: int, metrics: StepMetrics, batch: dict[str, np.ndarray]
    ) -> None:
        """Takes a step that was just dispatched, and reads the one before.

        Args:
          step: the step, counted from 1.
          metrics: of the step, on the device.
          batch: what it trains on, from the input pipeline.

        Raises:
          DivergedError: if too many updates in a row were not finite.
        """
        before, self._pending = self._pending, _Pending(step, metrics, batch)
        self._read(before)

    def flush(self) -> None:
        """Waits for the newest step, and reads it."""
        before, self._pending = self._pending, None
        self._read(before)

    def evaluated(self, row: dict[str, float | None]) -> None:
        """Takes the row of an evaluation, whose time does not count."""
        write_row(self._writer, row)
        self._progress.restart(step_of(row))

    def _read(self, done: _Pending | None) -> None:
        if done is None:
            return
        values = values_of(jax.device_get(done.metrics))
        self._bad.note(done.step, values, done.batch)
        self._window.append(values)
        if done.step == self._first_step:
            _LOGGER.info("step %d compiled, loss %.3f", done.step, values["train/loss"])
        if done.step == 1 or done.step % self._log_every == 0:
            self._log(done.step)
        elif estimate := self._progress.first_estimate(done.step):
            _LOGGER.info("%s", estimate)
        if done.step == self._first_step:
            self._progress.restart(done.step)

    def _log(self, step: int) -> None:
        values = metrics_lib.average(self._window)
        self._window.clear()
        # The rate of the update just made, whose index is one less than its count.
        values["train/learning_rate"] = float(self._schedule(step - 1))
        values |= self._progress.measure(step)
        if step != self._first_step:
            _LOGGER.info("%s", self._progress.line(step, values, self._bad.total))
        if self._writes:
            row = metrics_lib.append_row(self._workdir, step, values)
            write_row(self._writer, row)
