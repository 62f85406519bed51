"""The training step: one pure function that runs under jit, pmap and shard_map."""

import dataclasses
from collections.abc import Callable, Collection
from typing import Any, cast

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from yolact_jax.config import Loss, Size, sides_of
from yolact_jax.losses.yolact import Losses, yolact_losses
from yolact_jax.models.normalize import normalize_images
from yolact_jax.models.yolact import mask_iou_fn_of
from yolact_jax.structures import Array, Batch
from yolact_jax.training import freezing
from yolact_jax.training.accumulation import Part, accumulate, split
from yolact_jax.training.optimizer import update_average


@flax.struct.dataclass
class TrainState:
    """All that a run continues from.

    Attributes:
      step: int32 scalar, updates done.
      params: trained parameters.
      batch_stats: running statistics of batch normalization.
      opt_state: state of the optimizer.
      average: moving average of `variables`, or None.
    """

    step: jax.Array
    params: dict
    batch_stats: dict
    opt_state: optax.OptState
    average: dict | None = None

    @property
    def variables(self) -> dict:
        """The variables being trained, as `apply` takes them."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    @property
    def inference_variables(self) -> dict:
        """The variables to evaluate and predict with: the average, if there is one."""
        return self.variables if self.average is None else self.average


@flax.struct.dataclass
class StepMetrics:
    """What one step reports, float32 scalars.

    Attributes:
      losses: loss terms of the whole batch.
      grad_norm: global norm of the gradient.
      skipped: 1 if the update was left out because loss or gradient was not finite.
    """

    losses: Losses
    grad_norm: jax.Array
    skipped: jax.Array


def create_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    input_size: Size,
    *,
    key: jax.Array,
    averaged: bool = False,
) -> TrainState:
    """Initializes a model and its optimizer.

    Args:
      model: a `Yolact`.
      optimizer: from `make_optimizer`.
      input_size: height and width of the network input, pixels, or its side.
      key: random key.
      averaged: whether to keep a moving average of the variables.
    """
    channels = model.normalization.channels
    images = jnp.zeros((1, *sides_of(input_size), channels))
    variables = cast("dict[str, Any]", model.init(key, images, train=True))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(variables["params"]),
        average=jax.tree.map(jnp.copy, dict(variables)) if averaged else None,
    )


def make_train_step(
    model: nn.Module,
    anchors_cxcywh: Array,
    optimizer: optax.GradientTransformation,
    options: Loss,
    *,
    key: jax.Array,
    accumulate_steps: int,
    average_decay: float,
    frozen: Collection[str] = (),
) -> Callable[..., tuple[TrainState, StepMetrics]]:
    """Binds the constant parts of training to a pure step function.

    Args:
      model: a `Yolact`; under `pmap` its backbone needs the same `axis_name`.
      anchors_cxcywh: [A, 4] float32.
      optimizer: from `make_optimizer`.
      options: loss weights and limits.
      key: random key of the run; the step is folded into it.
      accumulate_steps: parts that a batch is computed in, see `accumulation`; they
        must divide the images of every device.
      average_decay: of the moving average, if the state has one.
      frozen: modules that `optimizer` leaves alone, whose gradients are then 0 and
        cost nothing.

    Returns:
      ``train_step(state, batch, *, axis_name=None) -> (state, metrics)``.
    """

    def train_step(
        state: TrainState, batch: Batch, *, axis_name: str | None = None
    ) -> tuple[TrainState, StepMetrics]:
        def part_gradients(batch_stats, part):
            def loss_fn(params):
                params = freezing.as_constants(params, frozen)
                variables = {"params": params, "batch_stats": batch_stats}
                losses, stats = _forward(
                    model, variables, part, anchors_cxcywh, options, axis_name
                )
                return losses.total, (losses, stats)

            grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
            (_, (losses, stats)), grads = grad_fn(state.params)
            return (losses, grads), stats

        step_key = jax.random.fold_in(key, state.step)
        shape = (len(batch.images), len(anchors_cxcywh))
        priority = mask_priority(step_key, *shape, axis_name=axis_name)
        if accumulate_steps == 1:
            whole = Part(batch, priority)
            sums, batch_stats = part_gradients(state.batch_stats, whole)
        else:
            parts = split(
                batch, priority, anchors_cxcywh, options, accumulate_steps, axis_name
            )
            sums, batch_stats = accumulate(part_gradients, state.batch_stats, parts)
        if axis_name is not None:
            sums = jax.lax.psum(sums, axis_name)
        losses, grads = sums
        return _update(optimizer, state, grads, batch_stats, losses, average_decay)

    return train_step


def mask_priority(
    key: jax.Array, num_images: int, num_anchors: int, *, axis_name: str | None = None
) -> jax.Array:
    """Draws [B, A] float32 in [0, 1): which masks to keep where there are too many.

    An image's draw depends only on its place in the whole batch, not on the number of
    devices; see `losses.yolact.yolact_losses`.
    """
    index = jnp.arange(num_images)
    if axis_name is not None:
        index = index + num_images * jax.lax.axis_index(axis_name)
    return jax.vmap(
        lambda i: jax.random.uniform(jax.random.fold_in(key, i), (num_anchors,))
    )(index)


def _forward(
    model: nn.Module, variables: dict, part: Part, anchors_cxcywh, options, axis_name
) -> tuple[Losses, dict]:
    """Computes the losses of some images, and the new running statistics."""
    predictions, updates = model.apply(
        variables,
        normalize_images(part.batch.images, model.normalization),
        train=True,
        mutable=["batch_stats"],
    )
    losses = yolact_losses(
        predictions,
        part.batch,
        anchors_cxcywh,
        priority=part.priority,
        options=options,
        axis_name=axis_name,
        mask_iou_fn=mask_iou_fn_of(model, variables),
        positive_share=part.positive_share,
        image_share=part.image_share,
    )
    return losses, cast("dict", updates)["batch_stats"]


def _update(
    optimizer,
    state: TrainState,
    grads,
    batch_stats,
    losses: Losses,
    average_decay: float,
) -> tuple[TrainState, StepMetrics]:
    """Applies a gradient, unless it or the loss is not finite.

    Skipped or not, the next learning rate is that of the next step.
    """
    grad_norm = optax.tree.norm(grads)
    finite = jnp.isfinite(losses.total) & jnp.isfinite(grad_norm)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    new = TrainState(
        step=state.step,
        params=cast("dict", optax.apply_updates(state.params, updates)),
        batch_stats=batch_stats,
        opt_state=opt_state,
    )
    if state.average is not None:
        average = update_average(
            state.average, new.variables, state.step, average_decay
        )
        new = dataclasses.replace(new, average=average)
    new = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, state)
    skipped = 1.0 - finite.astype(jnp.float32)
    step = state.step + 1
    opt_state = _with_schedule_at(step, new.opt_state)
    new = dataclasses.replace(new, step=step, opt_state=opt_state)
    return new, StepMetrics(losses, grad_norm, skipped)


def _with_schedule_at(step: jax.Array, opt_state: optax.OptState) -> optax.OptState:
    """Sets the counts that learning rates follow; those of Adam's averages stay."""

    def is_schedule(node) -> bool:
        return isinstance(node, optax.ScaleByScheduleState)

    return jax.tree.map(
        lambda node: node._replace(count=step) if is_schedule(node) else node,
        opt_state,
        is_leaf=is_schedule,
    )


def values_of(metrics: StepMetrics) -> dict[str, float]:
    """Names the metrics of one step, on the host, as in ``metrics.jsonl``."""
    losses = metrics.losses
    values = {
        "train/loss": losses.total,
        "train/box": losses.box,
        "train/class": losses.classification,
        "train/mask": losses.mask,
        "train/semantic": losses.semantic,
        "train/grad_norm": metrics.grad_norm,
        "train/skipped": metrics.skipped,
    }
    if losses.mask_iou is not None:
        values["train/mask_iou"] = losses.mask_iou
    return {name: float(value) for name, value in values.items()}
