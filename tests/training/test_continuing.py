"""Only a folder with a checkpoint decides what a config leaves open."""

import pathlib

import pytest

from tests.helpers.runs import tiny_config
from tests.helpers.tiffs import CHANNELS, config_of
from yolact_jax.data.records.dataset import Dataset
from yolact_jax.run import folder as run_folder
from yolact_jax.training import length, memory
from yolact_jax.training.session import make_session

DATASET = Dataset(pathlib.Path("records"), ("a",), (1,), "f00d", (), ("train",))


def save(workdir, config, dataset=DATASET, *, checkpoint=True):
    """What a run leaves that died before or after its first checkpoint."""
    run_folder.save_run(workdir, config, dataset)
    if checkpoint:
        (workdir / "checkpoints" / "2").mkdir(parents=True)


@pytest.mark.parametrize(("checkpoint", "batch"), [(False, 4), (True, 64)])
def test_an_attempt_that_died_before_a_checkpoint_decides_no_batch(
    tmp_path, monkeypatch, checkpoint, batch
):
    monkeypatch.setattr(memory, "largest_batch", lambda config, num_classes: 4)
    config = tiny_config(tmp_path)
    save(tmp_path, config.replace({"train.batch_size": 64}), checkpoint=checkpoint)
    left_open = config.replace({"train.batch_size": 0})
    assert length.resolve(left_open, 12, 1, tmp_path).train.batch_size == batch


@pytest.fixture(scope="module")
def measured(many, tmp_path_factory):
    """A config that measures a window, and the session of a new run with it."""
    folder = tmp_path_factory.mktemp("measured")
    changes = {"channels": CHANNELS, "window_percentiles": (1.0, 99.0)}
    config = config_of(many[0], folder, tiny_config(folder), **changes)
    return config, make_session(config, folder / "new")


@pytest.mark.parametrize("checkpoint", [False, True])
def test_an_attempt_that_died_before_a_checkpoint_decides_no_window(
    tmp_path, measured, checkpoint
):
    config, session = measured
    other = {
        "data.window_low": (0.0,) * CHANNELS,
        "data.window_high": (9.0,) * CHANNELS,
        "data.channel_mean": (3.0,) * CHANNELS,
        "data.channel_std": (1.0,) * CHANNELS,
    }
    old = session.config.replace(other)
    save(tmp_path, old, session.dataset, checkpoint=checkpoint)
    found = make_session(config, tmp_path).config.data
    assert found == (old if checkpoint else session.config).data
