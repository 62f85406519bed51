"""The training step: one pure function that runs under jit, pmap and shard_map."""

from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from yolact_jax.losses import Losses, LossOptions, yolact_losses
from yolact_jax.models.normalize import normalize_images
from yolact_jax.structures import Batch


@flax.struct.dataclass
class TrainState:
    """Everything a run needs to go on.

    Attributes:
      step: int32 scalar, updates done.
      params: trained parameters.
      batch_stats: running statistics of batch normalisation.
      opt_state: state of the optimizer.
    """

    step: jax.Array
    params: dict
    batch_stats: dict
    opt_state: optax.OptState

    @property
    def variables(self) -> dict:
        """The variables of the model, as `apply` takes them."""
        return {"params": self.params, "batch_stats": self.batch_stats}


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
    input_size: int,
    *,
    key: jax.Array,
) -> TrainState:
    """Initialises a model and its optimizer.

    Args:
      model: a `Yolact`.
      optimizer: from `make_optimizer`.
      input_size: side of the network input, pixels.
      key: random key.

    Returns:
      The state before the first step.
    """
    images = jnp.zeros((1, input_size, input_size, 3))
    variables = model.init(key, images, train=True)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(variables["params"]),
    )


def make_train_step(
    model: nn.Module,
    anchors_cxcywh: jax.Array,
    optimizer: optax.GradientTransformation,
    options: LossOptions,
    *,
    key: jax.Array,
) -> Callable[..., tuple[TrainState, StepMetrics]]:
    """Binds the constant parts of training to a pure step function.

    Args:
      model: a `Yolact`; under `pmap` its backbone needs the same `axis_name`.
      anchors_cxcywh: [A, 4] float32.
      optimizer: from `make_optimizer`.
      options: loss weights and limits.
      key: random key of the run; the step is folded into it.

    Returns:
      ``train_step(state, batch, *, axis_name=None) -> (state, metrics)``.
    """

    def train_step(
        state: TrainState, batch: Batch, *, axis_name: str | None = None
    ) -> tuple[TrainState, StepMetrics]:
        step_key = jax.random.fold_in(key, state.step)
        if axis_name is not None:
            device = jax.lax.axis_index(axis_name)
            step_key = jax.random.fold_in(step_key, device)

        def loss_fn(params):
            variables = {"params": params, "batch_stats": state.batch_stats}
            predictions, updates = model.apply(
                variables,
                normalize_images(batch.images, model.normalization),
                train=True,
                mutable=["batch_stats"],
            )
            losses = yolact_losses(
                predictions,
                batch,
                anchors_cxcywh,
                key=step_key,
                options=options,
                axis_name=axis_name,
                mask_iou_fn=mask_iou_fn_of(model, variables),
            )
            return losses.total, (losses, updates["batch_stats"])

        grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
        (_, (losses, batch_stats)), grads = grad_fn(state.params)
        if axis_name is not None:
            losses, grads = jax.lax.psum((losses, grads), axis_name)
        return _update(optimizer, state, grads, batch_stats, losses)

    return train_step


def mask_iou_fn_of(model: nn.Module, variables: dict) -> Callable | None:
    """Binds the mask scoring network of a model to its variables, if it has one."""
    if model.mask_iou_net is None:
        return None
    return lambda masks: model.apply(variables, masks, method="mask_ious")


def _update(
    optimizer, state: TrainState, grads, batch_stats, losses: Losses
) -> tuple[TrainState, StepMetrics]:
    """Applies a gradient, unless it or the loss is not finite."""
    grad_norm = optax.tree.norm(grads)
    finite = jnp.isfinite(losses.total) & jnp.isfinite(grad_norm)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    new = (params, batch_stats, opt_state)
    old = (state.params, state.batch_stats, state.opt_state)
    params, batch_stats, opt_state = jax.tree.map(
        lambda a, b: jnp.where(finite, a, b), new, old
    )
    state = TrainState(state.step + 1, params, batch_stats, opt_state)
    skipped = 1.0 - finite.astype(jnp.float32)
    return state, StepMetrics(losses, grad_norm, skipped)
