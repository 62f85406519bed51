"""Rows, evaluations, the progress line and TensorBoard."""

import json
import struct
import time

import numpy as np
import pytest

from yolact_jax.run import metrics
from yolact_jax.run.best import Evaluations
from yolact_jax.training.monitor import tensorboard
from yolact_jax.training.monitor.progress import Progress


def test_rows_hold_numbers_and_null(tmp_path):
    row = metrics.append_row(tmp_path, 3, {"a": np.float32(0.5), "b": float("nan")})
    assert row == {"step": 3, "a": 0.5, "b": None}
    assert metrics.read_rows(tmp_path) == [row]


def test_large_values_are_read_and_infinite_ones_are_null(tmp_path):
    metrics.append_row(tmp_path, 4, {"a": 2.0**63, "b": -1e300})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 5, "a": NaN, "b": -Infinity, "c": 1e999}\n')
        file.write('{"step": 6, "a": 1' + "0" * 400 + "}\n")
        file.write('{"step": 9223372036854775808, "a": 1.0}\n')
    assert metrics.read_rows(tmp_path) == [
        {"step": 4, "a": 2.0**63, "b": -1e300},
        {"step": 5, "a": None, "b": None, "c": None},
        {"step": 6, "a": None},
    ]
    assert metrics.keep_rows(tmp_path, 3, evaluates=False) == 3


@pytest.mark.parametrize(("evaluates", "left"), [(False, 4), (True, 3)])
def test_rows_after_a_step_and_cut_lines_go(evaluates, left, tmp_path):
    for step in (1, 2, 4):
        metrics.append_row(tmp_path, step, {"train/loss": 1.0})
    for step in (4, 6):
        metrics.append_row(tmp_path, step, {"eval/mask_AP": 0.1})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 2, "tra')
    assert metrics.keep_rows(tmp_path, 4, evaluates=evaluates) == 5 - left
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == [1, 2, 4, 4][:left]
    assert metrics.keep_rows(tmp_path / "new", 0, evaluates=False) == 0


def test_average_is_that_of_each_name():
    window = [{"a": 1.0, "b": 0.0}, {"a": 2.0, "b": 1.0}]
    assert metrics.average(window) == {"a": 1.5, "b": 0.5}


def test_best_evaluation_is_the_first_of_the_highest(tmp_path):
    evaluations = Evaluations(tmp_path)
    assert evaluations.best() is None
    for step, ap in ((10, None), (20, 0.2), (30, 0.4), (40, 0.4), (50, 0.5)):
        evaluations.record(step, ap)
    assert 20 in evaluations
    assert 25 not in evaluations
    evaluations.forget_after(40)
    again = Evaluations(tmp_path)
    assert again.best() == 30
    assert again.best(among=[10, 20, 40]) == 40
    assert again.best(among=[10]) is None
    assert 50 not in again


def test_progress_measures_speed_waiting_and_the_rest(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    progress = Progress(num_steps=100, batch_size=8)
    assert np.isnan(progress.measure(1)["train/images_per_second"])
    for _ in range(4):
        with progress.waiting_for_data():
            now[0] += 0.5
        now[0] += 1.5
    values = progress.measure(5)
    # 4 steps of 8 images in 8 seconds, 2 of which waiting; 95 more steps of 2 seconds.
    assert values == {
        "train/images_per_second": 4.0,
        "train/data_wait": 0.25,
        "train/eta_seconds": 190.0,
    }
    losses = dict.fromkeys(
        ("train/loss", "train/box", "train/class", "train/mask", "train/semantic"), 1.0
    )
    line = progress.line(5, losses | values | {"train/learning_rate": 1e-3}, 2)
    assert "step 5/100" in line
    assert "4.0 images/s  25% waiting for data  ETA 0:03:10" in line
    assert "2 updates SKIPPED" in line


def events(folder):
    """Reads event files: each record is length, checksum, protobuf, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event()
            event.ParseFromString(data[12 : 12 + length])
            yield event
            data = data[16 + length :]


def test_tensorboard_has_the_rows_and_hides_what_comes_again(tmp_path):
    for start, steps in ((0, (1, 2, 3)), (2, (3,))):
        writer = tensorboard.open_writer(tmp_path, "yes", start)
        for step in steps:
            row = {"step": step, "train/loss": step + start, "train/box": None}
            tensorboard.write_row(writer, row)
        writer.close()
        time.sleep(1.1)  # Names of event files are seconds.
    written = list(events(tmp_path / "tensorboard"))
    scalars = [(e.step, v.simple_value) for e in written for v in e.summary.value]
    assert scalars == [(1, 1), (2, 2), (3, 3), (3, 5)]
    assert {v.tag for e in written for v in e.summary.value} == {"train/loss"}
    # TensorBoard drops earlier events from the step of a session's start on.
    assert [e.step for e in written if e.HasField("session_log")] == [3]


def test_tensorboard_is_optional(tmp_path, monkeypatch):
    assert tensorboard.open_writer(tmp_path, "no", 0) is None
    monkeypatch.setattr(tensorboard.importlib.util, "find_spec", lambda name: None)
    assert tensorboard.open_writer(tmp_path, "auto", 0) is None
    with pytest.raises(ValueError, match=r"tensorboard is 'yes', .* pip install"):
        tensorboard.open_writer(tmp_path, "yes", 0)
    tensorboard.write_row(None, {"step": 1, "a": 1.0})
    assert list(tmp_path.iterdir()) == []
