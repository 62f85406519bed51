"""From a config to everything a run needs: optimizer, step, state, data."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Sharding, SingleDeviceSharding

from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.data.records.dataset import Dataset
from yolact_jax.run import checkpoint
from yolact_jax.run.folder import Run, load_run
from yolact_jax.training.multihost import processes
from yolact_jax.training.multihost.mesh import Layout, make_layout
from yolact_jax.training.optimizer import (
    Schedule,
    make_cosine_schedule,
    make_optimizer,
    make_schedule,
    scale_steps,
    scale_to_batch,
)
from yolact_jax.training.step import TrainState, create_state, make_train_step
from yolact_jax.zoo.pretrained import initialize_from


@dataclasses.dataclass(frozen=True)
class Session:
    """Everything a run needs, except its state.

    Attributes:
      config: the whole config.
      workdir: folder of the run.
      dataset: training and validation data.
      num_steps: updates of the whole run.
      schedule: learning rate by step.
      step_fn: the compiled training step.
      initial_state: makes the state before the first step.
      layout: how state and batches lie on the devices of all processes.
    """

    config: Config
    workdir: Path
    dataset: Dataset
    num_steps: int
    schedule: Schedule
    step_fn: Callable
    initial_state: Callable[[], TrainState]
    layout: Layout


def make_session(config: Config, workdir: Path) -> Session:
    """Makes everything a run needs, except its state."""
    # One process prepares the records, if need be, and all read them.
    dataset = processes.first_process_first(lambda: build.make_dataset(config))
    layout = make_layout()
    schedule, num_steps = schedule_of(config)
    num_classes = len(dataset.class_names)
    init_key, step_key = jax.random.split(jax.random.key(config.train.seed))
    step_fn = train_step_fn(config, num_classes, step_key)
    initial_state = initial_state_fn(config, num_classes, init_key)

    return Session(
        config=config,
        workdir=workdir,
        dataset=dataset,
        num_steps=num_steps,
        schedule=schedule,
        step_fn=compile_lazily(step_fn, layout),
        initial_state=jax.jit(initial_state, out_shardings=layout.replicated),
        layout=layout,
    )


def schedule_of(config: Config) -> tuple[Schedule, int]:
    """Returns the learning-rate schedule of a config, and the steps of its run."""
    options, num_steps = config.optimizer, config.train.num_steps
    if options.scale_with_batch:
        options = scale_to_batch(options, config.train.batch_size)
        num_steps = scale_steps(num_steps, config.train.batch_size)
    if options.schedule == "cosine":
        return make_cosine_schedule(options, num_steps), num_steps
    return make_schedule(options), num_steps


def optimizer_of(config: Config) -> optax.GradientTransformation:
    """Makes the optimizer of a config."""
    return make_optimizer(
        schedule_of(config)[0],
        config.optimizer,
        freeze_bn=build.freezes_bn(config),
    )


def initial_state_fn(
    config: Config, num_classes: int, key: jax.Array
) -> Callable[[], TrainState]:
    """Returns a function that makes the state before the first step."""
    model = build.make_model(config, num_classes)
    optimizer = optimizer_of(config)
    size = config.data.input_size
    averaged = config.train.ema_decay > 0
    return lambda: create_state(model, optimizer, size, key=key, averaged=averaged)


def train_step_fn(
    config: Config, num_classes: int, key: jax.Array
) -> Callable[..., Any]:
    """Makes the training step of a config, see `make_train_step`."""
    return make_train_step(
        build.make_model(config, num_classes),
        build.make_anchors(config),
        optimizer_of(config),
        config.loss,
        key=key,
        accumulate_steps=config.train.accumulate_steps,
        average_decay=config.train.ema_decay,
    )


def compile_lazily(step_fn: Callable[..., Any], layout: Layout) -> Callable[..., Any]:
    """Jits a training step that overwrites the state it is given."""
    replicated = (layout.replicated, layout.replicated)
    return jax.jit(step_fn, out_shardings=replicated, donate_argnums=0)


def with_init_weights(config: Config, state: TrainState) -> TrainState:
    """Loads ``config.train.init_weights``, if any, into a new state.

    Raises:
      ValueError: if they cannot be found or do not fit.
    """
    if not config.train.init_weights:
        return state
    host = jax.device_get(state.variables)
    variables = initialize_from(host, config.train.init_weights)
    variables = jax.tree.map(
        lambda new, old: jax.device_put(new, old.sharding), variables, state.variables
    )
    # A copy of its own, as the step overwrites both.
    average = jax.tree.map(jnp.copy, variables) if state.average else None
    return dataclasses.replace(state, **variables, average=average)


def abstract_state(make_state: Callable[[], TrainState], sharding: Sharding) -> Any:
    """Returns the shapes of what `make_state` makes, for `checkpoint.restore`."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        jax.eval_shape(make_state),
    )


def load_state(
    workdir: str | Path, step: int | str | None = None
) -> tuple[Run, TrainState]:
    """Loads a run and one of its checkpoints, on the first device.

    Args:
      workdir: folder of the run.
      step: which checkpoint, see `choose_step`.

    Raises:
      ValueError: if the folder is not that of a run, or has no such checkpoint.
    """
    run = load_run(workdir)
    make_state = initial_state_fn(run.config, len(run.class_names), jax.random.key(0))
    like = abstract_state(make_state, SingleDeviceSharding(jax.devices()[0]))
    with checkpoint.open_for_reading(workdir) as manager:
        return run, checkpoint.restore(manager, like, step)
