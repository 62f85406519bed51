"""Variables come out of a checkpoint by NumPy alone, old ones by Orbax."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from tests.helpers import scenes
from yolact_jax.run import checkpoint
from yolact_jax.run.array_digest import describe
from yolact_jax.run.variables import choose_step, load_variables


def assert_equal_trees(result, expected):
    assert jax.tree.structure(result) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, result, expected)


def save(workdir, state, step=3):
    with checkpoint.open_manager(workdir) as manager:
        checkpoint.save(manager, step, state)


def save_old(workdir, state, step=3):
    """Writes one Orbax item with everything, as the first version did."""
    record = json.dumps({"arrays": describe(state, checksums=True), "notes": {"a": 1}})
    with ocp.CheckpointManager(
        workdir / "checkpoints", item_handlers=ocp.StandardCheckpointHandler()
    ) as manager:
        args = ocp.args.StandardSave(state)
        manager.save(step, args=args, custom_metadata={"record": record})


@pytest.fixture(scope="module", params=[0.0, 0.5], ids=["plain", "averaged"])
def state(request):
    state, _ = scenes.tiny_step(average_decay=request.param)
    changed = jax.tree.map(lambda x: x + 1, state.average)
    return state if changed is None else state.replace(average=changed)


def test_numpy_reads_what_was_written_and_nothing_lies_there_twice(state, tmp_path):
    save(tmp_path, state)
    folder = tmp_path / "checkpoints" / "3"
    with np.load(folder / "variables" / "arrays.npz") as file:
        kernel = file["params/backbone/conv1/kernel"]
    np.testing.assert_array_equal(kernel, state.params["backbone"]["conv1"]["kernel"])
    in_rest = {p.name for p in (folder / "rest").rglob("*")}
    assert not any("params" in name for name in in_rest)
    on_disk = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    in_memory = sum(x.nbytes for x in jax.tree.leaves(state))
    assert on_disk < 1.2 * in_memory + 200_000


@pytest.mark.parametrize("write", [save, save_old])
def test_variables_to_predict_with_come_back(write, state, tmp_path):
    write(tmp_path, state)
    assert_equal_trees(
        load_variables(tmp_path, 3), jax.device_get(state.inference_variables)
    )


def test_an_old_checkpoint_resumes_bit_for_bit(state, tmp_path):
    save_old(tmp_path, state)
    with checkpoint.open_manager(tmp_path) as manager:
        restored, notes = checkpoint.restore_newest(manager, state)
        checkpoint.save(manager, 4, restored)
    assert notes == {"a": 1}
    assert_equal_trees(restored, state)
    assert_equal_trees(load_variables(tmp_path, 4), load_variables(tmp_path, 3))


@pytest.mark.parametrize("write", [save, save_old])
def test_any_flipped_bit_is_noticed(write, tmp_path):
    kernel = jnp.arange(2000, dtype=jnp.float32)
    tree = {"params": {"a": {"kernel": kernel}}, "step": jnp.int32(3)}
    write(tmp_path, tree)
    largest = max(tmp_path.rglob("*"), key=lambda p: p.is_file() * p.stat().st_size)
    whole = largest.read_bytes()
    rng = np.random.default_rng(0)
    expected = np.asarray(kernel)
    messages = []
    for place in rng.integers(0, len(whole), 20):
        data = bytearray(whole)
        data[place] ^= 1 << int(rng.integers(8))
        largest.write_bytes(data)
        try:
            read = load_variables(tmp_path, 3)["params"]["a"]["kernel"]
        except ValueError as error:
            messages.append(str(error))
        else:
            np.testing.assert_array_equal(read, expected)
    assert messages
    assert all(re.match("Checkpoint 3 in .* is damaged", text) for text in messages)


def test_steps_are_chosen_by_number_and_by_name(tmp_path):
    with pytest.raises(ValueError, match="has no checkpoint in"):
        choose_step(tmp_path)
    for name in ("2", "10", "12.orbax-checkpoint-tmp"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert choose_step(tmp_path) == choose_step(tmp_path, "latest") == 10
    assert choose_step(tmp_path, "2") == choose_step(tmp_path, 2) == 2
    with pytest.raises(ValueError, match=r"`step` is best, but no .*\[2, 10\]"):
        choose_step(tmp_path, "best")
    (tmp_path / "evaluations.json").write_text('{"2": 0.5, "7": 0.9, "10": null}')
    assert choose_step(tmp_path, "best") == 2
    with pytest.raises(ValueError, match=r"`step` 3 is not among .*\[2, 10\]"):
        choose_step(tmp_path, 3)
    with pytest.raises(ValueError, match="`step` is 'bset'; it must be"):
        choose_step(tmp_path, "bset")
