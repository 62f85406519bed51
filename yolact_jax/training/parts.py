"""From a config to the parts of a run: schedule, optimizer, state and step."""

from collections.abc import Callable
from typing import Any

import jax
import optax
from jax.sharding import Sharding

from yolact_jax import build
from yolact_jax.config import Config, Optimizer, at_size, training_sizes
from yolact_jax.structures import Batch
from yolact_jax.training.multihost.mesh import Layout
from yolact_jax.training.optimizer import (
    Schedule,
    make_cosine_schedule,
    make_optimizer,
    make_schedule,
    scale_steps,
    scale_to_batch,
)
from yolact_jax.training.step import TrainState, create_state, make_train_step


def scaled_to_batch(config: Config) -> tuple[Optimizer, int]:
    """Returns the options of the optimizer, and the steps of the run, in updates."""
    options, num_steps = config.optimizer, config.train.num_steps
    if options.scale_with_batch:
        options = scale_to_batch(options, config.train.batch_size)
        num_steps = scale_steps(num_steps, config.train.batch_size)
    return options, num_steps


def schedule_of(config: Config) -> tuple[Schedule, int]:
    """Returns the learning-rate schedule of a config, and the steps of its run."""
    options, num_steps = scaled_to_batch(config)
    if options.schedule == "cosine":
        return make_cosine_schedule(options, num_steps), num_steps
    return make_schedule(options), num_steps


def optimizer_of(config: Config) -> optax.GradientTransformation:
    """Makes the optimizer of a config."""
    return make_optimizer(
        schedule_of(config)[0],
        config.optimizer,
        freeze_bn=build.freezes_bn(config),
        frozen=config.train.freeze,
    )


def initial_state_fn(
    config: Config, num_classes: int
) -> Callable[[jax.Array], TrainState]:
    """Returns a function of a random key that makes the state before the first step."""
    model = build.make_model(config, num_classes)
    optimizer = optimizer_of(config)
    size = config.data.frame.size
    averaged = config.train.ema_decay > 0
    return lambda key: create_state(model, optimizer, size, key=key, averaged=averaged)


def train_step_fn(config: Config, num_classes: int) -> Callable[..., Any]:
    """Makes the training step of a config, for batches of any of its input sizes.

    It is ``train_step(state, batch, key, **options)``, and otherwise the step of
    `make_train_step`; jitted, it compiles one program per size.  The random key of the
    run is an argument, so that runs of all seeds share their programs.
    """
    model = build.make_model(config, num_classes)
    sized = [at_size(config, side) for side in training_sizes(config)]
    anchors = {each.data.frame.size: build.make_anchors(each) for each in sized}
    optimizer = optimizer_of(config)

    def train_step(state: TrainState, batch: Batch, key: jax.Array, **options: Any):
        height, width = batch.images.shape[1:3]
        step = make_train_step(
            model,
            anchors[height, width],
            optimizer,
            config.loss,
            key=key,
            accumulate_steps=config.train.accumulate_steps,
            average_decay=config.train.ema_decay,
            frozen=config.train.freeze,
        )
        return step(state, batch, **options)

    return train_step


def compile_lazily(step_fn: Callable[..., Any], layout: Layout) -> jax.stages.Wrapped:
    """Jits a training step that overwrites the state it is given."""
    replicated = (layout.replicated, layout.replicated)
    return jax.jit(step_fn, out_shardings=replicated, donate_argnums=0)


def abstract_state(config: Config, num_classes: int, sharding: Sharding | None) -> Any:
    """Returns the shapes of the state of a run, for `checkpoint.restore`."""
    make_state = initial_state_fn(config, num_classes)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        jax.eval_shape(make_state, jax.random.key(0)),
    )
