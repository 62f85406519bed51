"""What a gradient that is not finite leaves alone, and what it does not concern."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from yolact_jax.config import Loss, Optimizer
from yolact_jax.losses.yolact import Losses
from yolact_jax.training import step as lib
from yolact_jax.training.optimizer import make_optimizer, make_schedule

NAN = float("nan")


@pytest.fixture
def toy_run(monkeypatch):
    """Trains w for the loss ``w x + sqrt(v)``, whose slope is x in w, infinite in v."""

    def forward(model, variables, part, *_):
        w, v = (variables["params"][name]["kernel"] for name in "wv")
        term = jnp.sum(w) * part.batch.images[0] + jnp.sum(jnp.sqrt(v))
        return Losses(term, *jnp.zeros(3)), variables["batch_stats"]

    monkeypatch.setattr(lib, "_forward", forward)

    def run(slopes, options, frozen=("v",)):
        """Returns how far each step moved w, the norms, and the last state."""
        schedule = make_schedule(options)
        optimizer = make_optimizer(schedule, options, freeze_bn=False, frozen=frozen)
        step = lib.make_train_step(
            None,
            np.zeros((1, 4), np.float32),
            optimizer,
            Loss(),
            key=jax.random.key(0),
            accumulate_steps=1,
            average_decay=0.0,
            frozen=frozen,
        )
        params = {name: {"kernel": jnp.zeros(1)} for name in "wv"}
        state = lib.TrainState(jnp.int32(0), params, {}, optimizer.init(params))
        moves, norms = [], []
        for slope in slopes:
            before = state.params["w"]["kernel"]
            batch = types.SimpleNamespace(images=jnp.full(1, slope))
            state, metrics = step(state, batch)
            moves.append(float((before - state.params["w"]["kernel"])[0]))
            norms.append(float(metrics.grad_norm))
        return moves, norms, state

    return run


def test_after_a_skipped_update_the_rate_is_that_of_the_step(toy_run):
    options = Optimizer(
        learning_rate=1.0,
        warmup_steps=0,
        decay_steps=(2, 4),
        momentum=0.0,
        weight_decay=0.0,
    )
    moves, _, _ = toy_run([NAN, 1.0, 1.0, NAN, 1.0, 1.0], options)
    np.testing.assert_allclose(moves, [0, 1, 0.1, 0, 0.01, 0.01], rtol=1e-4)


def test_skipped_updates_do_not_count_for_the_averages_of_adamw(toy_run):
    options = Optimizer(
        name="adamw",
        learning_rate=1.0,
        warmup_steps=0,
        decay_steps=(2,),
        weight_decay=0.0,
    )
    # Corrected for their start at 0, the averages of equal gradients g are g and g^2.
    moves, _, state = toy_run([NAN, 3.0, NAN, 3.0], options)
    np.testing.assert_allclose(moves, [0, 1, 0, 0.1], rtol=1e-4)
    assert optax.tree.get(state.opt_state, "mu")["w"]["kernel"] == pytest.approx(0.57)


def test_the_gradient_of_a_frozen_module_skips_nothing(toy_run):
    options = Optimizer(warmup_steps=0, momentum=0.0, weight_decay=0.0)
    moves, norms, state = toy_run([-2.0], options)
    assert norms == [2.0]
    assert moves == pytest.approx([-2e-3])
    assert state.params["v"]["kernel"] == 0
    moves, norms, _ = toy_run([-2.0], options, frozen=())
    assert (moves, norms) == ([0.0], [float("inf")])
