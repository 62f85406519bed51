"""A whole folder of a run, made in milliseconds, and all that reads it."""

import pathlib

import numpy as np

from yolact_jax.data.records.dataset import Dataset
from yolact_jax.run import folder as run_folder
from yolact_jax.run.best import Evaluations
from yolact_jax.run.changes import note_changes
from yolact_jax.run.lock import sole_training
from yolact_jax.run.metrics import append_row, keep_rows, read_rows
from yolact_jax.run.variables import choose_step, load_variables, write_arrays
from yolact_jax.zoo.specs import spec

NEEDED = ("config.json", "dataset.json")
INFORMATIVE = (
    "changes.json",
    "evaluations.json",
    "metrics.jsonl",
    "run.lock",
    "versions.json",
)
DATASET = Dataset(pathlib.Path("records"), ("a", "b"), (1, 7), "f00d", (), ("train",))
ARRAYS = {
    "params/a/kernel": np.arange(24, dtype=np.float32).reshape(4, 6),
    "params/a/bias": np.ones(6, np.float32),
    "batch_stats/a/mean": np.zeros(6, np.float32),
}


def make(folder: pathlib.Path) -> None:
    run_folder.save_run(folder, spec("shapes"), DATASET)
    for step in (2, 3):
        append_row(folder, step, {"train/loss": 1.5, "train/box": float("nan")})
        Evaluations(folder).record(step, 0.5 / step)
        variables = folder / "checkpoints" / str(step) / "variables"
        variables.mkdir(parents=True)
        write_arrays(variables, ARRAYS)
    (folder / "run.lock").write_text('{"pid": 1, "host": "a", "started": "b"}\n')


def resume(folder: pathlib.Path) -> None:
    """What a training that goes on reads and changes, but for Orbax."""
    with sole_training(folder):
        evaluations = Evaluations(folder)
        run_folder.check_same_run(folder, spec("shapes"), DATASET)
        evaluations.forget_after(3)
        note_changes(folder, spec("shapes"), 3)
        run_folder.save_run(folder, spec("shapes"), DATASET)
        keep_rows(folder, 3, evaluates=3 not in evaluations)
        append_row(folder, 4, {"train/loss": 1.0})
        evaluations.record(4, 0.5)


def predict(folder: pathlib.Path) -> dict:
    """What a command that uses the run reads; returns its variables."""
    run_folder.load_run(folder)
    read_rows(folder)
    Evaluations(folder).best(among=[2, 3])
    return load_variables(folder, choose_step(folder, "latest"))
