"""The step learns, survives bad batches, and heeds only what it should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import scenes


def assert_trees_close(a, b, **tolerance):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), **tolerance)


@pytest.fixture(scope="module")
def setup():
    state, step = scenes.tiny_step()
    return state, jax.jit(step)


@pytest.mark.long
def test_loss_falls_on_a_fixed_batch(setup):
    state, step = setup
    batch = scenes.rectangles([1, 2, 3, 2])
    losses = []
    for _ in range(30):
        state, metrics = step(state, batch)
        losses.append(float(metrics.losses.total))
    assert losses[-1] < 0.6 * losses[0]
    assert int(state.step) == 30


@pytest.mark.long
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
    for changed, old in zip(
        *map(jax.tree.leaves, (after.opt_state, state.opt_state)), strict=True
    ):
        # The only integer is the count that the learning rate follows.
        counts = jnp.issubdtype(old.dtype, jnp.integer)
        np.testing.assert_array_equal(changed, 1 if counts else old)
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


@pytest.mark.long
def test_frozen_batch_norm_stays_frozen():
    state, step = scenes.tiny_step(freeze_bn=True)
    after, _ = jax.jit(step)(state, scenes.rectangles([1, 2, 3, 2]))
    assert_trees_close(after.batch_stats, state.batch_stats, rtol=0)
    before = state.params["backbone"]["bn1"]
    assert_trees_close(after.params["backbone"]["bn1"], before, rtol=0)
    moved = after.params["backbone"]["conv1"]["kernel"]
    assert np.any(moved != state.params["backbone"]["conv1"]["kernel"])
