"""The published schedule to the digit, and SGD as its recurrence."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from yolact_jax.config import Config, Optimizer
from yolact_jax.training import optimizer as lib
from yolact_jax.training.session import schedule_of

PUBLISHED = {
    0: 1e-4,
    250: 5.5e-4,
    500: 1e-3,
    279_999: 1e-3,
    280_000: 1e-4,
    600_000: 1e-5,
    700_000: 1e-6,
    750_000: 1e-7,
}


@pytest.mark.parametrize("step", PUBLISHED)
def test_default_schedule_is_the_published_one(step):
    np.testing.assert_allclose(
        lib.make_schedule(Optimizer())(step), PUBLISHED[step], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("batch_size", "rate", "steps", "num_steps"),
    [
        (16, 2e-3, (140_000, 300_000, 350_000, 375_000), 400_000),
        (4, 5e-4, (560_000, 1_200_000, 1_400_000, 1_500_000), 1_600_000),
        (5, 6.25e-4, (448_000, 960_000, 1_120_000, 1_200_000), 1_280_000),
    ],
)
def test_schedule_scales_with_the_batch(batch_size, rate, steps, num_steps):
    scaled = lib.scale_to_batch(Optimizer(), batch_size)
    assert scaled.learning_rate == pytest.approx(rate)
    assert scaled.decay_steps == steps
    assert scaled.warmup_rate == 1e-4
    assert scaled.warmup_steps == 500
    assert lib.scale_steps(800_000, batch_size) == num_steps


def test_schedule_without_warmup_starts_at_the_full_rate():
    schedule = lib.make_schedule(
        Optimizer(learning_rate=0.5, warmup_steps=0, decay_steps=())
    )
    assert schedule(0) == 0.5


def test_updates_follow_the_recurrence_of_sgd():
    options = Optimizer(
        learning_rate=0.1,
        warmup_steps=0,
        decay_steps=(2,),
        decay_factor=0.5,
        momentum=0.9,
        weight_decay=0.01,
    )
    schedule = lib.make_schedule(options)
    optimizer = lib.make_optimizer(schedule, options, freeze_bn=False)
    params = {"conv": {"kernel": jnp.array(2.0), "bias": jnp.array(-1.0)}}
    grads = {"conv": {"kernel": jnp.array(0.3), "bias": jnp.array(0.2)}}
    state = optimizer.init(params)
    expected = {"kernel": (2.0, 0.0), "bias": (-1.0, 0.0)}
    for rate in (0.1, 0.1, 0.05):
        updates, state = optimizer.update(grads, state, params)
        params = {"conv": {k: params["conv"][k] + updates["conv"][k] for k in expected}}
        for name, (value, velocity) in expected.items():
            gradient = float(grads["conv"][name]) + 0.01 * value
            velocity = 0.9 * velocity + gradient
            expected[name] = (value - rate * velocity, velocity)
    for name, (value, _) in expected.items():
        assert params["conv"][name] == pytest.approx(value, rel=1e-5)


def test_frozen_batch_norm_gets_no_update_not_even_weight_decay():
    schedule = lib.make_schedule(Optimizer())
    optimizer = lib.make_optimizer(schedule, Optimizer(), freeze_bn=True)
    params = {
        "bn": {"scale": jnp.ones(3), "bias": jnp.ones(3)},
        "conv": {"kernel": jnp.ones(3), "bias": jnp.ones(3)},
    }
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    assert not np.any(updates["bn"]["scale"])
    assert not np.any(updates["bn"]["bias"])
    assert np.all(updates["conv"]["kernel"] != 0)
    assert np.all(updates["conv"]["bias"] != 0)


def test_cosine_rises_linearly_then_falls_to_zero_at_the_end():
    options = Optimizer(learning_rate=0.4, warmup_rate=0.2, warmup_steps=10)
    schedule = lib.make_cosine_schedule(options, 110)
    rates = {0: 0.2, 5: 0.3, 10: 0.4, 110: 0.0, 500: 0.0}
    rates |= {
        step: 0.2 * (1 + math.cos(math.pi * (step - 10) / 100)) for step in (11, 60, 99)
    }
    for step, rate in rates.items():
        assert float(schedule(step)) == pytest.approx(rate, abs=1e-7)
    np.testing.assert_allclose(jax.jit(schedule)(jnp.int32(60)), schedule(60))


@pytest.mark.parametrize("num_steps", [1, 5])
def test_cosine_without_room_after_the_warm_up_stays_finite(num_steps):
    schedule = lib.make_cosine_schedule(Optimizer(warmup_steps=5), num_steps)
    assert np.all(np.isfinite([schedule(step) for step in range(8)]))


def test_config_chooses_the_schedule_and_scales_its_length():
    changes = {"optimizer.schedule": "cosine", "train.batch_size": 16}
    schedule, num_steps = schedule_of(Config().replace(changes))
    assert num_steps == 400_000
    assert float(schedule(200_250)) == pytest.approx(1e-3, rel=1e-3)
    assert float(schedule(400_000)) == 0


def test_updates_follow_the_recurrence_of_adamw():
    options = Optimizer(name="adamw", momentum=0.8, weight_decay=0.1)
    optimizer = lib.make_optimizer(lambda _: 0.01, options, freeze_bn=False)
    params = {"kernel": jnp.full((1, 1), 2.0), "bias": jnp.array([-1.0])}
    expected = {"kernel": [2.0, 0.0, 0.0], "bias": [-1.0, 0.0, 0.0]}
    state = optimizer.init(params)
    for t, gradient in enumerate((0.3, -0.2, 0.5), start=1):
        grads = jax.tree.map(lambda p, g=gradient: jnp.full_like(p, g), params)
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        for name, (value, mean, square) in expected.items():
            mean = 0.8 * mean + 0.2 * gradient
            square = 0.999 * square + 0.001 * gradient**2
            step = mean / (1 - 0.8**t) / (math.sqrt(square / (1 - 0.999**t)) + 1e-8)
            decay = 0.1 * value if name == "kernel" else 0.0
            expected[name] = [value - 0.01 * (step + decay), mean, square]
    for name, (value, *_) in expected.items():
        assert float(params[name].squeeze()) == pytest.approx(value, rel=1e-5)


def test_adamw_without_a_gradient_is_finite_and_the_same_under_jit():
    options = Optimizer(name="adamw", weight_decay=0.1)
    optimizer = lib.make_optimizer(lambda _: 0.01, options, freeze_bn=False)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    grads = jax.tree.map(jnp.zeros_like, params)
    arguments = grads, optimizer.init(params), params
    updates, state = optimizer.update(*arguments)
    np.testing.assert_allclose(updates["kernel"], -0.01 * 0.1, rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], 0)
    for leaf, jitted in zip(
        *map(
            jax.tree.leaves, ((updates, state), jax.jit(optimizer.update)(*arguments))
        ),
        strict=True,
    ):
        np.testing.assert_allclose(jitted, leaf, rtol=1e-6)


def test_clipping_limits_the_norm_of_the_gradient():
    options = Optimizer(momentum=0.0, weight_decay=0.0, clip_norm=1.0)
    optimizer = lib.make_optimizer(lambda _: 1.0, options, freeze_bn=False)
    params = {"kernel": jnp.zeros(2)}
    grads = {"kernel": jnp.array([3.0, 4.0])}
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    np.testing.assert_allclose(updates["kernel"], [-0.6, -0.8], rtol=1e-6)
