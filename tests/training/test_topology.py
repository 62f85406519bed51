"""A run may change its number of processes between stop and resume."""

import json
import pickle

import jax
import pytest

from tests.helpers.processes import run_processes
from tests.test_end_to_end import tiny_config
from tests.training.test_step import assert_trees_close
from yolact_jax.training.loop import train
from yolact_jax.training.session import load_state


def small_config(folder, num_steps):
    return tiny_config(folder).replace(
        {
            "train.num_steps": num_steps,
            "train.ema_decay": 0.5,
            "eval.max_images": 1,
            "eval.sample_images": 1,
        }
    )


def train_in_one_process(folder, num_steps):
    return train(small_config(folder, num_steps), folder / "run")


def train_in_two_processes(folder, num_steps):
    config = small_config(folder, num_steps)
    (folder / "config.pickle").write_bytes(pickle.dumps(config))
    run_processes("train", folder)


ORDERS = {
    "two_then_one": (train_in_two_processes, train_in_one_process),
    "one_then_two": (train_in_one_process, train_in_two_processes),
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return jax.device_get(train_in_one_process(tmp_path_factory.mktemp("whole"), 4))


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_run_goes_on_with_another_number_of_processes(order, uninterrupted, tmp_path):
    for num_steps, train_to in zip((2, 4), ORDERS[order], strict=True):
        train_to(tmp_path, num_steps)
    _, state = load_state(tmp_path / "run")
    assert int(state.step) == 4
    for name in ("params", "batch_stats", "average"):
        result, truth = getattr(state, name), getattr(uninterrupted, name)
        assert_trees_close(result, truth, rtol=1e-5, atol=1e-5)
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(row)["step"] for row in rows if "train/loss" in row]
    assert steps == [1, 2, 4]  # the first, then every second
    assert (tmp_path / "run" / "samples.png").is_file()
