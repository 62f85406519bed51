r"""Finds objects in images, with a run or with published weights.

    yolact-jax predict --workdir runs/shapes --source photos/ --output out/
    yolact-jax predict --weights yolact_base --source photo.jpg --output out/ \
        --classes=person,dog --score_threshold=0.3,person=0.6 --mask_margin=0.1
    yolact-jax predict --weights model.onnx --source photos/ --output out/

Draws every image with its masks into the output folder, and writes all detections to
detections.json there, in COCO annotation format with scores.  Images that cannot be
read are skipped and named; the exit status is then 1.
"""

from typing import Any

from absl import flags

from yolact_jax.cli import Command, Ended, keep_compiled_programs
from yolact_jax.data.images import MAX_PIXELS
from yolact_jax.results.files import predict_files
from yolact_jax.tools.commands import model_flags, option_flags


def define_flags(values: flags.FlagValues) -> None:
    """Defines the flags of the command."""
    model_flags.define(values)
    model_flags.define_nms(values)
    option_flags.define(values)
    flags.DEFINE_string(
        "source", None, "An image, or a folder of images.", flag_values=values
    )
    flags.DEFINE_string("output", "out", "Folder for the results.", flag_values=values)
    flags.DEFINE_bool(
        "overwrite", False, "Replace results in the output.", flag_values=values
    )
    flags.DEFINE_integer(
        "max_pixels",
        MAX_PIXELS,
        "Skip larger images, height x width.",
        lower_bound=1,
        flag_values=values,
    )


def run(values: Any) -> None:
    """Predicts for all images of the source."""
    if values.source is None:
        raise ValueError("--source is missing: an image, or a folder of images.")
    keep_compiled_programs()
    predictor = model_flags.load_predictor(values)
    problems = predict_files(
        predictor,
        values.source,
        values.output,
        options=option_flags.options(values, predictor.class_names),
        overwrite=values.overwrite,
        max_pixels=values.max_pixels,
    )
    if problems:
        raise Ended(f"skipped {len(problems)} images: " + " ".join(problems))


COMMAND = Command("predict", __doc__, define_flags, run, model_flags.find_config)
