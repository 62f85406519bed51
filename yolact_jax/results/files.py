"""Predictions for image files: pictures with masks drawn in, and one json."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.images import IMAGE_SUFFIXES, decode_image, image_files
from yolact_jax.files import write_json
from yolact_jax.inference.predictor import Predictor
from yolact_jax.results.coco_entries import coco_results
from yolact_jax.results.draw import draw_instances, write_png
from yolact_jax.structures import Instances

_LOGGER = logging.getLogger(__name__)
DETECTIONS_FILE = "detections.json"
_MIN_PICTURE_SIDE_PX = 480


def predict_files(
    predictor: Predictor,
    source: str | Path,
    output: str | Path,
    *,
    category_ids: Sequence[int],
    score_threshold: float = 0.3,
    overwrite: bool = False,
) -> list[str]:
    """Finds objects in an image file or in every image of a folder.

    Args:
      predictor: the model.
      source: an image file, or a folder of them.
      output: folder for the pictures and ``detections.json``; made if missing.
      category_ids: dataset category id of each label, for the json.
      score_threshold: least score of a detection in pictures and json.
      overwrite: replace the results of an earlier call in `output`.

    Returns:
      One sentence for every image that could not be read and was skipped.

    Raises:
      ValueError: if there is no image, or `output` has results already.
    """
    paths = list_images(source)
    output = Path(output)
    if (output / DETECTIONS_FILE).exists() and not overwrite:
        raise ValueError(
            f"`output` {output} has a {DETECTIONS_FILE} already; choose another "
            f"folder, or allow to overwrite it."
        )
    output.mkdir(parents=True, exist_ok=True)
    names = _picture_names(paths)
    problems: list[str] = []
    read: list[tuple[Path, np.ndarray]] = []

    def images() -> Iterator[np.ndarray]:
        for path in paths:
            try:
                image = decode_image(path.read_bytes(), name=str(path))
            except (DatasetError, OSError) as error:
                _LOGGER.error("%s", error)
                problems.append(str(error))
                continue
            read.append((path, image))
            yield image

    entries, annotations = [], []
    for number, instances in enumerate(predictor.stream(images()), start=1):
        path, image = read.pop(0)
        instances = _above(instances, score_threshold)
        write_png(output / names[path], _draw(image, instances, predictor))
        height, width = image.shape[:2]
        entries.append(
            {"id": number, "file_name": path.name, "height": height, "width": width}
        )
        annotations += _annotations(instances, number, category_ids)
        _LOGGER.info("%s: %d objects", path, len(instances))
    categories = [
        {"id": int(i), "name": name}
        for i, name in zip(category_ids, predictor.class_names, strict=True)
    ]
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    content = {"images": entries, "annotations": annotations, "categories": categories}
    write_json(output / DETECTIONS_FILE, content)
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
            f"`source` {source} does not exist; give an image or a folder."
        )
    paths = image_files(source)
    if not paths:
        raise ValueError(
            f"`source` {source} has no image; looked for {', '.join(IMAGE_SUFFIXES)}."
        )
    return paths


def _picture_names(paths: Sequence[Path]) -> dict[Path, str]:
    """``name.png``, or ``name.jpg.png`` where images differ in the suffix only."""
    stems = Counter(path.stem for path in paths)
    return {p: f"{p.stem if stems[p.stem] == 1 else p.name}.png" for p in paths}


def _above(instances: Instances, score_threshold: float) -> Instances:
    instances = instances.ranked_by_mask()
    return instances.take(instances.scores >= score_threshold)


def _draw(image: np.ndarray, instances: Instances, predictor: Predictor) -> np.ndarray:
    scale = max(1.0, _MIN_PICTURE_SIDE_PX / max(image.shape[:2]))
    return draw_instances(
        image, instances, predictor.class_names, score_threshold=0.0, scale=scale
    )


def _annotations(
    instances: Instances, image_id: int, category_ids: Sequence[int]
) -> list[dict]:
    """COCO annotations with a score, boxes and masks in one entry."""
    boxes, masks = coco_results(instances, image_id=image_id, category_ids=category_ids)
    return [box | mask for box, mask in zip(boxes, masks, strict=True)]
