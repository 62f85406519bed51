"""Predictions for image files: pictures with masks drawn in, and one json."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.images import (
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    decode_image,
    image_files,
    read_file,
)
from yolact_jax.inference.predictor import Predictor
from yolact_jax.results.coco_entries import coco_results
from yolact_jax.results.draw import draw_instances, write_png
from yolact_jax.results.folder import results_folder
from yolact_jax.structures import Instances

_LOGGER = logging.getLogger(__name__)
_MIN_PICTURE_SIDE_PX = 480


def predict_files(
    predictor: Predictor,
    source: str | Path,
    output: str | Path,
    *,
    category_ids: Sequence[int],
    score_threshold: float = 0.3,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> list[str]:
    """Finds objects in an image file or in every image of a folder.

    Args:
      predictor: the model.
      source: an image file, or a folder of them.
      output: folder for the pictures and ``detections.json``; made if missing.
      category_ids: dataset category id of each label, for the json.
      score_threshold: least score of a detection in pictures and json.
      overwrite: replace the results of earlier calls in `output`; see
        `results_folder`, which says what is written when, and never other files.
      max_pixels: images whose files say that they have more are skipped.

    Returns:
      One sentence for every image that could not be read and was skipped.

    Raises:
      ValueError: if there is no image, `output` has results or another file that
        would be replaced, or it cannot be written.
    """
    paths = list_images(source)
    problems: list[str] = []
    read: list[tuple[Path, np.ndarray]] = []

    def images() -> Iterator[np.ndarray]:
        for path in paths:
            try:
                image = decode_image(
                    read_file(path), name=str(path), max_pixels=max_pixels
                )
            except (DatasetError, MemoryError) as error:
                problem = str(error) if str(error) else f"{path}: too little memory."
                _LOGGER.error("%s", problem)
                problems.append(problem)
                continue
            read.append((path, image))
            yield image

    categories = [
        {"id": int(i), "name": name}
        for i, name in zip(category_ids, predictor.class_names, strict=True)
    ]
    with results_folder(output, paths, categories, overwrite=overwrite) as results:
        for instances in predictor.stream(images()):
            path, image = read.pop(0)
            instances = _above(instances, score_threshold)
            write_png(results.pictures[path], _draw(image, instances, predictor))
            annotations = _annotations(instances, category_ids)
            results.add(path, image.shape[:2], annotations)
            _LOGGER.info("%s: %d objects", path, len(instances))
    return problems


def list_images(source: str | Path) -> list[Path]:
    """Lists an image file, or the images of a folder in order of name.

    Raises:
      ValueError: if the path does not exist, or the folder has no image.
    """
    source = Path(source)
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise ValueError(
            f"`source` {source} is no image file or folder, or does not exist."
        )
    paths = image_files(source)
    if not paths:
        raise ValueError(
            f"`source` {source} has no image; looked for {', '.join(IMAGE_SUFFIXES)}."
        )
    return paths


def _above(instances: Instances, score_threshold: float) -> Instances:
    instances = instances.ranked_by_mask()
    return instances.take(instances.scores >= score_threshold)


def _draw(image: np.ndarray, instances: Instances, predictor: Predictor) -> np.ndarray:
    scale = max(1.0, _MIN_PICTURE_SIDE_PX / max(image.shape[:2]))
    return draw_instances(
        image, instances, predictor.class_names, score_threshold=0.0, scale=scale
    )


def _annotations(instances: Instances, category_ids: Sequence[int]) -> list[dict]:
    """COCO annotations with a score, boxes and masks in one entry."""
    boxes, masks = coco_results(instances, image_id=0, category_ids=category_ids)
    return [box | mask for box, mask in zip(boxes, masks, strict=True)]
