"""Looks into one run of `divergence.py`, step by step, around its first spike.

    python benchmarks/diverging_run.py --golden DIR --data data/nuclei --seed 4

Trains until the mask loss rises above the limit of `divergence.py`, then prints, for
the steps before and at the spike: the loss terms; the object with the largest mask
loss, its image and size; the tensors whose gradient is largest beside their own norm;
and by how much loss and gradient differ from those of the same state and batch in
float64, which tells a cause in the arithmetic from one in the rule.
"""

import argparse
import collections
import csv
import pickle
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import float64
from benchmarks import recipe_nuclei as recipe
from benchmarks.divergence import SPIKE, VARIANTS
from benchmarks.timing import device_name
from yolact_jax import build
from yolact_jax.cli import start_logging
from yolact_jax.config import Config
from yolact_jax.losses.per_object import object_losses
from yolact_jax.models.normalize import normalize_images
from yolact_jax.structures import Batch
from yolact_jax.training.step import TrainState, make_train_step


def gradient_of(config: Config, state: TrainState, batch: Batch) -> tuple[float, dict]:
    """Loss and gradient of a batch, by the training step itself.

    Returns:
      The total loss, and the gradient of each tensor by its path.
    """
    keep = optax.GradientTransformation(
        init=lambda params: params,
        update=lambda grads, state, params: (
            jax.tree.map(jnp.zeros_like, grads),
            grads,
        ),
    )
    step = make_train_step(
        recipe.make_model(config),
        build.make_anchors(config),
        keep,
        config.loss,
        key=jax.random.key(config.train.seed),
        accumulate_steps=1,
        average_decay=0.0,
    )
    start = TrainState(state.step, state.params, state.batch_stats, state.params)
    after, metrics = jax.jit(step)(start, batch)
    flat = traverse_util.flatten_dict(jax.device_get(after.opt_state), sep="/")
    return float(metrics.losses.total), flat


def largest_gradients(grads: dict, params: dict, count: int = 3) -> str:
    """Names the tensors whose gradient is largest, relative to the tensor."""
    norms = {
        name: float(np.linalg.norm(grads[name]) / (np.linalg.norm(value) + 1e-12))
        for name, value in traverse_util.flatten_dict(params, sep="/").items()
        if np.linalg.norm(value) > 0
    }
    worst = sorted(norms, key=norms.__getitem__, reverse=True)[:count]
    return ", ".join(f"{name} {norms[name]:.2g}" for name in worst)


def make_object_losses(config: Config):
    """Returns a jitted function: variables and a batch to losses of all objects."""
    model, anchors = recipe.make_model(config), build.make_anchors(config)

    @jax.jit
    def losses_of(variables: dict, batch: Batch) -> tuple[Any, Any]:
        images = normalize_images(batch.images, model.normalization)
        predictions, _ = model.apply(
            variables, images, train=True, mutable=["batch_stats"]
        )
        of_image = partial(
            object_losses, anchors_cxcywh=jnp.asarray(anchors), options=config.loss
        )
        extremes = [
            jnp.abs(x).max() for x in (predictions.prototypes, predictions.coefficients)
        ]
        return jax.vmap(of_image)(predictions, batch), extremes

    return losses_of


def worst_object(mask_losses: np.ndarray, batch: Batch, size: int) -> dict[str, Any]:
    """Describes the object with the largest mask loss."""
    image, slot = np.unravel_index(np.argmax(mask_losses), mask_losses.shape)
    left, top, right, bottom = np.asarray(batch.boxes)[image, slot] * size
    cells = np.asarray(batch.masks)[image, slot].sum()
    return {
        "image": int(image),
        "object": int(slot),
        "width_px": round(float(right - left), 2),
        "height_px": round(float(bottom - top), 2),
        "mask_cells": int(cells),
        "mask_loss": round(float(mask_losses[image, slot]), 1),
        "median": round(float(np.median(mask_losses[np.asarray(batch.valid)])), 2),
    }


def in_float64(config: Config, state: TrainState, batch: Batch) -> tuple[float, dict]:
    """Computes `gradient_of` in a process whose arithmetic is float64."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "question"
        file.write_bytes(pickle.dumps((config, state, batch)))
        float64.call("benchmarks.diverging_run", "answer", file)
        return pickle.loads(file.read_bytes())


def answer(words: list[str]) -> None:
    """Replaces the question in the file named by its answer; see `in_float64`."""
    (file,) = words
    config, *arrays = pickle.loads(Path(file).read_bytes())
    double = jax.tree.map(
        lambda x: x.astype(np.float64) if x.dtype == np.float32 else x, arrays
    )
    Path(file).write_bytes(pickle.dumps(gradient_of(config, *double)))


def difference(single: dict, double: dict) -> tuple[float, str]:
    """Relative difference of two gradients: of all of it, and of the worst tensor."""
    errors = {n: np.linalg.norm(single[n] - double[n]) for n in single}
    norms = {n: np.linalg.norm(double[n]) for n in single}
    whole = np.hypot.reduce(list(errors.values())) / np.hypot.reduce(
        list(norms.values())
    )
    relative = {n: errors[n] / norms[n] for n in single if norms[n] > 0}
    worst = max(relative, key=relative.__getitem__)
    return float(whole), f"{worst} {relative[worst]:.1e}"


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--golden", type=Path, required=True, help="has init.pth")
    parser.add_argument("--data", type=Path, required=True, help="folder of nuclei")
    parser.add_argument("--records", type=Path, default=Path("data/records"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--variant", choices=VARIANTS, default="as published")
    parser.add_argument("--steps", type=int, default=150, help="give up after")
    parser.add_argument("--before", type=int, default=6, help="steps to look at")
    parser.add_argument(
        "--results", type=Path, default=Path(__file__).parent / "results"
    )
    return parser.parse_args()


def look(options: argparse.Namespace, config: Config) -> list[dict[str, Any]]:
    """Trains to the spike; returns a row for each of the steps before and at it."""
    kept = collections.deque(maxlen=options.before + 1)
    for index, step in enumerate(recipe.steps(config, options.golden / "init.pth")):
        kept.append(step)
        is_spike = index >= 5 and not step.values["train/mask"] < SPIKE
        if is_spike or index + 1 == options.steps:
            break
    losses_of = make_object_losses(config)
    rows = []
    for state, batch, values in kept:
        objects, extremes = jax.device_get(losses_of(state.variables, batch))
        loss, grads = gradient_of(config, state, batch)
        row = {"step": int(state.step)}
        row |= {n: round(values[f"train/{n}"], 3) for n in (*recipe.TERMS, "grad_norm")}
        row |= worst_object(objects.mask, batch, config.data.input_size)
        row |= {"prototype": float(extremes[0]), "coefficient": float(extremes[1])}
        row["largest_gradients"] = largest_gradients(grads, state.params)
        loss64, grads64 = in_float64(config, state, batch)
        row["loss_difference"] = abs(loss - loss64) / loss64
        row["gradient_difference"], row["worst_tensor"] = difference(grads, grads64)
        print(row, flush=True)
        rows.append(row)
    return rows


def main() -> None:
    """Looks, and writes what it saw as a CSV."""
    options = parse()
    start_logging()
    config = recipe.make_config(options.data, options.records, options.seed)
    config = config.replace(VARIANTS[options.variant])
    rows = look(options, config)
    file = options.results / f"diverging_run-{device_name()}-jax{jax.__version__}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[-1]))
        writer.writeheader()
        writer.writerows(rows)
    print(file)


if __name__ == "__main__":
    main()
