"""Predictions for image files: pictures with masks drawn in, and one json."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from yolact_jax.data.images import MAX_PIXELS, list_images, read_image
from yolact_jax.inference.options import PredictOptions
from yolact_jax.results.draw import write_picture
from yolact_jax.results.folder import results_folder
from yolact_jax.results.instances import Instances
from yolact_jax.results.predictor import Predictor

_LOGGER = logging.getLogger(__name__)
_MIN_PICTURE_SIDE_PX = 480


def predict_files(
    predictor: Predictor,
    source: str | Path,
    output: str | Path,
    *,
    options: PredictOptions | None = None,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> list[str]:
    """Finds objects in an image file or in every image of a folder.

    Args:
      predictor: the model.
      source: an image file, or a folder of them.
      output: folder for the pictures and ``detections.json``; created if missing.
      options: which objects to find, and how far their masks reach.
      overwrite: replace the results of earlier calls in `output`, never other files;
        see `results_folder`.
      max_pixels: images that state more pixels are skipped.

    Returns:
      One sentence for every image that could not be read and was skipped.

    Raises:
      ValueError: if there is no image, an option is wrong, `output` has results or
        another file that would be replaced, or it cannot be written.
    """
    paths = list_images(source)
    problems: list[str] = []
    read: list[Path] = []

    def images() -> Iterator[np.ndarray]:
        for path in paths:
            try:
                image = read_image(path, max_pixels=max_pixels)
            except (ValueError, MemoryError) as error:
                problem = str(error) if str(error) else f"{path}: too little memory."
                _LOGGER.error("%s", problem)
                problems.append(problem)
                continue
            read.append(path)
            yield image

    categories = [
        {"id": int(i), "name": name}
        for i, name in zip(predictor.category_ids, predictor.class_names, strict=True)
    ]
    options = options or PredictOptions()
    found = predictor.stream(images(), **vars(options))  # Here for its checks.
    with results_folder(output, paths, categories, overwrite=overwrite) as results:
        for instances in found:
            path = read.pop(0)
            write_picture(results.pictures[path], _draw(instances))
            results.add(path, instances.packed.size, instances.to_coco())
            _LOGGER.info("%s: %d objects", path, len(instances))
    return problems


def _draw(instances: Instances) -> np.ndarray:
    longest = max(instances.packed.size)
    return instances.draw(scale=max(1.0, _MIN_PICTURE_SIDE_PX / longest))
