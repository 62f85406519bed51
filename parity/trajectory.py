"""Five steps of SGD, taken by the training step of the package, against the record."""

import json
from pathlib import Path

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from parity.models import GoldenModel
from parity.records import Row
from parity.training import TERMS, golden_batch
from yolact_jax import build
from yolact_jax.config import Optimizer
from yolact_jax.training.optimizer import make_optimizer, make_schedule
from yolact_jax.training.step import TrainState, make_train_step
from yolact_jax.weights.torch_names import torch_key

TOLERANCES = {
    "lr1e-4": (1e-4, 3e-4, 1e-3, 2e-3, 2e-3, 2e-3),
    "lr1e-3_small": (1e-4, 3e-4, 3e-4, 3e-4, 4e-3),
    "lr1e-3": (1e-4, 3e-4, 3e-2),
}
"""Relative, by setting and steps done; after that the run is chaotic.

A few times the difference that the original shows between float32 and float64.
"""
_WEIGHT_TOLERANCES = {"param_l2_after": 1e-3, "param_change_l2": 1e-2}
"""Relative; the change is a sum of gradients, and has their tolerance."""
_STEPS = 5


def check_trajectory(
    model: GoldenModel, golden: dict, truth: dict, folder: Path
) -> list[Row]:
    """Compares the losses along each recorded run, and the weights after it.

    Args:
      model: yolact_resnet50 with frozen batch normalisation.
      golden: the recorded runs.
      truth: the loss golden of the same model, which has the ground truth.
      folder: where the images are.

    Returns:
      The rows.
    """
    batch = golden_batch(truth, "A", folder)
    count = len(golden["images"])
    if list(truth["A/images"][:count]) != list(golden["images"]):
        raise ValueError("the trajectory and the loss golden have different images.")
    batch = jax.tree.map(lambda x: x[:count], batch)
    rows = []
    for setting in TOLERANCES:
        if f"{setting}/losses" in golden:
            rows += _check_run(model, batch, golden, setting)
    return rows


def _check_run(model, batch, golden, setting) -> list[Row]:
    rule = json.loads(str(golden[f"{setting}/rule"]))
    variables = model.variables(**rule)
    options = Optimizer(
        learning_rate=float(golden[f"{setting}/lr"]),
        warmup_steps=0,
        decay_steps=(),
        momentum=float(golden["momentum"]),
        weight_decay=float(golden["weight_decay"]),
    )
    optimizer = make_optimizer(make_schedule(options), options, freeze_bn=True)
    step = jax.jit(
        make_train_step(
            model.module,
            build.make_anchors(model.config),
            optimizer,
            model.config.loss,
            key=jax.random.key(0),
            accumulate_steps=1,
            average_decay=0.0,
        )
    )
    params = variables["params"]
    opt_state = optimizer.init(params)
    state = TrainState(np.int32(0), params, variables["batch_stats"], opt_state)
    rows, num_rows = [], len(TOLERANCES[setting])
    for index in range(min(num_rows, _STEPS + 1)):
        following, metrics = step(state, batch)
        rows.append(_check_losses(metrics.losses, golden, setting, index))
        state = following if index < _STEPS else state
    if num_rows > _STEPS:
        rows += _check_weights(variables, state, golden, setting)
    return rows


def _check_losses(losses, golden, setting, index) -> Row:
    recorded = dict(
        zip(golden["loss_names"], golden[f"{setting}/losses"][index], strict=True)
    )
    exact = golden[f"{setting}/losses__fp64"][index]
    values = list(recorded.values())
    noise = float(np.max(np.abs(np.array(values) - exact) / values))
    errors = [
        abs(float(getattr(losses, TERMS.get(str(name), name))) - value) / value
        for name, value in recorded.items()
    ]
    tolerance = TOLERANCES[setting][index]
    return Row(f"sgd {setting}: losses {index}", max(errors), tolerance, "rel", noise)


def _check_weights(before, state, golden, setting) -> list[Row]:
    old, new = (
        {torch_key(p): np.asarray(a, np.float64) for p, a in flatten_dict(v).items()}
        for v in ({"params": before["params"]}, {"params": state.params})
    )
    names = [str(name) for name in golden["param_names"]]
    measured = {
        "param_l2_after": [np.linalg.norm(new[name]) for name in names],
        "param_change_l2": [np.linalg.norm(new[name] - old[name]) for name in names],
    }
    rows = []
    for kind, values in measured.items():
        recorded = golden[f"{setting}/{kind}"]
        exact = golden[f"{setting}/{kind}__fp64"]
        scale = np.where(recorded > 0, recorded, 1.0)
        error = float(np.max(np.abs(values - recorded) / scale))
        noise = float(np.max(np.abs(recorded - exact) / scale))
        tolerance = max(_WEIGHT_TOLERANCES[kind], 3 * noise)
        rows.append(Row(f"sgd {setting}: {kind}", error, tolerance, "rel", noise))
    return rows
