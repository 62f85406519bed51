"""Finds objects in images: ``python predict.py --workdir runs/shapes --source image``.

Or with published weights, by name or file: ``python predict.py --weights yolact_base
--config configs/yolact_base.py --source image``.

Draws every image with its masks into the output folder, and writes all detections to
``detections.json`` there, in COCO annotation format with scores.
"""

import sys

from absl import app, flags
from ml_collections import config_flags

from yolact_jax import build
from yolact_jax.cli import keep_compiled_programs, parse_flags, start_logging
from yolact_jax.config import from_config_dict
from yolact_jax.ops.nms.variants import NMS_VARIANTS
from yolact_jax.results.files import predict_files
from yolact_jax.training.session import load_model

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_SOURCE = flags.DEFINE_string("source", None, "An image, or a folder of images.")
_CONFIG = config_flags.DEFINE_config_file("config", None, "Model of --weights.")
_WEIGHTS = flags.DEFINE_string("weights", None, "Published name or file, not a run.")
_NMS = flags.DEFINE_enum("nms", None, NMS_VARIANTS, "Default: that of the config.")
_AGNOSTIC = flags.DEFINE_bool("class_agnostic", None, "NMS across classes.")
_OUTPUT = flags.DEFINE_string("output", "out", "Folder for the results.")
_STEP = flags.DEFINE_string("step", None, "A step, latest or best. [latest]")
_SCORE = flags.DEFINE_float(
    "score_threshold", 0.3, "Least score shown.", lower_bound=0, upper_bound=1
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace results in the output.")


def main(argv: list[str]) -> None:
    """Parses flags and predicts."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown argument {argv[1]}")
    start_logging()
    keep_compiled_programs()
    try:
        config = _CONFIG.value and from_config_dict(_CONFIG.value)
        run, state = load_model(_WORKDIR.value, _STEP.value, config, _WEIGHTS.value)
        changes = {"eval.nms": _NMS.value, "eval.class_agnostic": _AGNOSTIC.value}
        config = run.config.replace(
            {name: value for name, value in changes.items() if value is not None}
        )
        problems = predict_files(
            build.make_predictor(config, state.inference_variables, run.class_names),
            _SOURCE.value,
            _OUTPUT.value,
            category_ids=run.category_ids,
            score_threshold=_SCORE.value,
            overwrite=_OVERWRITE.value,
        )
    except ValueError as error:
        sys.exit(f"predict.py: {error}")
    if problems:
        sys.exit(f"predict.py: skipped {len(problems)} images: " + " ".join(problems))


if __name__ == "__main__":
    flags.mark_flag_as_required("source")
    app.run(main, flags_parser=parse_flags)
