"""The log says how many steps a trace really has."""

import logging

import jax
import pytest

from yolact_jax.training.monitor.profiler import Profiler


@pytest.mark.parametrize(
    ("asked", "made", "told"),
    [
        (2, 9, "Trace of 2 steps: "),
        (9, 5, "Trace of 2 steps: "),
        (9, 4, "Trace of 1 steps: "),
        (9, 3, "No step was traced: the run ended 3 steps after"),
        (9, 0, "No step was traced: the run ended 0 steps after"),
        (0, 3, ""),
    ],
)
def test_traced_steps_are_counted(asked, made, told, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: None)
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: None)
    with caplog.at_level(logging.INFO), Profiler(tmp_path, asked) as profiler:
        for _ in range(made):
            profiler.after_step(jax.numpy.zeros(1))
    (message,) = caplog.messages or [""]
    assert message.startswith(told)
    assert bool(message) == bool(told)
