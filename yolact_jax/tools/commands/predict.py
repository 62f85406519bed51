r"""Finds objects in images, with a run or with published weights.

    yolact-jax predict --workdir runs/shapes --source photos/ --output out/
    yolact-jax predict --weights yolact_base --source photo.jpg --output out/ \
        --classes=person,dog --score_threshold=0.3,person=0.6 --mask_margin=0.1
    yolact-jax predict --weights yolact_base --source clip.mp4 --track
    yolact-jax predict --weights model.onnx --source photos/ --output out/

Draws every image and video with its masks into the output folder, and writes all
detections to detections.json there, in COCO annotation format with scores, as they
come.  Images that cannot be read are skipped and named, videos end at the frame that
cannot be read; the exit status is then 1.

    yolact-jax predict --workdir runs/shapes --source photo.jpg --explore page.html

writes one page instead, in which one picks a detection, moves its coefficients and
watches the mask, and sees what NMS dropped.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from absl import flags

from yolact_jax.cli import Command, Ended
from yolact_jax.data.images import MAX_PIXELS
from yolact_jax.inference.options import PredictOptions
from yolact_jax.results.files import predict_files
from yolact_jax.results.tiles import MOST_OVERLAP
from yolact_jax.tools.commands import model_flags, option_flags
from yolact_jax.tools.commands.caches import keep_compiled_programs
from yolact_jax.tools.explore import write_explorer


def define_flags(values: flags.FlagValues) -> None:
    """Defines the flags of the command."""
    model_flags.define(values)
    model_flags.define_nms(values)
    option_flags.define(values)
    option_flags.define_take_away(values)
    flags.DEFINE_multi_string(
        "source",
        None,
        "Image, video, folder, pattern such as 'photos/*.jpg', number of a camera or "
        "address of a stream such as rtsp://...; may be given more than once.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "recursive", False, "Look into the folders of a folder.", flag_values=values
    )
    flags.DEFINE_bool(
        "track", False, "Follow objects through videos.", flag_values=values
    )
    flags.DEFINE_bool("show", False, "Show results in a window.", flag_values=values)
    flags.DEFINE_string("output", "out", "Folder for the results.", flag_values=values)
    flags.DEFINE_integer(
        "tile",
        None,
        "Search in tiles of this side, in pixels, instead of the picture as a whole.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_float(
        "overlap",
        None,
        "Share of a tile that its neighbor shows too. [0.2]",
        lower_bound=0,
        upper_bound=MOST_OVERLAP,
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
        raise ValueError("--source is missing: an image, a video, or a folder.")
    if values.tile is None and values.overlap is not None:
        raise ValueError("--overlap is for tiles; give --tile, their side in pixels.")
    take_away = option_flags.take_away(values)
    keep_compiled_programs()
    if values.explore is not None:
        print(write_explorer(values))
        return
    predictor = model_flags.load_predictor(values)
    problems = predict_files(
        predictor,
        values.source,
        values.output,
        options=_options(values, predictor.class_names),
        take_away=take_away,
        recursive=values.recursive,
        overwrite=values.overwrite,
        max_pixels=values.max_pixels,
        with_tracks=values.track,
        show=values.show,
    )
    if problems:
        count = f"{len(problems)} source{'s' * (len(problems) > 1)}"
        raise Ended(f"{count} could not be read: {' '.join(problems)}")


def _options(values: Any, class_names: Sequence[str]) -> PredictOptions:
    given = {"tile": values.tile, "overlap": values.overlap}
    given = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(option_flags.options(values, class_names), **given)


COMMAND = Command("predict", __doc__, define_flags, run, model_flags.find_config)
