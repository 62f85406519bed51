"""Real configs with made-up inputs, for the benchmarks of whole models."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.structures import Batch
from yolact_jax.tools.flops import count_flops
from yolact_jax.training import parts
from yolact_jax.training.step import TrainState, make_train_step
from yolact_jax.zoo.specs import spec

NUM_CLASSES = 80


def load_config(name: str, **model: str) -> Config:
    """Returns the config of a name, with fields of its model section replaced."""
    return spec(name).replace({f"model.{k}": value for k, value in model.items()})


def forward_gflops(config: Config, batch_size: int) -> float:
    """Operations of the plain network on a batch, as XLA counts them, in 10^9."""
    config = config.replace(
        {
            "model.winograd": "no",
        }
    )
    model = build.make_model(config, NUM_CLASSES)
    shape = (batch_size, *config.data.frame.size, 3)
    images = jax.ShapeDtypeStruct(shape, jnp.float32)
    init = functools.partial(model.init, train=True)
    variables = jax.eval_shape(init, jax.random.key(0), images)
    apply = functools.partial(model.apply, train=False)
    return count_flops(apply, variables, images) / 1e9


def fake_batch(config: Config, batch_size: int, *, objects: int = 8) -> Batch:
    """Random pixels with rectangular objects, as many as COCO has on average.

    Args:
      config: gives the sizes.
      batch_size: B.
      objects: slots in use.

    Returns:
      The batch.
    """
    rng = np.random.default_rng(0)
    frame, max_objects = config.data.frame, config.data.max_objects
    mask_size = build.prototype_size(config)
    slots = (batch_size, max_objects)
    boxes = np.zeros((*slots, 4), np.float32)
    centers = rng.uniform(0.2, 0.8, (batch_size, objects, 2))
    halves = rng.uniform(0.03, 0.2, (batch_size, objects, 2))
    boxes[:, :objects] = np.concatenate([centers - halves, centers + halves], -1)
    y, x = ((np.arange(side) + 0.5) / side for side in mask_size)
    columns = (x >= boxes[..., 0:1]) & (x < boxes[..., 2:3])
    rows = (y >= boxes[..., 1:2]) & (y < boxes[..., 3:4])
    valid = np.arange(max_objects) < objects
    shape = (batch_size, *frame.size, 3)
    return Batch(
        images=rng.integers(0, 256, shape, np.uint8),
        boxes=boxes,
        labels=rng.integers(0, NUM_CLASSES, slots, np.int32),
        masks=(rows[..., None] & columns[..., None, :]).astype(np.uint8),
        valid=np.broadcast_to(valid, slots),
        crowd=np.zeros(slots, bool),
    )


def training_step(config: Config) -> tuple[Any, TrainState, Batch]:
    """Returns the jitted step of a config, which donates its state, and its arguments.

    The state is that of random weights, the batch a `fake_batch` of
    ``config.train.batch_size`` images.
    """
    key = jax.random.key(0)
    state = jax.jit(parts.initial_state_fn(config, NUM_CLASSES))(key)
    step = make_train_step(
        build.make_model(config, NUM_CLASSES),
        build.make_anchors(config),
        parts.optimizer_of(config),
        config.loss,
        key=key,
        accumulate_steps=1,
        average_decay=0.0,
    )
    batch = jax.device_put(fake_batch(config, config.train.batch_size))
    return jax.jit(step, donate_argnums=0), state, batch
