"""Only a folder with a checkpoint decides what a config leaves open."""

import dataclasses
import json
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


@pytest.mark.parametrize(
    ("recorded", "asked", "refused"),
    [
        ([1.0, 99.0], (1.0, 99.0), False),
        ([1.0, 99.0], (), False),
        ([1.0, 99.0], (5.0, 95.0), True),
        ([], (5.0, 95.0), True),
        (None, (5.0, 95.0), False),  # Of a run that recorded none.
    ],
)
def test_a_window_by_other_percentiles_is_refused(
    tmp_path, measured, recorded, asked, refused
):
    config, session = measured
    save(tmp_path, session.config, session.dataset)
    content = json.loads((tmp_path / "dataset.json").read_text())
    assert content["window_percentiles"] == [1.0, 99.0]
    content["window_percentiles"] = recorded
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    base = config if asked else session.config
    config = base.replace({"data.window_percentiles": asked})
    if refused:
        words = r"window_percentiles is \(5.0, 95.0\); it must be \("
        with pytest.raises(ValueError, match=words):
            make_session(config, tmp_path)
        return
    continued = make_session(config, tmp_path)
    assert continued.config == session.config
    # The record outlives that nothing is measured again.
    run_folder.save_run(tmp_path, continued.config, continued.dataset)
    after = json.loads((tmp_path / "dataset.json").read_text())
    assert after["window_percentiles"] == recorded


def test_a_run_without_a_window_gets_none_later(tmp_path, measured):
    config, session = measured
    windowless = {f"data.window_{name}": () for name in ("low", "high", "percentiles")}
    old = session.config.replace(windowless)
    pixels = dataclasses.replace(session.dataset.pixels, percentiles=())
    save(tmp_path, old, dataclasses.replace(session.dataset, pixels=pixels))
    with pytest.raises(ValueError, match=r"\(1.0, 99.0\); it must be \(\) as in"):
        make_session(config, tmp_path)
