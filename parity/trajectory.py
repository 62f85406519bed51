"""Five steps of SGD, taken by the training step of the package, against the record."""

import json
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from parity.manifest import Manifest
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

A few times the difference that the original shows between float32 and float64.  With
other weights it may show more: where both are on record, three times the difference
is allowed.
"""
_OTHER = (1e-4, 3e-4, 3e-2)  # of settings of other names
_CHAOS = 0.03  # from this difference on, nothing is compared
_WEIGHT_TOLERANCES = {"param_l2_after": 1e-3, "param_change_l2": 1e-2}
"""Relative; the change is a sum of gradients, and has their tolerance."""
_STEPS = 5


def check_trajectory(
    model: GoldenModel, golden: dict, truth: dict, manifest: Manifest
) -> list[Row]:
    """Compares the losses along each recorded run, and the weights after it.

    Args:
      model: with frozen batch normalization.
      golden: the recorded runs.
      truth: the loss golden of the same model, which has the ground truth.
      manifest: has the images.

    Returns:
      The rows.
    """
    batch = golden_batch(truth, "A", manifest)
    count = len(golden["images"])
    if list(truth["A/images"][:count]) != list(golden["images"]):
        raise ValueError("the trajectory and the loss golden have different images.")
    batch = jax.tree.map(lambda x: x[:count], batch)
    rows = []
    for key in golden:
        if key.endswith("/losses"):
            rows += _check_run(model, batch, golden, key.removesuffix("/losses"))
    return rows


def _check_run(model, batch, golden, setting) -> list[Row]:
    rule = json.loads(str(golden.get(f"{setting}/rule", "{}")))
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
    state = TrainState(
        jnp.zeros((), jnp.int32), params, variables["batch_stats"], opt_state
    )
    rows, tolerances = [], _tolerances(golden, setting)
    for index, tolerance in enumerate(tolerances):
        following, metrics = step(state, batch)
        rows.append(_check_losses(metrics.losses, golden, setting, index, tolerance))
        state = following if index < _STEPS else state
    if len(tolerances) > _STEPS:
        rows += _check_weights(variables, state, golden, setting)
    return rows


def _noises(golden, setting) -> np.ndarray:
    """Largest relative difference to float64 by steps done; nan if not on record."""
    recorded = np.asarray(golden[f"{setting}/losses"], np.float64)
    exact = golden.get(f"{setting}/losses__fp64", np.full_like(recorded, np.nan))
    return np.max(np.abs(recorded - exact) / np.abs(recorded), axis=1)


def _tolerances(golden, setting) -> Sequence[float]:
    """By steps done, up to where the run turns chaotic."""
    table, noises = TOLERANCES.get(setting, _OTHER), _noises(golden, setting)
    chaotic = np.flatnonzero(noises > _CHAOS)
    table = table[: chaotic[0] if len(chaotic) else len(noises)]
    return [float(np.fmax(t, 3 * n)) for t, n in zip(table, noises, strict=False)]


def _check_losses(losses, golden, setting, index, tolerance) -> Row:
    recorded = dict(
        zip(golden["loss_names"], golden[f"{setting}/losses"][index], strict=True)
    )
    errors = [
        abs(float(getattr(losses, TERMS.get(str(name), str(name)))) - value) / value
        for name, value in recorded.items()
    ]
    noise = float(_noises(golden, setting)[index])
    return Row(f"sgd {setting}: losses {index}", max(errors), tolerance, "rel", noise)


def _check_weights(before, state, golden, setting) -> list[Row]:
    old, new = (
        {torch_key(p): np.asarray(a, np.float64) for p, a in flatten_dict(v).items()}
        for v in ({"params": before["params"]}, {"params": state.params})
    )
    names = [str(name) for name in golden.get("param_names", ())]
    measured = {
        "param_l2_after": [np.linalg.norm(new[name]) for name in names],
        "param_change_l2": [np.linalg.norm(new[name] - old[name]) for name in names],
    }
    rows = []
    for kind, values in measured.items():
        if not names or f"{setting}/{kind}" not in golden:
            continue
        recorded = golden[f"{setting}/{kind}"]
        exact = golden.get(f"{setting}/{kind}__fp64", np.full(len(names), np.nan))
        scale = np.where(recorded > 0, recorded, 1.0)
        error = float(np.max(np.abs(values - recorded) / scale))
        noise = float(np.max(np.abs(recorded - exact) / scale))
        tolerance = float(np.fmax(_WEIGHT_TOLERANCES[kind], 3 * noise))
        rows.append(Row(f"sgd {setting}: {kind}", error, tolerance, "rel", noise))
    return rows
