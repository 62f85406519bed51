r"""Measures the COCO AP of a run or of weights, on the validation data of the config.

    yolact-jax evaluate --workdir runs/shapes
    yolact-jax evaluate --weights yolact_base
    yolact-jax evaluate --weights model.pth --config configs/custom.py
    yolact-jax evaluate --weights model.onnx
    yolact-jax evaluate --weights yolact_base --split test_dev \
        --annotations image_info_test-dev2017.json --images test2017

Writes bbox_detections.json and mask_detections.json in COCO result format, appends a
row to the run's metrics.jsonl, and prints that row as the last line.  With --workdir
the config is that of the run; --config.data.* and --config.eval.* change it, for
example to evaluate on other images.  Then, and with --nms or --max_images, the row has
eval_other/mask_AP instead of eval/mask_AP, so that curves show what is comparable.

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
from yolact_jax.cli import Command
from yolact_jax.config import Config
from yolact_jax.data.pixels import Pixels
from yolact_jax.results.predictor import Predictor
from yolact_jax.run.folder import Run, load_run
from yolact_jax.tools import unlabeled
from yolact_jax.tools.commands import model_flags
from yolact_jax.tools.commands.caches import keep_compiled_programs
from yolact_jax.training.evaluate import evaluate_and_report
from yolact_jax.training.step import TrainState
from yolact_jax.weights.classes import require_same
from yolact_jax.zoo.exported import is_exported
from yolact_jax.zoo.load import require_fit

_UNLABELED = ("test", "test_dev")
# Fields on which no AP depends, of those that flags can change.
_SAME_AP = {
    *("data.records_dir", "data.allow_outside_paths", "data.cache", "data.num_workers"),
    *("data.max_objects", "data.negatives", "data.mask_target"),
    *("eval.batch_size", "eval.sample_images", "eval.evaluator"),
    *("eval.report", "eval.error_images"),
}


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
    trained, model = _model(values)
    folder = values.output or values.workdir or "out"
    Path(folder).mkdir(parents=True, exist_ok=True)  # Now, if it cannot be made.
    if values.split in _UNLABELED:
        _write_results(values, trained, model, folder)
        return
    dataset = build.make_dataset(trained.config, splits=(values.split,))
    _require_classes_of(dataset, values, trained)
    row = evaluate_and_report(
        trained.config,
        dataset,
        model,
        values.workdir or values.output or "out",
        split=values.split,
        output=values.output,
        comparable=_is_as_in_training(values, trained.config),
    )
    print(json.dumps(row))


def _is_as_in_training(values: Any, config: Config) -> bool:
    """Whether flags change nothing on which the AP of a run depends."""
    if values.workdir is None:
        return True
    before, now = load_run(values.workdir).config.flat(), config.flat()
    changed = {name for name, value in now.items() if value != before[name]}
    other = "train" if values.split == "validation" else "validation"
    same = {*_SAME_AP, f"data.{other}_annotations", f"data.{other}_images"}
    return changed <= same


def _require_classes_of(data: Any, values: Any, trained: Run) -> None:
    owner = values.weights or values.workdir
    require_same(trained.class_names, data.class_names, owner, "the data")


def _check_lists(values: Any) -> None:
    given = [name for name in ("annotations", "images") if values[name].value]
    if given and values.split not in _UNLABELED:
        raise ValueError(
            f"--{given[0]} is for --split test and test_dev; --config.data has the "
            f"images of {values.split}."
        )
    if len(given) == 1:
        raise ValueError("--annotations and --images need each other.")


def _write_results(
    values: Any, trained: Run, model: TrainState | Predictor, folder: str
) -> None:
    config, names, ids = trained.config, trained.class_names, trained.category_ids
    if values.annotations:
        lists = values.annotations, values.images
        pixels = Pixels.of(config.data)
        images = unlabeled.listed_images(*lists, names, ids, pixels)
    else:
        dataset = build.make_dataset(config, splits=())
        images = unlabeled.split_images(dataset, values.split)
    _require_classes_of(images, values, trained)
    if isinstance(model, TrainState):
        model = build.make_predictor(config, model.inference_variables, names)
    paths = unlabeled.write_server_results(
        model, images, folder, max_images=config.eval.max_images
    )
    print(f"written: {' and '.join(map(str, paths))}")


def _model(values: Any) -> tuple[Run, TrainState | Predictor]:
    """Returns the config and the classes, and what to evaluate."""
    if values.weights is not None and is_exported(values.weights):
        config, predictor = model_flags.load_exported_file(values)
        return Run(config, predictor.class_names, predictor.category_ids), predictor
    run, variables, step = model_flags.load(values)
    require_fit(run, variables)
    return run, TrainState(jnp.int32(step), **variables, opt_state=())


COMMAND = Command("evaluate", __doc__, define_flags, run, model_flags.find_config)
