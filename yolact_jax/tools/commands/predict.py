"""Finds objects in images, with a run or with published weights.

    yolact-jax predict --workdir runs/shapes --source photos/ --output out/
    yolact-jax predict --weights yolact_base --source photo.jpg --output out/

Draws every image with its masks into the output folder, and writes all detections to
detections.json there, in COCO annotation format with scores.  Images that cannot be
read are skipped and named; the exit status is then 1.

    yolact-jax predict --workdir runs/shapes --source photo.jpg --explore page.html

writes one page instead, in which one picks a detection, moves its coefficients and
watches the mask, and sees what NMS dropped.
"""

from pathlib import Path
from typing import Any

from absl import flags

from yolact_jax import build
from yolact_jax.cli import Command, Ended, keep_compiled_programs
from yolact_jax.data.images import MAX_PIXELS, read_image
from yolact_jax.results.explore.page import explorer_page
from yolact_jax.results.explore.suppressed import find_suppressed
from yolact_jax.results.files import predict_files
from yolact_jax.results.report.write import write_page
from yolact_jax.tools.commands import model_flags
from yolact_jax.zoo.load import Loaded, make_predictor, require_fit


def define_flags(values: flags.FlagValues) -> None:
    """Defines the flags of the command."""
    model_flags.define(values)
    model_flags.define_nms(values)
    flags.DEFINE_string(
        "source", None, "An image, or a folder of images.", flag_values=values
    )
    flags.DEFINE_string("output", "out", "Folder for the results.", flag_values=values)
    flags.DEFINE_float(
        "score_threshold",
        0.3,
        "Least score shown.",
        lower_bound=0,
        upper_bound=1,
        flag_values=values,
    )
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
    flags.DEFINE_string(
        "explore", None, "A page for one image instead.", flag_values=values
    )


def run(values: Any) -> None:
    """Predicts for all images of the source."""
    if values.source is None:
        raise ValueError("--source is missing: an image, or a folder of images.")
    keep_compiled_programs()
    if values.explore is not None:
        _explore(values)
        return
    problems = predict_files(
        make_predictor(Loaded(*model_flags.load(values))),
        values.source,
        values.output,
        score_threshold=values.score_threshold,
        overwrite=values.overwrite,
        max_pixels=values.max_pixels,
    )
    if problems:
        raise Ended(f"skipped {len(problems)} images: " + " ".join(problems))


def _explore(values: Any) -> None:
    """Writes the page of one image, and prints where."""
    page = Path(values.explore)
    if page.exists() and not values.overwrite:
        raise ValueError(f"--explore {page} exists; give another name or --overwrite.")
    if page.suffix not in (".html", ".htm"):
        raise ValueError(f"--explore {page} must end in .html.")
    image = read_image(values.source, max_pixels=values.max_pixels)
    model, variables, _ = model_flags.load(values)
    require_fit(model, variables)
    inspector = build.make_inspector(model.config, variables, len(model.class_names))
    detections, predictions = inspector(image)
    options, suppressed = model.config.eval, []
    if options.nms == "fast" and not options.class_agnostic:
        suppressed = find_suppressed(
            predictions,
            inspector.anchors_cxcywh,
            score_threshold=options.candidate_threshold,
            iou_threshold=options.iou_threshold,
            top_k=options.top_k,
        )
    content = explorer_page(
        image,
        detections,
        predictions,
        model.class_names,
        suppressed,
        score_threshold=values.score_threshold,
    )
    write_page(page, content)
    print(page)


COMMAND = Command("predict", __doc__, define_flags, run, model_flags.find_config)
