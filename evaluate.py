"""Measures COCO AP of a run: ``python evaluate.py --workdir runs/shapes``.

Or of published weights, by name or file, on the validation data of a config:
``python evaluate.py --config configs/yolact_base.py --weights yolact_base``.

Writes ``bbox_detections.json`` and ``mask_detections.json`` in COCO result format,
appends a row to the run's ``metrics.jsonl``, and prints that row as the last line.
"""

import json
import sys

from absl import app, flags
from ml_collections import config_flags

from yolact_jax import build
from yolact_jax.cli import keep_compiled_programs, parse_flags, start_logging
from yolact_jax.config import from_config_dict
from yolact_jax.ops.nms.variants import NMS_VARIANTS
from yolact_jax.training.evaluate import evaluate_and_report
from yolact_jax.training.session import load_model

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_STEP = flags.DEFINE_string("step", None, "A step, latest or best. [latest]")
_CONFIG = config_flags.DEFINE_config_file("config", None, "Model of --weights.")
_WEIGHTS = flags.DEFINE_string("weights", None, "Published name or file, not a run.")
_NMS = flags.DEFINE_enum("nms", None, NMS_VARIANTS, "Default: that of the config.")
_AGNOSTIC = flags.DEFINE_bool("class_agnostic", None, "NMS across classes.")
_SPLIT = flags.DEFINE_enum("split", "validation", ["validation", "train"], "Images.")
_MAX_IMAGES = flags.DEFINE_integer("max_images", None, "How many images; 0: all.")
_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder for results; default: workdir, or out with --weights."
)


def evaluate() -> dict[str, float | None]:
    """Evaluates a checkpoint or published weights and returns the row of metrics."""
    config = _CONFIG.value and from_config_dict(_CONFIG.value)
    run, state = load_model(_WORKDIR.value, _STEP.value, config, _WEIGHTS.value)
    changes = {
        "eval.max_images": _MAX_IMAGES.value,
        "eval.nms": _NMS.value,
        "eval.class_agnostic": _AGNOSTIC.value,
    }
    config = run.config.replace(
        {name: value for name, value in changes.items() if value is not None}
    )
    dataset = build.make_dataset(config)
    if len(dataset.class_names) != len(run.class_names):
        raise ValueError(
            f"the data have {len(dataset.class_names)} classes and the model "
            f"{len(run.class_names)}; point config.data to data of the same classes."
        )
    workdir = _WORKDIR.value or _OUTPUT.value or "out"
    return evaluate_and_report(
        config, dataset, state, workdir, split=_SPLIT.value, output=_OUTPUT.value
    )


def main(argv: list[str]) -> None:
    """Parses flags and evaluates."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown argument {argv[1]}")
    start_logging()
    keep_compiled_programs()
    try:
        row = evaluate()
    except ValueError as error:
        sys.exit(f"evaluate.py: {error}")
    print(json.dumps(row))


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
