"""Records of generated pictures of shapes, for quick runs and tests."""

import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Callable
from typing import Any

import simplejpeg

from yolact_jax.data import rle
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.records import prepare, record
from yolact_jax.data.records.builder import RecordsBuilder, RecordsConfig
from yolact_jax.data.records.dataset import Dataset
from yolact_jax.data.sources import shapes

# Raise this whenever the pictures change, so that old records are not reused.
_PICTURES_VERSION = 1
# Faster to read than PNG, and the difference cannot be seen.
_JPEG_QUALITY = 95
_CATEGORY_IDS = tuple(range(1, len(shapes.CLASS_NAMES) + 1))
_LABELS = {category_id: label for label, category_id in enumerate(_CATEGORY_IDS)}


@dataclasses.dataclass(eq=False, kw_only=True)
class ShapesConfig(RecordsConfig):
    """What to draw; the classes are always the same.

    Attributes:
      class_names: names of the labels.
      category_ids: ids of the labels.
      num_images: split name -> number of pictures.
      image_size: height and width, pixels.
      seed: of all pictures.
    """

    class_names: tuple[str, ...] = shapes.CLASS_NAMES
    category_ids: tuple[int, ...] = _CATEGORY_IDS
    num_images: dict[str, int]
    image_size: int
    seed: int


class YolactShapes(RecordsBuilder):
    """Pictures of shapes; image ids count from 1 over all splits."""

    name = "yolact_shapes"
    BUILDER_CONFIGS = [
        ShapesConfig(
            name="128px",
            description="2,000 training and 200 validation pictures",
            num_images={"train": 2000, "validation": 200},
            image_size=128,
            seed=0,
        )
    ]

    def _split_makers(self, dl_manager: Any) -> dict[str, list[Callable]]:
        """Split name -> one function per record."""
        del dl_manager  # Nothing is downloaded.
        indices = itertools.count()
        return {
            split: [
                functools.partial(_record, self.builder_config, next(indices))
                for _ in range(count)
            ]
            for split, count in self.builder_config.num_images.items()
        }


def _record(config: ShapesConfig, index: int) -> dict[str, Any]:
    """Draws a picture and makes its record."""
    drawn = shapes.draw_shapes(config.seed, index, image_size=config.image_size)
    return shapes_record(drawn, image_id=index + 1)


def shapes_record(drawn: shapes.ShapesImage, *, image_id: int) -> dict[str, Any]:
    """Encodes a picture as values for `record.features()`.

    Annotation ids follow from the image id.
    """
    size = drawn.image.shape[0]
    entry = {
        "id": image_id,
        "file_name": f"{image_id:08d}.jpg",
        "height": size,
        "width": size,
    }
    annotations = [
        _annotation(drawn, place, image_id * 100 + place)
        for place in range(len(drawn.labels))
    ]
    data = simplejpeg.encode_jpeg(
        drawn.image, quality=_JPEG_QUALITY, colorsubsampling="444"
    )
    return record.encode_record(entry, annotations, data, _LABELS)


def _annotation(
    drawn: shapes.ShapesImage, place: int, annotation_id: int
) -> dict[str, Any]:
    """COCO-format annotation of one object."""
    x1, y1, x2, y2 = drawn.boxes_px[place].tolist()
    return {
        "id": annotation_id,
        "category_id": _CATEGORY_IDS[drawn.labels[place]],
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": float(drawn.masks[place].sum()),
        "iscrowd": 0,
        "segmentation": rle.encode(drawn.masks[place]),
    }


def prepare_shapes(
    *,
    data_dir: str | os.PathLike,
    num_train: int,
    num_validation: int,
    image_size: int = 128,
    seed: int,
) -> Dataset:
    """Draws and writes pictures of shapes, unless the records exist.

    Args:
      data_dir: folder of all prepared datasets, created if missing.
      num_train: pictures in the split "train".
      num_validation: pictures in the split "validation".
      image_size: height and width, pixels; at least 32.
      seed: of all pictures.

    Raises:
      DatasetError: if a number is out of range.
    """
    numbers = {
        "num_train": (num_train, 1),
        "num_validation": (num_validation, 1),
        "image_size": (image_size, 32),
        "seed": (seed, 0),
    }
    problems = [
        f"`{name}` is {value}; it must be at least {least}."
        for name, (value, least) in numbers.items()
        if value < least
    ]
    if problems:
        raise DatasetError(problems)
    num_images = {"train": num_train, "validation": num_validation}
    parts = ("shapes", _PICTURES_VERSION, num_train, num_validation, image_size, seed)
    fingerprint = prepare.fingerprint_of(map(str, parts))
    data_dir = pathlib.Path(data_dir).expanduser().absolute()
    found = prepare.find_prepared(YolactShapes, fingerprint, data_dir)
    if found:
        return found
    config = ShapesConfig(
        name=fingerprint,
        version=str(YolactShapes.VERSION),
        num_images=num_images,
        image_size=image_size,
        seed=seed,
    )
    return prepare.prepare(YolactShapes, config, data_dir)
