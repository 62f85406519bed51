"""Learning-rate schedule and optimizer: SGD with momentum, as published."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

BASE_BATCH_SIZE = 8
"""Batch size for which the published learning rate and steps are meant."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then a learning rate that falls in steps.

    Attributes:
      learning_rate: rate after the warm-up.
      warmup_rate: rate at step 0.
      warmup_steps: steps after which `learning_rate` is reached.
      decay_steps: steps at which the rate is multiplied by `decay_factor`.
      decay_factor: see `decay_steps`.
    """

    learning_rate: float = 1e-3
    warmup_rate: float = 1e-4
    warmup_steps: int = 500
    decay_steps: Sequence[int] = (280_000, 600_000, 700_000, 750_000)
    decay_factor: float = 0.1

    def __call__(self, step: jax.Array | int) -> jax.Array:
        """Returns the learning rate of the update at `step`, counted from 0."""
        step = jnp.asarray(step)
        progress = step / max(self.warmup_steps, 1)
        warm = self.warmup_rate + (self.learning_rate - self.warmup_rate) * progress
        passed = jnp.sum(step >= jnp.asarray(self.decay_steps, jnp.int32))
        decayed = self.learning_rate * self.decay_factor ** passed.astype(jnp.float32)
        warming = (step <= self.warmup_steps) & (passed == 0) & (self.warmup_steps > 0)
        return jnp.where(warming, warm, decayed)


def scale_to_batch(schedule: Schedule, batch_size: int) -> Schedule:
    """Scales a schedule meant for batches of 8 to another batch size.

    The rate grows and the steps shrink in proportion (Goyal et al. 2017); the
    warm-up stays as it is.

    Args:
      schedule: schedule for `BASE_BATCH_SIZE`.
      batch_size: images per update over all devices.

    Returns:
      The schedule for `batch_size`.
    """
    return dataclasses.replace(
        schedule,
        learning_rate=schedule.learning_rate * batch_size / BASE_BATCH_SIZE,
        decay_steps=tuple(scale_steps(s, batch_size) for s in schedule.decay_steps),
    )


def scale_steps(steps: int, batch_size: int) -> int:
    """Number of steps that see as many images as `steps` batches of 8."""
    return steps * BASE_BATCH_SIZE // batch_size


def make_optimizer(
    schedule: Schedule,
    *,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    clip_norm: float = 0.0,
    freeze_bn: bool = False,
) -> optax.GradientTransformation:
    """Builds SGD with momentum and weight decay on every trained parameter.

    Args:
      schedule: learning rate as a function of the step.
      momentum: share of the velocity kept at each step.
      weight_decay: added to the gradient as a multiple of the parameter; biases
        and batch normalisation included, as in the original.
      clip_norm: largest global norm of the gradient; 0 does not clip.
      freeze_bn: leave scale and bias of batch normalisation untouched.

    Returns:
      The optimizer.
    """
    sgd = optax.chain(
        optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity(),
        optax.add_decayed_weights(weight_decay),
        optax.sgd(schedule, momentum=momentum),
    )
    if not freeze_bn:
        return sgd
    transforms = {"train": sgd, "freeze": optax.set_to_zero()}
    return optax.multi_transform(transforms, label_frozen)


def label_frozen(params) -> dict:
    """Labels the parameters of batch normalisation 'freeze', all others 'train'."""

    def label(path, _) -> str:
        # Only batch normalisation has a parameter called `scale`, beside its `bias`.
        parent = params
        for entry in path[:-1]:
            parent = parent[entry.key]
        return "freeze" if "scale" in parent else "train"

    return jax.tree_util.tree_map_with_path(label, params)


def update_average(average: dict, variables: dict, step: jax.Array, decay: float):
    """Moves an average towards new variables: ``d * average + (1 - d) * variables``.

    In the beginning ``d = (1 + step) / (10 + step)``, until that exceeds `decay`, so
    that the average soon forgets the initial weights.

    Args:
      average: tree of float32 arrays.
      variables: the same structure.
      step: int32 scalar, updates before the one that made `variables`.
      decay: share of the old average in the new, in [0, 1).

    Returns:
      The new average.
    """
    step = step.astype(jnp.float32)
    share = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda a, v: share * a + (1 - share) * v, average, variables)
