"""The page of ``yolact-jax predict --explore``."""

from pathlib import Path
from typing import Any

import numpy as np

from yolact_jax import build
from yolact_jax.config import Config
from yolact_jax.data.images import read_image
from yolact_jax.data.pixels import Pixels, shown
from yolact_jax.inference.inspector import Inspector
from yolact_jax.results.explore.page import explorer_page
from yolact_jax.results.explore.suppressed import Suppressed, find_suppressed
from yolact_jax.results.report.write import write_page
from yolact_jax.structures import Predictions
from yolact_jax.tools.commands import model_flags
from yolact_jax.zoo.load import require_fit

_USED = {"explore", "source", "overwrite", "max_pixels", "config"}
_USED |= {"workdir", "weights", "step", "class_names", "nms", "class_agnostic"}


def write_explorer(values: Any) -> Path:
    """Writes the page of one image.

    Args:
      values: the flags of the command.

    Returns:
      The path of the page.

    Raises:
      ValueError: if the page exists, there is not one image, or a flag has no effect.
    """
    page = Path(values.explore)
    _check(values, page)
    model, variables, _ = model_flags.load(values)
    image = read_image(
        values.source[0],
        max_pixels=values.max_pixels,
        pixels=Pixels.of(model.config.data),
    )
    require_fit(model, variables)
    inspector = build.make_inspector(model.config, variables, len(model.class_names))
    detections, predictions = inspector(image)
    content = explorer_page(
        shown(image),
        detections,
        predictions,
        model.class_names,
        _suppressed(predictions, inspector, model.config, image),
        score_threshold=model.config.eval.candidate_threshold,
        frame=model.config.data.frame,
    )
    write_page(page, content)
    return page


def _check(values: Any, page: Path) -> None:
    if page.suffix not in (".html", ".htm"):
        raise ValueError(f"--explore {page} must end in .html.")
    if page.exists() and not values.overwrite:
        raise ValueError(f"--explore {page} exists; give another name or --overwrite.")
    if len(values.source) != 1:
        raise ValueError(f"--explore shows one image; --source has {values.source}.")
    for name in values:
        is_field = name.startswith("config.")
        if values[name].present and name not in _USED and not is_field:
            raise ValueError(f"--{name} has no effect with --explore.")


def _suppressed(
    predictions: Predictions, inspector: Inspector, config: Config, image: np.ndarray
) -> list[Suppressed]:
    """What NMS dropped; known for Fast NMS of each class only."""
    options = config.eval
    if options.nms != "fast" or options.class_agnostic:
        return []
    return find_suppressed(
        predictions,
        inspector.anchors_cxcywh,
        score_threshold=options.candidate_threshold,
        iou_threshold=options.iou_threshold,
        top_k=options.top_k,
        share=config.data.frame.share(*image.shape[:2]),
    )
