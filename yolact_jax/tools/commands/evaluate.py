"""Measures the COCO AP of a run or of weights, on the validation data of the config.

    yolact-jax evaluate --workdir runs/shapes
    yolact-jax evaluate --weights yolact_base
    yolact-jax evaluate --weights model.pth --config configs/custom.py
    yolact-jax evaluate --weights model.onnx

Writes bbox_detections.json and mask_detections.json in COCO result format, appends a
row to the run's metrics.jsonl, and prints that row as the last line.  With --workdir
the config is that of the run; --config.data.* and --config.eval.* change it, for
example to evaluate on other images.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from absl import flags

from yolact_jax import build
from yolact_jax.cli import Command, keep_compiled_programs
from yolact_jax.config import Config
from yolact_jax.results.predictor import Predictor
from yolact_jax.tools.commands import model_flags
from yolact_jax.training.evaluate import evaluate_and_report
from yolact_jax.training.step import TrainState
from yolact_jax.weights.classes import require_same
from yolact_jax.zoo.exported import is_exported
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
    config, class_names, model = _model(values)
    folder = values.output or values.workdir or "out"
    Path(folder).mkdir(parents=True, exist_ok=True)  # Now, if it cannot be made.
    dataset = build.make_dataset(config, splits=(values.split,))
    owner = values.weights or values.workdir
    require_same(class_names, dataset.class_names, owner, "the data")
    row = evaluate_and_report(
        config,
        dataset,
        model,
        values.workdir or values.output or "out",
        split=values.split,
        output=values.output,
    )
    print(json.dumps(row))


def _model(values: Any) -> tuple[Config, Sequence[str], TrainState | Predictor]:
    """Returns the config, the classes, and what to evaluate."""
    if values.weights is not None and is_exported(values.weights):
        config, predictor = model_flags.load_exported_file(values)
        return config, predictor.class_names, predictor
    run, variables, step = model_flags.load(values)
    require_fit(run, variables)
    state = TrainState(jnp.int32(step), **variables, opt_state=())
    return run.config, run.class_names, state


COMMAND = Command("evaluate", __doc__, define_flags, run, model_flags.find_config)
