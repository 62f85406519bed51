"""Predictions for image files: pictures with masks drawn in, and one json."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from yolact_jax.data.images import list_images, read_image
from yolact_jax.files import write_json
from yolact_jax.results.draw import write_picture
from yolact_jax.results.instances import Instances
from yolact_jax.results.predictor import Predictor

_LOGGER = logging.getLogger(__name__)
DETECTIONS_FILE = "detections.json"
_MIN_PICTURE_SIDE_PX = 480


def predict_files(
    predictor: Predictor,
    source: str | Path,
    output: str | Path,
    *,
    score_threshold: float = 0.3,
    overwrite: bool = False,
) -> list[str]:
    """Finds objects in an image file or in every image of a folder.

    Args:
      predictor: the model.
      source: an image file, or a folder of them.
      output: folder for the pictures and ``detections.json``; made if missing.
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
    read: list[Path] = []

    def images() -> Iterator[np.ndarray]:
        for path in paths:
            try:
                image = read_image(path)
            except (ValueError, OSError) as error:
                _LOGGER.error("%s", error)
                problems.append(str(error))
                continue
            read.append(path)
            yield image

    entries: list[dict] = []
    annotations: list[dict] = []
    found = predictor.stream(images(), score_threshold=score_threshold)
    for number, instances in enumerate(found, start=1):
        path, (height, width) = read.pop(0), instances.packed.size
        write_picture(output / names[path], _draw(instances))
        entries.append(
            {"id": number, "file_name": path.name, "height": height, "width": width}
        )
        annotations += instances.to_coco(number, first_id=len(annotations) + 1)
        _LOGGER.info("%s: %d objects", path, len(instances))
    categories = [
        {"id": int(i), "name": name}
        for i, name in zip(predictor.category_ids, predictor.class_names, strict=True)
    ]
    content = {"images": entries, "annotations": annotations, "categories": categories}
    write_json(output / DETECTIONS_FILE, content)
    return problems


def _picture_names(paths: Sequence[Path]) -> dict[Path, str]:
    """``name.png``, or ``name.jpg.png`` where images differ in the suffix only."""
    stems = Counter(path.stem for path in paths)
    return {p: f"{p.stem if stems[p.stem] == 1 else p.name}.png" for p in paths}


def _draw(instances: Instances) -> np.ndarray:
    longest = max(instances.packed.size)
    return instances.draw(scale=max(1.0, _MIN_PICTURE_SIDE_PX / longest))
