"""A trace of a few steps for JAX's profiler."""

import logging
from pathlib import Path
from typing import Any

import jax

_LOGGER = logging.getLogger(__name__)
PROFILE_FOLDER = "profile"
_STEPS_BEFORE = 3
"""Steps of a start that are not traced: they compile, and fill the queues."""


class Profiler:
    """Traces some steps of a run, soon after its start.

    Use as a context manager, so that the trace ends when the run fails.
    """

    def __init__(self, workdir: str | Path, num_steps: int):
        self._folder = Path(workdir) / PROFILE_FOLDER
        self._num_steps = num_steps
        self._seen = 0
        self._running = False

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *_) -> None:
        self._stop()
        if self._num_steps and self._seen <= _STEPS_BEFORE:
            _LOGGER.warning(
                "No step was traced: the run ended %d steps after its start, of which "
                "the first %d are never traced.",
                self._seen,
                _STEPS_BEFORE,
            )

    def after_step(self, outputs: Any) -> None:
        """Starts or ends the trace between two steps.

        Waits for `outputs`, arrays of the step just dispatched, where a trace starts or
        ends, so that whole steps are traced.
        """
        self._seen += 1
        if self._seen == _STEPS_BEFORE and self._num_steps:
            jax.block_until_ready(outputs)
            jax.profiler.start_trace(str(self._folder))
            self._running = True
        elif self._seen == _STEPS_BEFORE + self._num_steps:
            jax.block_until_ready(outputs)
            self._stop()

    def _stop(self) -> None:
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
            if traced := self._seen - _STEPS_BEFORE:
                _LOGGER.info("Trace of %d steps: %s", traced, self._folder)
