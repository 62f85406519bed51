"""Measures COCO AP of a run: ``python evaluate.py --workdir runs/shapes``.

Writes ``bbox_detections.json`` and ``mask_detections.json`` in COCO result format,
appends a row to the run's ``metrics.jsonl``, and prints that row as the last line.
"""

import json
import sys

from absl import app, flags

from yolact_jax import build
from yolact_jax.console import start_logging
from yolact_jax.training.report import evaluate_and_report
from yolact_jax.training.setup import load_state

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_STEP = flags.DEFINE_integer("step", None, "Checkpoint to evaluate; default: latest.")
_SPLIT = flags.DEFINE_enum("split", "validation", ["validation", "train"], "Images.")
_MAX_IMAGES = flags.DEFINE_integer("max_images", None, "How many images; 0: all.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for results; default: workdir.")


def evaluate(workdir: str) -> dict[str, float | None]:
    """Evaluates a checkpoint and returns the row of metrics."""
    run, state = load_state(workdir, _STEP.value)
    if _MAX_IMAGES.value is not None:
        run.config.eval.max_images = _MAX_IMAGES.value
    dataset = build.make_dataset(run.config)
    return evaluate_and_report(
        run.config, dataset, state, workdir, split=_SPLIT.value, output=_OUTPUT.value
    )


def main(argv: list[str]) -> None:
    """Parses flags and evaluates."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown argument {argv[1]}")
    start_logging()
    try:
        row = evaluate(_WORKDIR.value)
    except ValueError as error:
        sys.exit(f"evaluate.py: {error}")
    print(json.dumps(row))


if __name__ == "__main__":
    flags.mark_flag_as_required("workdir")
    app.run(main)
