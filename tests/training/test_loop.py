"""Stopping, going on, falling back, refusing: the loop around the steps."""

import dataclasses
import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest

from tests.helpers.runs import rows, tiny_config
from tests.run.test_checkpoint import contents, flip_a_bit, steps_in
from yolact_jax import build
from yolact_jax.run.changes import note_changes, require_unchanged
from yolact_jax.run.folder import load_run
from yolact_jax.run.lock import WorkdirInUseError
from yolact_jax.run.metrics import append_row
from yolact_jax.run.variables import choose_step
from yolact_jax.tools import replay
from yolact_jax.training import loop
from yolact_jax.training.interruption import Interrupted
from yolact_jax.training.monitor import recorder
from yolact_jax.training.monitor.bad_batches import (
    DivergedError,
    load_bad_batch,
    saved_steps,
)
from yolact_jax.training.report import Evaluation
from yolact_jax.training.session import load_state

NUM_STEPS = 6


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loop")
    config = tiny_config(folder).replace(
        {
            "train.num_steps": NUM_STEPS,
            "train.eval_every_steps": 4,
        }
    )
    return loop.make_session(config, folder)


@pytest.fixture(scope="module")
def train(session):
    """Trains with the compiled functions of the session, and made-up AP."""

    def same_session(config, workdir):
        return dataclasses.replace(session, config=config, workdir=workdir)

    def evaluate(config, dataset, state, workdir):
        step = int(state.step)
        return append_row(workdir, step, {"eval/mask_AP": 1 / step})

    def train(workdir, **options):
        options = {f"train.{name}": value for name, value in options.items()}
        config = session.config.replace(options)
        return jax.device_get(loop.train(config, workdir))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "make_session", same_session)
        patch.setattr(replay, "make_session", same_session)
        patch.setattr(loop, "evaluate_and_report", evaluate)
        yield train


@pytest.fixture(scope="module")
def whole_run(train, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole_run")
    return train(folder), folder


@pytest.fixture
def whole(whole_run, tmp_path):
    """State and rows of an uninterrupted run, and a copy of its folder."""
    state, folder = whole_run
    shutil.copytree(folder, tmp_path / "whole")
    return state, rows(folder, timings=False)


def assert_same_state(state, whole):
    for a, b in zip(*map(jax.tree.leaves, (state, whole[0])), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_equal(state, workdir, whole):
    assert_same_state(state, whole)
    assert rows(workdir, timings=False) == whole[1]


def at_step(monkeypatch, step, action):
    """Does something when a step was dispatched."""
    add = recorder.Recorder.add

    def add_and_act(self, number, *args):
        add(self, number, *args)
        if number == step:
            action()

    monkeypatch.setattr(recorder.Recorder, "add", add_and_act)


def send(number):
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)],
    ids=lambda number: number.name,
)
def test_signal_saves_the_running_step_and_the_run_goes_on(
    number, train, whole, tmp_path, monkeypatch, caplog
):
    workdir = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_step(patch, 3, send(number))
        with pytest.raises(Interrupted, match="after step 3, which is saved") as info:
            train(workdir)
    assert info.value.exit_status == 128 + number
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
    assert steps_in(workdir) == [2, 3]
    caplog.set_level("INFO")
    assert_equal(train(workdir), workdir, whole)
    assert "at step 3, bit for bit" in caplog.text


@pytest.mark.long
def test_a_run_ends_without_progress_and_keeps_its_best_state(
    train, tmp_path, monkeypatch
):
    measured, states = iter([0.1, 0.3, 0.2, 0.3]), {}

    def evaluate(config, dataset, state, workdir):
        states[int(state.step)] = jax.device_get(state)
        return append_row(workdir, int(state.step), {"eval/mask_AP": next(measured)})

    monkeypatch.setattr(loop, "evaluate_and_report", evaluate)
    every = {"eval_every_steps": 1, "checkpoint_every_steps": 1, "keep_checkpoints": 1}
    assert int(train(tmp_path, patience=2, **every).step) == 4
    assert steps_in(tmp_path) == [2, 4]
    assert choose_step(tmp_path, "best") == 2
    _, best = load_state(tmp_path, "best")
    for a, b in zip(*map(jax.tree.leaves, (best, states[2])), strict=True):
        np.testing.assert_array_equal(a, b)
    # Started again, it has nothing to do.
    assert int(train(tmp_path, patience=2, **every).step) == 4


@pytest.mark.long
def test_a_run_that_ends_early_leaves_the_report_of_its_best_state(
    train, session, tmp_path, monkeypatch
):
    precisions, states, calls = {1: 0.1, 2: 0.3, 3: 0.2, 4: 0.3}, {}, []
    report = tmp_path / "report" / "index.html"

    def evaluate(config, dataset, state, workdir):
        step = int(state.step)
        calls.append((step, config.eval.report))
        variables = jax.device_get(state.inference_variables)
        for pair in zip(
            *map(jax.tree.leaves, (states.setdefault(step, variables), variables)),
            strict=True,
        ):
            np.testing.assert_array_equal(*pair)
        Evaluation(step, "validation", [], {}).write(workdir)
        if config.eval.report:
            if len(calls) == 5:
                send(signal.SIGTERM)()
            report.parent.mkdir()
            report.touch()
        return append_row(workdir, step, {"eval/mask_AP": precisions[step]})

    monkeypatch.setattr(loop, "evaluate_and_report", evaluate)
    config = session.config.replace(
        {"train.eval_every_steps": 1, "train.patience": 2, "eval.report": True}
    )
    with pytest.raises(Interrupted, match="after step 4, which is saved"):
        loop.train(config, tmp_path)
    # Stopped meanwhile, it goes on with the report, and then has nothing to do.
    for _ in range(2):
        assert int(loop.train(config, tmp_path).step) == 4
        assert report.exists()
    evaluated = [(step, False) for step in precisions]
    assert calls == [*evaluated, (2, True), (2, True)]


@pytest.mark.long
def test_signal_ends_an_evaluation_at_once(train, whole, tmp_path, monkeypatch):
    workdir = tmp_path / "run"

    def evaluate(config, dataset, state, workdir):
        append_row(workdir, int(state.step), {"eval/mask_AP": 0.5})
        send(signal.SIGTERM)()
        raise AssertionError("went on after the signal")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "evaluate_and_report", evaluate)
        with pytest.raises(Interrupted, match="after step 4, which is saved"):
            train(workdir)
    assert steps_in(workdir) == [2, 4]
    assert_equal(train(workdir), workdir, whole)


@pytest.mark.long
def test_loader_that_a_signal_ends_too_loses_nothing(
    train, whole, tmp_path, monkeypatch
):
    workdir = tmp_path / "run"
    next_of = recorder.Recorder.next_of
    calls = []

    def end_loader(self, batches):
        calls.append(None)
        if len(calls) == 4:
            send(signal.SIGINT)()
            raise RuntimeError("Grain worker process was terminated")
        return next_of(self, batches)

    with monkeypatch.context() as patch:
        patch.setattr(recorder.Recorder, "next_of", end_loader)
        with pytest.raises(Interrupted, match="after step 3, which is saved"):
            train(workdir)
    assert_equal(train(workdir), workdir, whole)


def crash():
    raise RuntimeError("power failure")


def test_rows_after_the_checkpoint_are_taken_back(train, whole, tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_step(patch, 6, crash)
        with pytest.raises(RuntimeError, match="power failure"):
            train(workdir, log_every_steps=1)
    assert rows(workdir)[-1]["step"] == 5
    with open(workdir / "metrics.jsonl", "a") as file:
        file.write('{"step": 6, "train/lo')
    state = train(workdir, log_every_steps=1)
    trained = [row["step"] for row in rows(workdir) if "train/loss" in row]
    assert trained == [1, 2, 3, 4, 5, 6]
    for a, b in zip(*map(jax.tree.leaves, (state, whole[0])), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.long
def test_running_training_keeps_others_out_but_lets_them_read(
    train, whole, tmp_path, monkeypatch
):
    workdir = tmp_path / "run"
    met = []

    def meet():
        with pytest.raises(WorkdirInUseError, match=f"process {os.getpid()} on"):
            train(workdir)
        met.append(replay.replay(workdir, 1)[0]["train/loss"])

    with monkeypatch.context() as patch:
        at_step(patch, 3, meet)
        assert_equal(train(workdir), workdir, whole)
    assert met == [whole[1][0]["train/loss"]]


@pytest.mark.parametrize(("at", "stays"), [(2, True), (4, False)])
def test_an_evaluation_by_hand_goes_only_if_the_run_repeats_it(
    at, stays, train, whole, tmp_path
):
    workdir = tmp_path / "whole"
    for step in (4, 6):
        if step > at:
            shutil.rmtree(workdir / "checkpoints" / str(step))
    lines = (workdir / "metrics.jsonl").read_text().splitlines(keepends=True)
    earlier = [line for line in lines if json.loads(line)["step"] <= at]
    unevaluated = [line for line in earlier if "eval/" not in line]
    (workdir / "metrics.jsonl").write_text("".join(unevaluated))
    (workdir / "evaluations.json").unlink()
    by_hand = append_row(workdir, at, {"eval/mask_AP": 0.125})
    assert_same_state(train(workdir), whole)
    assert (by_hand in rows(workdir)) == stays
    assert sum("eval/mask_AP" in row for row in rows(workdir)) == 2 + stays


def test_damaged_checkpoint_costs_only_time(train, whole, tmp_path, caplog):
    workdir = tmp_path / "whole"
    flip_a_bit(workdir / "checkpoints" / "6")
    assert_equal(train(workdir), workdir, whole)
    assert "Checkpoint 6 in" in caplog.text
    assert (workdir / "bad_checkpoints" / "6").is_dir()


@pytest.mark.slow
def test_steps_before_a_change_are_not_made_again(train, whole, tmp_path):
    workdir = tmp_path / "whole"
    shutil.rmtree(workdir / "checkpoints" / "6")
    train(workdir, seed=3)
    assert json.loads((workdir / "changes.json").read_text()) == {"train.seed": 4}
    assert np.isfinite(replay.replay(workdir, 6)[0]["train/loss"])
    with pytest.raises(ValueError, match=r"Step 3 .* config.train.seed was changed af"):
        replay.replay(workdir, 4)  # From checkpoint 2.
    # Back to a checkpoint before the change, all that follows has the new values.
    note_changes(workdir, load_run(workdir).config, 2)
    require_unchanged(workdir, 3, ("train.",))
    with pytest.raises(ValueError, match=r"Step 2 "):
        require_unchanged(workdir, 2, ("train.",))


@pytest.mark.slow
def test_complete_run_is_not_evaluated_again(train, whole, tmp_path):
    assert_equal(train(tmp_path / "whole"), tmp_path / "whole", whole)


@pytest.mark.long
def test_best_checkpoint_is_kept_and_can_be_chosen(train, tmp_path):
    train(tmp_path, eval_every_steps=1, keep_checkpoints=1)
    # The made-up AP falls from step to step.
    assert steps_in(tmp_path) == [1, 6]
    assert int(load_state(tmp_path, "best")[1].step) == 1
    assert int(load_state(tmp_path, "latest")[1].step) == 6
    with pytest.raises(ValueError, match=r"'bset'; it must be one of \[1, 6\], latest"):
        load_state(tmp_path, "bset")


def test_other_data_are_refused_and_nothing_changed(
    train, whole, tmp_path, session, monkeypatch
):
    workdir = tmp_path / "whole"
    before = contents(workdir)
    other = dataclasses.replace(session.dataset, fingerprint="0123")
    monkeypatch.setattr(
        loop,
        "make_session",
        lambda config, workdir: dataclasses.replace(
            session, workdir=workdir, dataset=other
        ),
    )
    with pytest.raises(ValueError, match=r"on other data: .* and is 0123; use"):
        train(workdir)
    assert contents(workdir) == before


def test_an_end_before_the_newest_checkpoint_is_refused(train, whole, tmp_path):
    workdir = tmp_path / "whole"
    before = contents(workdir)
    message = r"end after 3 steps .*num_steps is 3, .*batch_size 4\), .* of step 6;"
    with pytest.raises(ValueError, match=message):
        train(workdir, num_steps=3)
    assert contents(workdir) == before


def test_a_batch_of_the_run_is_refused_by_other_devices(
    train, whole, tmp_path, session, monkeypatch
):
    workdir = tmp_path / "whole"
    before = contents(workdir)
    resolved = dataclasses.replace(session, workdir=workdir)
    monkeypatch.setattr(loop, "make_session", lambda config, workdir: resolved)
    monkeypatch.setattr(jax, "device_count", lambda: 3)
    with pytest.raises(ValueError, match=r"batch_size is 4; .* the 3 devices"):
        train(workdir, batch_size=0)
    assert contents(workdir) == before


@pytest.fixture
def bad_steps(monkeypatch):
    """Puts nan into the boxes of some steps."""
    make = build.make_training_batches
    chosen = set()

    class Spoiled:
        def __init__(self, config, source, start_step, **share):
            self.batches = make(config, source, start_step, **share)
            self.step = start_step

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.batches.close()

        def __next__(self):
            self.step += 1
            batch = next(self.batches)
            if self.step in chosen:
                boxes, valid = batch["boxes"], batch["valid"]
                batch["boxes"] = np.where(valid[..., None], np.float32("nan"), boxes)
            return batch

        def __iter__(self):
            return self

    monkeypatch.setattr(build, "make_training_batches", Spoiled)
    return chosen


@pytest.mark.long
def test_bad_batch_is_skipped_counted_saved_and_replayed(
    train, session, tmp_path, bad_steps, caplog
):
    bad_steps.add(4)
    train(tmp_path)
    skipped = {r["step"]: r["train/skipped"] for r in rows(tmp_path) if len(r) > 2}
    assert skipped == {1: 0, 2: 0, 4: 0.5, 6: 0}
    assert saved_steps(tmp_path) == [4]
    batch, terms = load_bad_batch(tmp_path, 4)
    assert len(batch["image_ids"]) == 4
    assert str(batch["image_ids"].tolist()) in caplog.text
    assert terms["train/skipped"] == 1
    assert np.isnan(terms["train/box"])
    assert np.isfinite(terms["train/semantic"])
    bad_steps.clear()  # What is replayed is what was saved.
    before = contents(tmp_path)
    # From checkpoint 2, over step 3.
    again, findings = replay.replay(tmp_path)
    np.testing.assert_equal(again, terms)
    ids = set(batch["image_ids"].tolist())
    assert findings
    assert all(any(f"image {i} has a box" in f for i in ids) for f in findings)
    assert contents(tmp_path) == before


def test_too_many_bad_batches_end_the_run(train, tmp_path, bad_steps):
    bad_steps.update({2, 4, 5, 6})
    message = "last 2 updates, up to step 5, .*replay --workdir .* --step 4"
    with pytest.raises(DivergedError, match=message):
        train(tmp_path, max_bad_steps=2)
    assert saved_steps(tmp_path) == [2, 4, 5]


@pytest.mark.parametrize("resumes_at", [2, 0])
def test_bad_batches_of_steps_made_again_go(
    resumes_at, train, whole, tmp_path, bad_steps
):
    workdir = tmp_path / "whole"
    for step in range(resumes_at + 1, 7):
        shutil.rmtree(workdir / "checkpoints" / str(step), ignore_errors=True)
    if not resumes_at:
        shutil.rmtree(workdir / "checkpoints")
    old = workdir / "bad_batches"
    old.mkdir()
    for step in (2, 3, 5):
        (old / f"{step}.npz").write_bytes(b"of an earlier attempt")
    bad_steps.add(5)
    train(workdir)
    assert saved_steps(workdir) == [2, 5][resumes_at == 0 :]
    assert len(load_bad_batch(workdir, 5)[0]["image_ids"]) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 8}, "config.train.seed 8, not 0 as"),
        ({"images": np.zeros((4, 32, 32, 3))}, r"\(4, 32, 32\); .* \[\(4, 64, 64\)\]"),
        ({"images": np.zeros((2, 64, 64, 3))}, r"\(2, 64, 64\); .* \[\(4, 64, 64\)\]"),
        ({"images": None}, "shape None; "),
    ],
)
def test_a_saved_batch_that_is_not_of_the_run_is_not_replayed(
    changes, words, train, whole, tmp_path
):
    workdir = tmp_path / "whole"
    saved = {"step": 1, "seed": 0, "images": np.zeros((4, 64, 64, 3)), **changes}
    (workdir / "bad_batches").mkdir()
    np.savez_compressed(
        workdir / "bad_batches" / "1.npz",
        **{name: value for name, value in saved.items() if value is not None},
    )
    with pytest.raises(ValueError, match=words):
        replay.replay(workdir, 1)


@pytest.mark.slow
def test_counts_of_bad_batches_survive_a_stop(train, tmp_path, bad_steps, monkeypatch):
    bad_steps.update({4, 5})
    with monkeypatch.context() as patch:
        at_step(patch, 4, send(signal.SIGTERM))
        with pytest.raises(Interrupted, match="step 4"):
            train(tmp_path, max_bad_steps=2)
    with pytest.raises(DivergedError, match="last 2 updates, up to step 5"):
        train(tmp_path, max_bad_steps=2)


@pytest.mark.slow
def test_profile_leaves_a_trace(train, tmp_path):
    train(tmp_path, profile_steps=2)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
