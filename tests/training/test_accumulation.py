"""A batch in parts is the batch: losses, gradients, and the average of the weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import scenes
from tests.training.test_step import assert_trees_close
from yolact_jax.config import Loss
from yolact_jax.training.step import mask_priority

pytestmark = pytest.mark.long

# Parts with many, few and no objects, so that their normalisers differ.
COUNTS = [4, 1, 0, 2, 3, 0, 0, 1]


def steps(batch, count=2, **options):
    state, step = scenes.tiny_step(**options)
    step = jax.jit(step)
    for _ in range(count):
        state, metrics = step(state, batch)
    return jax.device_get((state, metrics))


def test_with_frozen_batch_norm_parts_equal_the_whole_batch():
    batch = scenes.rectangles(COUNTS)
    # So few masks that it matters which ones are drawn.
    options = {"freeze_bn": True, "loss_options": Loss(max_masks=2)}
    expected, expected_metrics = steps(batch, **options)
    state, metrics = steps(batch, **options, accumulate_steps=4)
    assert_trees_close(metrics, expected_metrics, rtol=1e-5)
    assert_trees_close(state.params, expected.params, rtol=1e-5, atol=1e-5)
    assert_trees_close(state.opt_state, expected.opt_state, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_equal_parts_see_the_statistics_of_one():
    """Doubling every image: each part has the statistics of the whole batch."""
    batch = scenes.rectangles(COUNTS[:4])
    doubled = jax.tree.map(lambda x: jnp.repeat(x, 2, axis=0), batch)
    expected, _ = steps(batch, count=1)
    state, _ = steps(doubled, count=1, accumulate_steps=2)
    # Both parts update the running mean: 0.9 of the old twice.
    once = expected.batch_stats["backbone"]["bn1"]["mean"]
    twice = state.batch_stats["backbone"]["bn1"]["mean"]
    np.testing.assert_allclose(twice, 1.9 * once, rtol=1e-5)


def test_average_follows_the_weights_and_serves_inference():
    batch = scenes.rectangles([1, 2])
    state, step = scenes.tiny_step(average_decay=0.999)
    step = jax.jit(step, donate_argnums=0)
    expected = jax.device_get(state.variables)
    for index in range(3):
        state, _ = step(state, batch)
        share = (1 + index) / (10 + index)
        expected = jax.tree.map(
            lambda a, v, s=share: s * a + (1 - s) * v,
            expected,
            jax.device_get(state.variables),
        )
    assert_trees_close(state.average, expected, rtol=1e-5, atol=1e-6)
    assert state.inference_variables is state.average
    bad = batch.replace(boxes=batch.boxes.at[0, 0].set(jnp.nan))
    before = jax.device_get(state.average)
    after, metrics = step(state, bad)
    assert metrics.skipped == 1
    assert_trees_close(after.average, before, rtol=0)


def test_draw_of_an_image_does_not_depend_on_the_devices():
    key = jax.random.key(3)
    whole = mask_priority(key, 8, 5)
    parts = jax.pmap(
        lambda _: mask_priority(key, 2, 5, axis_name="data"), axis_name="data"
    )(jnp.arange(4))
    np.testing.assert_array_equal(parts.reshape(8, 5), whole)
    assert len(np.unique(whole)) == whole.size
