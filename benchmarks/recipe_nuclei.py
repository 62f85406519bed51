"""The recorded training recipe: a small YOLACT on nuclei, as the original trained it.

The record is a folder with `init.pth`, the weights to start from, and a README with the
curves of the original.  SGD without clipping at a rate that stands on the edge for this
network and data: whether a run survives says how steady a trainer is.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.models.arithmetic import uses_winograd
from yolact_jax.models.resnet import Bottleneck, ResNet
from yolact_jax.models.yolact import Yolact
from yolact_jax.structures import Batch
from yolact_jax.training.multihost.mesh import make_layout, to_devices
from yolact_jax.training.parts import optimizer_of
from yolact_jax.training.step import (
    TrainState,
    create_state,
    make_train_step,
    values_of,
)
from yolact_jax.weights.files import read_weights
from yolact_jax.weights.state_dict import load_state_dict

WINDOW = 100
"""Steps that a smoothed loss is averaged over."""
TERMS = ("box", "class", "mask", "semantic")
"""B, C, M and S of the record, in its order."""
_BLOCKS = (2, 2, 2, 2)


def make_config(data: Path, records: Path, seed: int) -> Config:
    """Writes the recipe as a config.

    Args:
      data: the nuclei in COCO format, see `configs/nuclei.py`.
      records: folder for prepared records.
      seed: of order and augmentation of the data.

    Returns:
      The config; its backbone is replaced by `make_model`.
    """
    folders = {
        f"data.{split}_{kind}": f"{data}/{place.format(name)}"
        for split, name in (("train", "train"), ("validation", "val"))
        for kind, place in (
            ("annotations", "annotations/instances_{}.json"),
            ("images", "{}"),
        )
    }
    return Config().replace(
        {
            **folders,
            "data.records_dir": str(records),
            "data.input_size": 256,
            "data.max_objects": 400,
            "model.backbone": "resnet50",
            "model.backbone_width": 32,
            "model.features": 64,
            "model.freeze_bn": "no",
            "anchors.scales_px": ((11.0,), (22.0,), (44.0,), (89.0,), (178.0,)),
            "optimizer.warmup_steps": 50,
            "optimizer.decay_steps": (250,),
            "train.num_steps": 300,
            "train.seed": seed,
        }
    )


def make_model(config: Config) -> Yolact:
    """Makes the network of the record: bottleneck blocks, two in each stage."""
    backbone = ResNet(
        _BLOCKS,
        Bottleneck,
        width=config.model.backbone_width,
        deformable_interval=0,
        winograd=uses_winograd(config),
    )
    return build.make_model(config, 1).clone(backbone=backbone)


def initial_state(config: Config, init_weights: Path) -> TrainState:
    """Loads the recorded weights into a state before the first step.

    Args:
      config: from `make_config`.
      init_weights: the state dict, in the original's keys.

    Returns:
      The state.
    """
    state = jax.eval_shape(
        lambda: create_state(
            make_model(config),
            optimizer_of(config),
            config.data.frame.size,
            key=jax.random.key(0),
        )
    )
    tensors = read_weights(init_weights)
    source = str(init_weights)
    variables, _ = load_state_dict(tensors, state.variables, source=source)
    opt_state = optimizer_of(config).init(variables["params"])
    return TrainState(np.int32(0), **variables, opt_state=opt_state)


class Step(NamedTuple):
    """One step of a run.

    Attributes:
      state: before the update, on the host.
      batch: of the step, on the host.
      values: its metrics, see `training.step.values_of`.
    """

    state: TrainState
    batch: Batch
    values: dict[str, float]


def steps(config: Config, init_weights: Path) -> Iterator[Step]:
    """Trains without an end, from the recorded weights.

    Args:
      config: from `make_config`, possibly changed.
      init_weights: the state dict to start from.
    """
    model, anchors = make_model(config), build.make_anchors(config)
    optimizer = optimizer_of(config)

    def run_step(key, state, batch):
        step = make_train_step(
            model,
            anchors,
            optimizer,
            config.loss,
            key=key,
            accumulate_steps=1,
            average_decay=0.0,
        )
        return step(state, batch)

    # With the key as an argument, all seeds share one compiled program.
    step = partial(jax.jit(run_step), jax.random.key(config.train.seed))
    layout = make_layout(jax.devices()[:1])
    state = initial_state(config, init_weights)
    source = build.make_dataset(config).source("train")
    with build.make_training_batches(config, source, 0) as batches:
        for batch in batches:
            batch = to_devices(batch, layout.sharded)
            new, metrics = step(state, batch)
            yield Step(state, jax.device_get(batch), values_of(metrics))
            state = jax.device_get(new)
