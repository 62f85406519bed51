"""Learning-rate schedules and optimizers: SGD with momentum, as published, or AdamW."""

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


def make_cosine_schedule(options: Optimizer, num_steps: int) -> Schedule:
    """Makes ``schedule(step)``: float32, a linear warm-up, then half a cosine to 0.

    After the warm-up of w steps, of s steps in all, the rate is
    ``r (1 + cos(pi (step - w) / (s - w))) / 2`` (Loshchilov & Hutter 2017, equation 5,
    without restarts), and 0 from s on.
    """
    warmup = options.warmup_steps

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        step = jnp.asarray(step, jnp.float32)
        rise = options.learning_rate - options.warmup_rate
        warm = options.warmup_rate + rise * step / max(warmup, 1)
        progress = jnp.clip((step - warmup) / max(num_steps - warmup, 1), 0.0, 1.0)
        rate = options.learning_rate * (1.0 + jnp.cos(jnp.pi * progress)) / 2
        return jnp.where(step < warmup, warm, rate)

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
    """Builds the optimizer of the trained parameters.

    SGD with momentum decays every parameter, biases and batch normalization too, as in
    the original.  AdamW (Loshchilov & Hutter 2019, algorithm 2) decays kernels only:
    ``p <- p - rate (m / (sqrt(v) + 1e-8) + decay p)`` with the moving averages m of the
    gradient and v of its square, both corrected for their start at 0.  With
    `freeze_bn`, scale and bias of batch normalization stay as they are, and so do the
    modules that `frozen` names.
    """
    clip = options.clip_norm
    trained = optax.chain(
        optax.clip_by_global_norm(clip) if clip else optax.identity(),
        *(_adamw if options.name == "adamw" else _sgd)(schedule, options),
    )
    if not freeze_bn and not frozen:
        return trained
    return optax.multi_transform(
        {freezing.TRAIN: trained, freezing.FREEZE: optax.set_to_zero()},
        functools.partial(freezing.labels, modules=frozen, freeze_bn=freeze_bn),
    )


def _sgd(schedule: Schedule, options: Optimizer):
    yield optax.add_decayed_weights(options.weight_decay)
    yield optax.sgd(schedule, momentum=options.momentum)


def _adamw(schedule: Schedule, options: Optimizer):
    yield optax.adamw(
        schedule,
        b1=options.momentum,
        weight_decay=options.weight_decay,
        mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params),
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
