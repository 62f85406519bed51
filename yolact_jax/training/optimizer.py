"""Learning-rate schedule and optimizer: SGD with momentum, as published."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from yolact_jax.config import Optimizer
from yolact_jax.training import freezing

BASE_BATCH_SIZE = 8
"""Batch size for which the published learning rate and steps are meant."""


Schedule = Callable[[jax.typing.ArrayLike], jax.Array]
"""Learning rate of the update at a step, counted from 0."""


def make_schedule(options: Optimizer) -> Schedule:
    """Makes ``schedule(step)``: float32, a linear warm-up, then a rate in steps."""

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        step = jnp.asarray(step)
        progress = step / max(options.warmup_steps, 1)
        rise = options.learning_rate - options.warmup_rate
        warm = options.warmup_rate + rise * progress
        passed = jnp.sum(step >= jnp.asarray(options.decay_steps, jnp.int32))
        factor = options.decay_factor ** passed.astype(jnp.float32)
        has_warmup = options.warmup_steps > 0
        warming = (step <= options.warmup_steps) & (passed == 0) & has_warmup
        return jnp.where(warming, warm, options.learning_rate * factor)

    return schedule


def scale_to_batch(options: Optimizer, batch_size: int) -> Optimizer:
    """Scales a learning rate meant for batches of 8 to another batch size.

    The rate grows and the steps shrink in proportion (Goyal et al. 2017); the
    warm-up stays as it is.  `batch_size` counts images per update over all devices.
    """
    return dataclasses.replace(
        options,
        learning_rate=options.learning_rate * batch_size / BASE_BATCH_SIZE,
        decay_steps=tuple(scale_steps(s, batch_size) for s in options.decay_steps),
    )


def scale_steps(steps: int, batch_size: int) -> int:
    """Returns how many steps see as many images as `steps` batches of 8."""
    return steps * BASE_BATCH_SIZE // batch_size


def make_optimizer(
    schedule: Schedule,
    options: Optimizer,
    *,
    freeze_bn: bool,
    frozen: tuple[str, ...] = (),
) -> optax.GradientTransformation:
    """Builds SGD with momentum and weight decay on every trained parameter.

    Weight decay reaches biases and batch normalization too, as in the original.
    With `freeze_bn`, scale and bias of batch normalization stay as they are, and so do
    the modules that `frozen` names.
    """
    clip = options.clip_norm
    sgd = optax.chain(
        optax.clip_by_global_norm(clip) if clip else optax.identity(),
        optax.add_decayed_weights(options.weight_decay),
        optax.sgd(schedule, momentum=options.momentum),
    )
    if not freeze_bn and not frozen:
        return sgd
    return optax.multi_transform(
        {freezing.TRAIN: sgd, freezing.FREEZE: optax.set_to_zero()},
        functools.partial(freezing.labels, modules=frozen, freeze_bn=freeze_bn),
    )


def update_average(average: dict, variables: dict, step: jax.Array, decay: float):
    """Moves an average towards new variables: ``d * average + (1 - d) * variables``.

    At first ``d = (1 + step) / (10 + step)``, until that exceeds `decay`, so that the
    average soon forgets the initial weights.

    Args:
      average: tree of float32 arrays.
      variables: the same structure.
      step: int32 scalar, updates before the one that made `variables`.
      decay: share of the old average in the new, in [0, 1).
    """
    step = step.astype(jnp.float32)
    share = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda a, v: share * a + (1 - share) * v, average, variables)
