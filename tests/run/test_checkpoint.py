"""Checkpoints are whole or not there; damaged ones are found out and put aside."""

import contextlib
import pathlib
import resource
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolact_jax.run import checkpoint

STATE = {
    "params": {"kernel": np.arange(60000, dtype=np.float32).reshape(300, 200)},
    "count": np.int32(3),
}


def state_of(step):
    kernel = jnp.asarray(STATE["params"]["kernel"] + step)
    momentum = jax.random.normal(jax.random.key(step), kernel.shape)
    return {
        "params": {"kernel": kernel},
        "momentum": {"kernel": momentum},
        "count": jnp.int32(step),
    }


def save_steps(folder, steps, **options):
    with checkpoint.open_manager(folder, **options) as manager:
        for step in steps:
            checkpoint.save(manager, step, state_of(step), {"step": step})


def steps_in(folder):
    with checkpoint.open_for_reading(folder) as manager:
        return sorted(manager.all_steps())


def largest_file(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return max(files, key=lambda path: path.stat().st_size)


def flip_a_bit(folder, item="variables"):
    path = largest_file(folder / item)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def flip_a_bit_of_the_optimizer(folder):
    flip_a_bit(folder, "rest")


def cut_short(folder):
    path = largest_file(folder / "variables")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove_variables(folder):
    largest_file(folder / "variables").unlink()


def remove_optimizer(folder):
    shutil.rmtree(folder / "rest")


def damage_record(folder):
    (folder / "_CHECKPOINT_METADATA").write_text('{"half')


DAMAGES = [
    flip_a_bit,
    flip_a_bit_of_the_optimizer,
    cut_short,
    remove_variables,
    remove_optimizer,
    damage_record,
]


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_state_and_notes_come_back(tmp_path):
    with checkpoint.open_manager(tmp_path) as manager:
        checkpoint.save(manager, 2, state_of(2), {"window": [0.1, float("nan")]})
    with checkpoint.open_manager(tmp_path) as manager:
        state, notes = checkpoint.restore_newest(manager, state_of(0))
    np.testing.assert_array_equal(
        state["params"]["kernel"], STATE["params"]["kernel"] + 2
    )
    assert state["count"] == 2
    assert notes["window"][0] == 0.1
    assert np.isnan(notes["window"][1])


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_latest_falls_back_and_is_put_aside(damage, tmp_path, caplog):
    save_steps(tmp_path, [1, 2, 3])
    damage(tmp_path / "checkpoints" / "3")
    with checkpoint.open_manager(tmp_path) as manager:
        state, notes = checkpoint.restore_newest(manager, state_of(0))
        assert state["count"] == notes["step"] == 2
        assert manager.latest_step() == 2
        checkpoint.save(manager, 3, state_of(3))
    assert steps_in(tmp_path) == [1, 2, 3]
    assert (tmp_path / "bad_checkpoints" / "3").is_dir()
    assert "Checkpoint 3 in" in caplog.text
    assert "is damaged" in caplog.text


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoint_is_not_loaded(damage, tmp_path):
    save_steps(tmp_path, [1, 2])
    damage(tmp_path / "checkpoints" / "2")
    with (
        checkpoint.open_for_reading(tmp_path) as manager,
        pytest.raises(ValueError, match=r"Checkpoint 2 in .* is damaged"),
    ):
        checkpoint.restore(manager, state_of(0))


@pytest.mark.parametrize(
    ("item", "named"), [("variables", "params/kernel"), ("rest", "count")]
)
def test_values_are_compared_with_what_was_written(item, named, tmp_path):
    # Files of another state, whole in themselves: only the checksums tell.
    save_steps(tmp_path / "a", [1])
    save_steps(tmp_path / "b", [2])
    ours = tmp_path / "a" / "checkpoints" / "1" / item
    ours.rename(tmp_path / "old")
    (tmp_path / "b" / "checkpoints" / "2" / item).rename(ours)
    with (
        checkpoint.open_for_reading(tmp_path / "a") as manager,
        pytest.raises(ValueError, match=f"the values of {named} are not those written"),
    ):
        checkpoint.restore(manager, state_of(0))


def test_without_a_whole_checkpoint_nothing_is_changed(tmp_path):
    save_steps(tmp_path, [1, 2])
    for step in ("1", "2"):
        flip_a_bit(tmp_path / "checkpoints" / step)
    before = contents(tmp_path)
    with (
        checkpoint.open_manager(tmp_path) as manager,
        pytest.raises(ValueError, match=r"No checkpoint in .* can be read"),
    ):
        checkpoint.restore_newest(manager, state_of(0))
    assert contents(tmp_path) == before


def test_another_shape_is_refused_by_name_and_nothing_changed(tmp_path):
    save_steps(tmp_path, [1, 2])
    before = contents(tmp_path)
    like = state_of(0) | {"params": {"kernel": jnp.zeros((300, 100))}}
    message = (
        r"Checkpoint 2 .* does not fit the model of the config: its params/kernel is "
        r"float32 \[300, 200\], the model's float32 \[300, 100\]"
    )
    with checkpoint.open_manager(tmp_path) as manager:
        with pytest.raises(ValueError, match=message):
            checkpoint.restore_newest(manager, like)
        like = {k: v for k, v in state_of(0).items() if k != "count"}
        with pytest.raises(ValueError, match=r"count is int32 \[\], the model's miss"):
            checkpoint.restore_newest(manager, like)
    assert contents(tmp_path) == before


def test_newest_and_best_are_kept(tmp_path):
    save_steps(tmp_path, range(1, 7), keep=2, best_step=lambda: 3)
    assert steps_in(tmp_path) == [3, 5, 6]


def test_what_an_interrupted_save_left_is_no_checkpoint(tmp_path):
    save_steps(tmp_path, [1])
    left = tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp"
    left.mkdir()
    (left / "data").write_bytes(b"half")
    with checkpoint.open_manager(tmp_path) as manager:
        assert manager.all_steps() == [1]
        assert left.exists()
        assert checkpoint.remove_unfinished(manager) == [left.name]
    assert not left.exists()


@contextlib.contextmanager
def full_disk():
    """Files that cannot grow stand for a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_failed_write_ends_in_a_sentence_and_older_ones_are_intact(tmp_path):
    save_steps(tmp_path, [1])
    with (
        full_disk(),
        pytest.raises(OSError, match=r"File too large\); those of steps \[1\]"),
    ):
        save_steps(tmp_path, [2])
    assert [p.name for p in (tmp_path / "checkpoints").glob("[0-9]*")] == ["1"]
    with checkpoint.open_for_reading(tmp_path) as manager:
        assert checkpoint.restore(manager, state_of(0))["count"] == 1


@pytest.mark.parametrize("error", [OSError("evaluation"), KeyboardInterrupt()])
def test_what_fails_beside_a_failed_write_is_told(error, tmp_path, caplog):
    def save_and_fail():
        with full_disk(), checkpoint.open_manager(tmp_path) as manager:
            checkpoint.save(manager, 2, state_of(2))
            raise error

    save_steps(tmp_path, [1])
    with pytest.raises(type(error)) as raised:
        save_and_fail()
    assert raised.value is error
    assert "File too large); those of steps [1] are intact. Make room" in caplog.text
    assert [p.name for p in (tmp_path / "checkpoints").glob("[0-9]*")] == ["1"]


def test_a_failed_write_shows_no_traceback(tmp_path):
    # In a new process, as libraries set up logging once; messages go to the root.
    code = """if True:
        import gc, pathlib, sys
        from yolact_jax.cli import start_logging
        start_logging()
        from tests.run import test_checkpoint as lib
        with lib.full_disk():
            try:
                lib.save_steps(pathlib.Path(sys.argv[1]), [1])
            except OSError as error:
                print(error)
        gc.collect()
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=pathlib.Path(__file__).parents[2],
    )
    assert "File too large); there is no other. Make room" in done.stdout
    assert "Traceback" not in done.stderr
