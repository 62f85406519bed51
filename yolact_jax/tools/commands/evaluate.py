"""Measures the COCO AP of a run or of weights, on the validation data of the config.

    yolact-jax evaluate --workdir runs/shapes
    yolact-jax evaluate --weights yolact_base
    yolact-jax evaluate --weights model.pth --config configs/custom.py

Writes bbox_detections.json and mask_detections.json in COCO result format, appends a
row to the run's metrics.jsonl, and prints that row as the last line.  With --workdir
the config is that of the run; --config.data.* and --config.eval.* change it, for
example to evaluate on other images.
"""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from absl import flags

from yolact_jax import build
from yolact_jax.cli import Command, keep_compiled_programs
from yolact_jax.tools.commands import model_flags
from yolact_jax.training.evaluate import evaluate_and_report
from yolact_jax.training.step import TrainState
from yolact_jax.weights.classes import require_same
from yolact_jax.zoo.load import require_fit


def define_flags(values: flags.FlagValues) -> None:
    """Defines the flags of the command."""
    model_flags.define(values)
    model_flags.define_nms(values)
    flags.DEFINE_enum(
        "split", "validation", ["validation", "train"], "Images.", flag_values=values
    )
    flags.DEFINE_integer(
        "max_images", None, "How many images; 0: all.", flag_values=values
    )
    flags.DEFINE_string(
        "output",
        None,
        "Folder for results; default: workdir, or out with --weights.",
        flag_values=values,
    )


def run(values: Any) -> None:
    """Evaluates, and prints the row of metrics."""
    keep_compiled_programs()
    model, variables, step = model_flags.load(values)
    require_fit(model, variables)
    folder = values.output or values.workdir or "out"
    Path(folder).mkdir(parents=True, exist_ok=True)  # Now, if it cannot be made.
    dataset = build.make_dataset(model.config, splits=(values.split,))
    owner = values.weights or values.workdir
    require_same(model.class_names, dataset.class_names, owner, "the data")
    row = evaluate_and_report(
        model.config,
        dataset,
        TrainState(jnp.int32(step), **variables, opt_state=()),
        values.workdir or values.output or "out",
        split=values.split,
        output=values.output,
    )
    print(json.dumps(row))


COMMAND = Command("evaluate", __doc__, define_flags, run, model_flags.find_config)
