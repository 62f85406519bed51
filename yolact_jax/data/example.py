"""One image with its annotations, as in the records."""

import dataclasses
import functools

import numpy as np

from yolact_jax.data import images
from yolact_jax.data.pixels import RGB, Pixels, shown


@dataclasses.dataclass(frozen=True)
class Segmentations:
    """Outlines or run-length masks of the n annotations of one image.

    An annotation has polygon rings, which are united, or one run-length mask.

    Attributes:
      size: (height, width) of the image, pixels.
      points_px: [p, 2] float64, (x, y) of all rings one after the other; pixel i
        covers [i, i + 1).
      ring_sizes: [r] int64, points of each ring, at least 3.
      ring_owner: [r] int64, index of the annotation of each ring, ascending.
      rle_owner: [k] int64, index of the annotation of each run-length mask, ascending.
      rle_counts: k compressed run-length strings.
      rle_was_compressed: [k] bool, whether the json file held the string form.
    """

    size: tuple[int, int]
    points_px: np.ndarray
    ring_sizes: np.ndarray
    ring_owner: np.ndarray
    rle_owner: np.ndarray
    rle_counts: tuple[bytes, ...]
    rle_was_compressed: np.ndarray


@dataclasses.dataclass(frozen=True)
class Annotations:
    """The n annotations of one image, in the order of the json file.

    Attributes:
      ids: [n] int64, annotation ids.
      labels: [n] int32, classes counted from 0 in the order of category ids.
      boxes_xywh_px: [n, 4] float64, (x, y, width, height) as in the json file.
      areas_px: [n] float64, areas in square pixels as in the json file.
      crowd: [n] bool, whether the annotation is a crowd region.
      segmentations: outlines and masks.
    """

    ids: np.ndarray
    labels: np.ndarray
    boxes_xywh_px: np.ndarray
    areas_px: np.ndarray
    crowd: np.ndarray
    segmentations: Segmentations

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def boxes_px(self) -> np.ndarray:
        """[n, 4] float64, (x1, y1, x2, y2) in pixels, not clipped to the image."""
        boxes = self.boxes_xywh_px.copy()
        boxes[:, 2:] += boxes[:, :2]
        return boxes

    @functools.cached_property
    def centers_px(self) -> np.ndarray:
        """[n, 2] float64, (x, y) of the centers of the boxes, pixels."""
        return self.boxes_xywh_px[:, :2] + self.boxes_xywh_px[:, 2:] / 2


@dataclasses.dataclass(frozen=True)
class Example:
    """One image with its annotations; pixels are decoded when first needed.

    Attributes:
      image_id: id of the image in the json file.
      file_name: file name in the json file.
      height: of the image, pixels.
      width: of the image, pixels.
      image_bytes: the image file, unchanged.
      annotations: the annotations.
      orientation: how to turn the pixels of the file, EXIF's 1..8.
      orientation_told: whether the dataset states the orientation; else it is a guess.
      pixels: how the numbers of the file become channels.
      decoded: `image`, where it is there already.
    """

    image_id: int
    file_name: str
    height: int
    width: int
    image_bytes: bytes = dataclasses.field(repr=False)
    annotations: Annotations = dataclasses.field(repr=False)
    orientation: int = 1
    orientation_told: bool = True
    pixels: Pixels = RGB
    decoded: np.ndarray | None = dataclasses.field(default=None, repr=False)

    @functools.cached_property
    def image(self) -> np.ndarray:
        """[height, width, N] uint8, N = 3 for RGB, as the network sees it.

        Raises:
          DatasetError: if the stored file is damaged.
        """
        if self.decoded is not None:
            return self.decoded
        return self.pixels.scaled(self.values)

    @property
    def values(self) -> np.ndarray:
        """[height, width, N] uint8 or uint16, the numbers of the file.

        Raises:
          DatasetError: as for `image`.
        """
        return images.decode_values(
            self.image_bytes,
            name=self.file_name,
            orientation=self.orientation,
            pixels=self.pixels,
        )

    @property
    def picture(self) -> np.ndarray:
        """[height, width, 3] uint8 RGB, to show `image`, see `pixels.shown`."""
        return shown(self.image)
