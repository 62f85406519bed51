"""One step, every engine: a device, a mesh, pmap, and several processes are equal."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import scenes
from tests.helpers.processes import run_processes
from tests.training.test_step import assert_trees_close
from yolact_jax.training import parts
from yolact_jax.training.multihost.mesh import make_layout, to_devices

pytestmark = pytest.mark.long

NUM_DEVICES = 4
COUNTS = [1, 4, 0, 2, 3, 0, 1, 1]


@pytest.fixture(autouse=True, scope="module")
def four_devices():
    if jax.device_count() < NUM_DEVICES:
        pytest.skip("needs 4 devices")


def batches():
    return [scenes.rectangles(COUNTS, seed=seed) for seed in range(3)]


@functools.cache
def on_one_device(**options):
    state, step = scenes.tiny_step(**options)
    step = jax.jit(step)
    losses = []
    for batch in batches():
        state, metrics = step(state, batch)
        losses.append(metrics)
    return jax.device_get((state, losses))


def run_on_mesh(**options):
    """In as many processes as there are; each brings only its rows."""
    layout = make_layout()
    state, step = scenes.tiny_step(**options)
    step = parts.compile_lazily(step, layout)
    count = len(COUNTS) // jax.process_count()
    rows = slice(jax.process_index() * count, (jax.process_index() + 1) * count)
    state = jax.device_put(jax.device_get(state), layout.replicated)
    losses = []
    for batch in batches():
        local = jax.tree.map(lambda x: np.asarray(x)[rows], vars(batch))
        state, metrics = step(state, to_devices(local, layout.sharded))
        losses.append(metrics)
    return state, losses


def run_under_pmap(**options):
    state, step = scenes.tiny_step(axis_name="batch", **options)
    step = jax.pmap(functools.partial(step, axis_name="batch"), axis_name="batch")
    state = jax.tree.map(lambda x: jnp.stack([x] * NUM_DEVICES), state)
    losses = []
    for batch in batches():
        split = jax.tree.map(lambda x: x.reshape(NUM_DEVICES, -1, *x.shape[1:]), batch)
        state, metrics = step(state, split)
        losses.append(metrics)
    return jax.tree.map(lambda x: x[0], (state, losses))


def assert_equal_runs(result, expected):
    (state, losses), (expected_state, expected_losses) = result, expected
    assert_trees_close(losses, expected_losses, rtol=1e-5, atol=1e-7)
    assert_trees_close(state.params, expected_state.params, rtol=1e-5, atol=1e-5)
    # Variances are far from 1: relative.
    stats = state.batch_stats, expected_state.batch_stats
    assert_trees_close(*stats, rtol=1e-5, atol=1e-5)


def test_mesh_of_four_devices_equals_one():
    assert_equal_runs(run_on_mesh(), on_one_device())


def test_pmap_over_four_devices_equals_one():
    assert_equal_runs(run_under_pmap(), on_one_device())


@pytest.mark.slow
def test_two_processes_of_two_devices_equal_one(tmp_path):
    run_processes("steps", tmp_path)
    result = pickle.loads((tmp_path / "steps.pickle").read_bytes())
    assert_equal_runs(result, on_one_device())


@pytest.mark.slow
@pytest.mark.parametrize("engine", [run_on_mesh, run_under_pmap])
def test_parts_of_a_batch_are_the_same_on_every_engine(engine):
    options = {"accumulate_steps": 2}
    assert_equal_runs(engine(**options), on_one_device(**options))
