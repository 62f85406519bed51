"""From a config to everything a run needs: optimizer, step, state, data."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding

from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.data.pixels import RGB
from yolact_jax.data.records.dataset import Dataset
from yolact_jax.run import checkpoint
from yolact_jax.run.folder import Run, load_run
from yolact_jax.run.variables import has_checkpoint
from yolact_jax.training import freezing, length
from yolact_jax.training.multihost import processes
from yolact_jax.training.multihost.mesh import Layout, make_layout
from yolact_jax.training.optimizer import Schedule
from yolact_jax.training.parts import (
    abstract_state,
    compile_lazily,
    initial_state_fn,
    schedule_of,
    train_step_fn,
)
from yolact_jax.training.step import TrainState
from yolact_jax.zoo.pretrained import abstract_variables, initialize_from

_LOGGER = logging.getLogger(__name__)


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

    def abstract_state(self) -> Any:
        """Returns the shapes of the state of the run, for `checkpoint.restore`."""
        num_classes = len(self.dataset.class_names)
        return abstract_state(self.config, num_classes, self.layout.replicated)


def make_session(config: Config, workdir: Path) -> Session:
    """Makes everything a run needs, except its state."""
    config = _with_pixels_of_run(config, workdir)
    # One process prepares the records, if need be, and all read them.
    dataset = processes.first_process_first(lambda: build.make_dataset(config))
    config = config.replace(dataset.pixels.fields())
    num_classes = len(dataset.class_names)
    source = dataset.source("train")
    chosen = build.training_images(config, source)
    num_empty = int((source.num_objects[chosen] == 0).sum())
    left_out = len(source) - len(chosen)
    if num_empty or left_out:
        _LOGGER.info(
            "Images without objects: %d are trained on, %d are left out.",
            num_empty,
            left_out,
        )
    config = length.resolve(config, len(chosen), num_classes, workdir)
    if config.train.multi_scale:
        _LOGGER.info(
            "Each step draws one of %d input sizes, %s pixels, and compiles it the "
            "first time.",
            len(config.train.multi_scale),
            ", ".join(map(str, config.train.multi_scale)),
        )
    starts_at_0 = not config.model.backbone.startswith("darknet")
    if starts_at_0 and build.freezes_bn(config) and not config.train.init_weights:
        _LOGGER.warning(
            "Batch normalization stays as it starts (config.model.freeze_bn, "
            "config.train.freeze), and config.train.init_weights is empty: branches "
            "of the backbone whose scale starts at 0 do not learn."
        )
    layout = make_layout()
    schedule, num_steps = schedule_of(config)
    init_key, step_key = _keys(config.train.seed, layout)
    step_fn = compile_lazily(train_step_fn(config, num_classes), layout)
    initial_state = jax.jit(
        initial_state_fn(config, num_classes), out_shardings=layout.replicated
    )
    if config.train.freeze:
        params = abstract_variables(config, num_classes)["params"]
        freeze_bn = build.freezes_bn(config)
        frozen = freezing.report(params, config.train.freeze, freeze_bn=freeze_bn)
        _LOGGER.info("%s", frozen)

    return Session(
        config=config,
        workdir=workdir,
        dataset=dataset,
        num_steps=num_steps,
        schedule=schedule,
        step_fn=functools.partial(step_fn, key=step_key),
        initial_state=functools.partial(initial_state, key=init_key),
        layout=layout,
    )


def _keys(seed: int, layout: Layout) -> tuple[jax.Array, jax.Array]:
    """Random keys of the first state and of the steps, on all devices."""
    split = jax.jit(
        lambda key: tuple(jax.random.split(key)), out_shardings=layout.replicated
    )
    return split(jax.random.key(seed))


def _with_pixels_of_run(config: Config, workdir: Path) -> Config:
    """Takes what the config leaves open from the run that it continues, if any.

    Raises:
      ValueError: if that measured its window by other percentiles, or not at all.
    """
    data = config.data
    changes = []
    if data.window_percentiles:
        changes += ["data.window_low", "data.window_high", "data.window_percentiles"]
    if data.channels != RGB.channels and not data.channel_mean:
        changes += ["data.channel_mean", "data.channel_std"]
    if not changes or not has_checkpoint(workdir):
        return config
    run = load_run(workdir)
    _check_percentiles(data.window_percentiles, run, workdir)
    old = run.config.flat()
    _LOGGER.info("%s keeps what it measured: %s.", workdir, ", ".join(changes))
    return config.replace({field: old[field] for field in changes})


def _check_percentiles(asked: tuple[float, ...], run: Run, workdir: Path) -> None:
    if run.window_percentiles is None and run.config.data.window_low:
        return  # It is measured, but from before this was recorded.
    measured_by = run.window_percentiles or ()
    if asked and asked != measured_by:
        raise ValueError(
            f"config.data.window_percentiles is {asked}; it must be {measured_by} as "
            f"in the run that {workdir} holds, or the workdir another."
        )


def with_init_weights(
    config: Config, state: TrainState, class_names: Sequence[str] = ()
) -> TrainState:
    """Loads ``config.train.init_weights``, if any, into a new state.

    `class_names` are those of the data, see `initialize_from`.

    Raises:
      ValueError: if they cannot be found or do not fit.
    """
    if not config.train.init_weights:
        return state
    host = jax.device_get(state.variables)
    variables = initialize_from(host, config.train.init_weights, class_names)
    variables = jax.tree.map(
        lambda new, old: jax.device_put(new, old.sharding), variables, state.variables
    )
    # A copy of its own, as the step overwrites both.
    average = jax.tree.map(jnp.copy, variables) if state.average else None
    return dataclasses.replace(state, **variables, average=average)


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
    one_device = SingleDeviceSharding(jax.devices()[0])
    like = abstract_state(run.config, len(run.class_names), one_device)
    with checkpoint.open_for_reading(workdir) as manager:
        return run, checkpoint.restore(manager, like, step)
