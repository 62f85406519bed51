"""The step learns, survives bad batches, and is the same on every engine."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from tests import scenes

NUM_DEVICES = 4


def assert_trees_close(a, b, **tolerance):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), **tolerance)


@pytest.fixture(scope="module")
def setup():
    state, step = scenes.tiny_step()
    return state, jax.jit(step)


def test_loss_falls_on_a_fixed_batch(setup):
    state, step = setup
    batch = scenes.rectangles([1, 2, 3, 2])
    losses = []
    for _ in range(30):
        state, metrics = step(state, batch)
        losses.append(float(metrics.losses.total))
    assert losses[-1] < 0.6 * losses[0]
    assert int(state.step) == 30


def test_number_of_objects_does_not_recompile(setup):
    state, step = setup
    for counts in ([0, 0, 0, 0], [1, 0, 0, 0], [scenes.SLOTS] * 4):
        _, metrics = step(state, scenes.rectangles(counts))
        assert np.isfinite(metrics.losses.total)
        assert metrics.skipped == 0
    assert step._cache_size() == 1


def test_without_objects_only_the_semantic_loss_counts(setup):
    state, step = setup
    _, metrics = step(state, scenes.rectangles([0, 0, 0, 0]))
    assert metrics.losses.box == 0
    assert metrics.losses.classification == 0
    assert metrics.losses.mask == 0
    assert metrics.losses.semantic > 0


def test_non_finite_loss_leaves_the_state_alone(setup):
    state, step = setup
    batch = scenes.rectangles([1, 1, 1, 1])
    batch = batch.replace(boxes=batch.boxes.at[0, 0].set(jnp.nan))
    after, metrics = step(state, batch)
    assert metrics.skipped == 1
    assert_trees_close(after.params, state.params, rtol=0)
    assert_trees_close(after.batch_stats, state.batch_stats, rtol=0)
    assert_trees_close(after.opt_state, state.opt_state, rtol=0)
    assert int(after.step) == 1


def test_padded_slots_do_not_matter(setup):
    state, step = setup
    batch = scenes.rectangles([1, 2, 3, 2])
    junk = ~batch.valid
    changed = batch.replace(
        boxes=jnp.where(junk[..., None], 0.3, batch.boxes),
        labels=jnp.where(junk, 2, batch.labels),
        masks=jnp.where(junk[..., None, None], 1, batch.masks).astype(jnp.uint8),
    )
    assert_trees_close(step(state, batch), step(state, changed), rtol=0)


def test_crowd_regions_only_remove_negatives(setup):
    state, step = setup
    batch = scenes.rectangles([1, 1, 1, 1])
    with_crowd = batch.replace(
        boxes=batch.boxes.at[:, 1].set(jnp.array([0.0, 0.0, 1.0, 1.0])),
        valid=batch.valid.at[:, 1].set(True),
        crowd=batch.crowd.at[:, 1].set(True),
    )
    _, plain = step(state, batch)
    _, crowded = step(state, with_crowd)
    assert crowded.losses.classification < plain.losses.classification
    assert crowded.losses.box == plain.losses.box
    assert crowded.losses.mask == plain.losses.mask


def test_frozen_batch_norm_stays_frozen():
    state, step = scenes.tiny_step(freeze_bn=True)
    after, _ = jax.jit(step)(state, scenes.rectangles([1, 2, 3, 2]))
    assert_trees_close(after.batch_stats, state.batch_stats, rtol=0)
    before = state.params["backbone"]["bn1"]
    assert_trees_close(after.params["backbone"]["bn1"], before, rtol=0)
    moved = after.params["backbone"]["conv1"]["kernel"]
    assert np.any(moved != state.params["backbone"]["conv1"]["kernel"])


def batches():
    return [scenes.rectangles([1, 4, 0, 2], seed=seed) for seed in range(3)]


@pytest.mark.parametrize("engine", ["mesh", "pmap"])
def test_four_devices_equal_one(engine, setup):
    if jax.device_count() < NUM_DEVICES:
        pytest.skip("needs 4 devices")
    expected, step = setup
    expected_losses = []
    for batch in batches():
        expected, metrics = step(expected, batch)
        expected_losses.append(float(metrics.losses.total))
    state, losses = (run_on_mesh if engine == "mesh" else run_under_pmap)()
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    assert_trees_close(state.params, expected.params, rtol=1e-4, atol=1e-5)
    assert_trees_close(state.batch_stats, expected.batch_stats, rtol=1e-4, atol=1e-5)


def run_on_mesh():
    mesh = jax.make_mesh((NUM_DEVICES,), ("data",), (AxisType.Auto,))
    replicated = NamedSharding(mesh, PartitionSpec())
    sharded = NamedSharding(mesh, PartitionSpec("data"))
    state, step = scenes.tiny_step()
    state = jax.device_put(state, replicated)
    step = jax.jit(step, out_shardings=(replicated, replicated))
    losses = []
    for batch in batches():
        state, metrics = step(state, jax.device_put(batch, sharded))
        losses.append(float(metrics.losses.total))
    return state, losses


def run_under_pmap():
    state, step = scenes.tiny_step(axis_name="batch")
    step = jax.pmap(functools.partial(step, axis_name="batch"), axis_name="batch")
    state = jax.tree.map(lambda x: jnp.stack([x] * NUM_DEVICES), state)
    losses = []
    for batch in batches():
        split = jax.tree.map(lambda x: x.reshape(NUM_DEVICES, -1, *x.shape[1:]), batch)
        state, metrics = step(state, split)
        losses.append(float(metrics.losses.total[0]))
    return jax.tree.map(lambda x: x[0], state), losses
