r"""Measures the COCO AP of a run or of weights, on the validation data of the config.

    yolact-jax evaluate --workdir runs/shapes
    yolact-jax evaluate --weights yolact_base
    yolact-jax evaluate --weights model.pth --config configs/custom.py
    yolact-jax evaluate --weights yolact_base --split test_dev \
        --annotations image_info_test-dev2017.json --images test2017

Writes bbox_detections.json and mask_detections.json in COCO result format, appends a
row to the run's metrics.jsonl, and prints that row as the last line.  With --workdir
the config is that of the run; --config.data.* and --config.eval.* change it, for
example to evaluate on other images.

The splits test and test_dev have no annotations: only the result files are written,
for the COCO server.  Their images are those that a json file lists, --annotations, or
those of the downloaded dataset of the config.
"""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from absl import flags

from yolact_jax import build
from yolact_jax.cli import Command, keep_compiled_programs
from yolact_jax.tools import unlabeled
from yolact_jax.tools.commands import model_flags
from yolact_jax.training.evaluate import evaluate_and_report
from yolact_jax.training.step import TrainState
from yolact_jax.weights.classes import require_same
from yolact_jax.zoo.load import Loaded, make_predictor, require_fit

_UNLABELED = ("test", "test_dev")


def define_flags(values: flags.FlagValues) -> None:
    """Defines the flags of the command."""
    model_flags.define(values)
    model_flags.define_nms(values)
    flags.DEFINE_enum(
        "split",
        "validation",
        ["validation", "train", *_UNLABELED],
        "Images.",
        flag_values=values,
    )
    for name, text in (
        ("annotations", "Json file that lists the images of test or test_dev."),
        ("images", "Folder of these images."),
    ):
        flags.DEFINE_string(name, None, text, flag_values=values)
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
    """Evaluates, and prints the row of metrics, or which result files it wrote."""
    _check_lists(values)
    keep_compiled_programs()
    model, variables, step = model_flags.load(values)
    require_fit(model, variables)
    folder = values.output or values.workdir or "out"
    Path(folder).mkdir(parents=True, exist_ok=True)  # Now, if it cannot be made.
    if values.split in _UNLABELED:
        _write_results(values, Loaded(model, variables, step), folder)
        return
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


def _check_lists(values: Any) -> None:
    given = [name for name in ("annotations", "images") if values[name].value]
    if given and values.split not in _UNLABELED:
        raise ValueError(
            f"--{given[0]} is for --split test and test_dev; --config.data has the "
            f"images of {values.split}."
        )
    if len(given) == 1:
        raise ValueError("--annotations and --images need each other.")


def _write_results(values: Any, loaded: Loaded, folder: str) -> None:
    config = loaded.run.config
    if values.annotations:
        images = unlabeled.listed_images(
            values.annotations,
            values.images,
            loaded.run.class_names,
            loaded.run.category_ids,
        )
    else:
        dataset = build.make_dataset(config, splits=())
        images = unlabeled.split_images(dataset, values.split)
    owner = values.weights or values.workdir
    require_same(loaded.run.class_names, images.class_names, owner, "the data")
    paths = unlabeled.write_server_results(
        make_predictor(loaded), images, folder, max_images=config.eval.max_images
    )
    print(f"written: {' and '.join(map(str, paths))}")


COMMAND = Command("evaluate", __doc__, define_flags, run, model_flags.find_config)
