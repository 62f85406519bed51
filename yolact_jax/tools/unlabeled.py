"""Result files for images without annotations, as the COCO server takes them."""

import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolact_jax.data import headers, images
from yolact_jax.data.pixels import RGB, Pixels
from yolact_jax.data.records.dataset import Dataset
from yolact_jax.data.sources import coco_json
from yolact_jax.data.sources.coco_checks import ORIENTATION_APPLIED
from yolact_jax.results.coco_entries import stream_results
from yolact_jax.results.predictor import Predictor


@dataclasses.dataclass(frozen=True)
class Unlabeled:
    """Images in which nobody says what there is.

    Attributes:
      class_names: of the classes to find, in the order of their ids.
      category_ids: of these classes, for the results.
      images: pairs of an image's id and its [h, w, N] uint8 pixels, read one after
        the other; to be used once.
    """

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    images: Iterator[tuple[int, np.ndarray]]


def listed_images(
    annotations: str | os.PathLike,
    folder: str | os.PathLike,
    class_names: Sequence[str],
    category_ids: Sequence[int],
    pixels: Pixels = RGB,
) -> Unlabeled:
    """Opens the images of a COCO-format json file.

    Args:
      annotations: the json file, with `images`; its `annotations` are not used.
      folder: of the images.
      class_names: what to find if the file has no `categories`.
      category_ids: their ids.
      pixels: how the numbers of the files become channels.

    Raises:
      DatasetError: if the file or the folder is missing or bad; an image, when it is
        its turn.
    """
    file, folder = Path(annotations), Path(folder)
    coco_json.require_paths(file, folder)
    pairs = zip(category_ids, class_names, strict=True)
    categories = [{"id": int(i), "name": name} for i, name in pairs]
    found = coco_json.read_set(file, folder, is_annotated=False, categories=categories)
    ids, names = zip(*found.categories, strict=True)
    read = ((entry["id"], _read(folder, entry, pixels)) for entry in found.images)
    return Unlabeled(names, ids, read)


def _read(folder: Path, entry: dict[str, Any], pixels: Pixels) -> np.ndarray:
    path = folder / entry["file_name"]
    data = headers.read_file(path)
    turn, _ = headers.annotated_orientation(
        headers.read_header(data, name=str(path)),
        (entry["height"], entry["width"]),
        entry.get(ORIENTATION_APPLIED),
        name=str(path),
    )
    return images.decode_image(data, name=str(path), orientation=turn, pixels=pixels)


def split_images(dataset: Dataset, split: str) -> Unlabeled:
    """Opens the images of a split of a dataset.

    Raises:
      DatasetError: if there is no such split.
    """
    source = dataset.source(split)
    examples = (source[index] for index in range(len(source)))
    pixels = ((example.image_id, example.image) for example in examples)
    return Unlabeled(dataset.class_names, dataset.category_ids, pixels)


def write_server_results(
    predictor: Predictor,
    unlabeled: Unlabeled,
    output: str | os.PathLike,
    *,
    max_images: int = 0,
) -> tuple[Path, Path]:
    """Finds the objects of all images, and writes the result files as they come.

    Args:
      predictor: of a model with the classes of `unlabeled`.
      unlabeled: the images.
      output: folder of the two files, see `write_results`.
      max_images: how many images; 0 takes all.

    Returns:
      The paths of the file of boxes and of the file of masks.
    """
    ids: list[int] = []

    def pixels() -> Iterator[np.ndarray]:
        for image_id, image in itertools.islice(unlabeled.images, max_images or None):
            ids.append(image_id)
            yield image

    found = predictor.detect_unordered(pixels())
    named = ((ids[index], instances) for index, instances in found)
    return stream_results(output, named, category_ids=unlabeled.category_ids)
