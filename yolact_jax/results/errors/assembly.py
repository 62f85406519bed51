"""Mask assembly on the host, step by step, so that each step can be replaced."""

import dataclasses
import math

import cv2
import numpy as np


@dataclasses.dataclass(frozen=True)
class ImageParts:
    """What the network made of one image, and the objects that are there.

    Attributes:
      image_id: of the image.
      prototypes: [Hp, Wp, K] float32.
      boxes: [D, 4] float32, fractions of the image, best detection first.
      labels: [D] int64.
      scores: [D] float64, what masks are ranked by.
      coefficients: [D, K] float32.
      truth_masks: [G, height, width] bool.
      truth_boxes: [G, 4] float64, fractions of the image.
      truth_labels: [G] int64.
      truth_areas: [G] float64, square pixels, as annotated.
      crowd: [G] bool.
      shown: rows and columns of the prototypes that the image covers; None for all.
    """

    image_id: int
    prototypes: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    coefficients: np.ndarray
    truth_masks: np.ndarray
    truth_boxes: np.ndarray
    truth_labels: np.ndarray
    truth_areas: np.ndarray
    crowd: np.ndarray
    shown: tuple[float, float] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image, pixels."""
        return self.truth_masks.shape[1], self.truth_masks.shape[2]

    def mask(self, soft: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Crops a [Hp, Wp] soft mask to a box and enlarges it: [height, width] bool."""
        return enlarged(cropped(soft, box, self.shown), self.size, self.shown)

    def share(self, mask: np.ndarray) -> np.ndarray:
        """[Hp, Wp] float32, see `reduced`, of a [height, width] mask."""
        height, width = self.prototypes.shape[:2]
        return reduced(mask, (height, width), self.shown)

    def ideal(self, share: np.ndarray, box: np.ndarray) -> np.ndarray:
        """[Hp, Wp] float32, the soft mask of `best_coefficients`."""
        best = best_coefficients(self.prototypes, share, box, self.shown)
        return assemble(self.prototypes, best[None])[0]


def assemble(prototypes: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """[n, Hp, Wp] float32 soft masks of [n, K] coefficients."""
    logits = np.einsum("hwk,nk->nhw", prototypes, coefficients, optimize=True)
    return 1 / (1 + np.exp(-np.clip(logits, -80, 80)))


def window(
    box: np.ndarray, size: tuple[int, int], shown: tuple[float, float] | None = None
) -> tuple[slice, slice]:
    """Rows and columns of a map inside a box and a padding of one cell.

    Args:
      box: [4] float, fractions of the image.
      size: height and width of the map, cells.
      shown: rows and columns of the map that the image covers; None for all.
    """
    x1, y1, x2, y2 = np.asarray(box, np.float32)
    rows, columns = shown or size
    return _inside(y1, y2, rows, size[0]), _inside(x1, x2, columns, size[1])


def _inside(start: np.float32, end: np.float32, shown: float, size: int) -> slice:
    low, high = sorted((start * np.float32(shown), end * np.float32(shown)))
    first = int(np.ceil(np.clip(low - 1, 0, size)))
    return slice(first, max(first, int(np.ceil(np.clip(high + 1, 0, size)))))


def cropped(
    soft: np.ndarray, box: np.ndarray, shown: tuple[float, float] | None = None
) -> np.ndarray:
    """Sets a [Hp, Wp] mask to 0 outside of a box and its padding; see `window`."""
    rows, columns = window(box, soft.shape, shown)
    result = np.zeros_like(soft)
    result[rows, columns] = soft[rows, columns]
    return result


def enlarged(
    soft: np.ndarray, size: tuple[int, int], shown: tuple[float, float] | None = None
) -> np.ndarray:
    """Enlarges a [Hp, Wp] soft mask to an image, and cuts it at 0.5; bool.

    `shown` are the rows and columns of the mask that the image covers; None for all.
    """
    height, width = size
    if shown is not None:
        down, across = map(_bilinear, soft.shape, size, shown)
        return down @ soft @ across.T > 0.5
    resized = cv2.resize(
        soft.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR
    )
    return resized > 0.5


def _bilinear(cells: int, pixels: int, shown: float) -> np.ndarray:
    """[pixels, cells] float32, the weights of cells in each pixel."""
    at = (np.arange(pixels) + 0.5) * shown / pixels - 0.5
    at = np.clip(at, 0, math.ceil(shown) - 1)[:, None]
    return np.clip(1 - np.abs(at - np.arange(cells)), 0, 1).astype(np.float32)


def reduced(
    mask: np.ndarray, size: tuple[int, int], shown: tuple[float, float] | None = None
) -> np.ndarray:
    """Share of each cell that a [height, width] mask covers, [Hp, Wp] float32.

    `shown` are the rows and columns of cells that the image covers; None for all.
    """
    height, width = size
    if shown is not None:
        down, across = map(_coverage, size, mask.shape, shown)
        return down @ mask.astype(np.float32) @ across.T
    return cv2.resize(
        mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA
    )


def _coverage(cells: int, pixels: int, shown: float) -> np.ndarray:
    """[cells, pixels] float32, the share of each cell that each pixel covers."""
    edges = np.arange(pixels + 1) * shown / pixels
    start, cell = edges[None], np.arange(cells)[:, None]
    inside = np.minimum(start[:, 1:], cell + 1) - np.maximum(start[:, :-1], cell)
    return np.clip(inside, 0, None).astype(np.float32)


def best_coefficients(
    prototypes: np.ndarray,
    target: np.ndarray,
    box: np.ndarray,
    shown: tuple[float, float] | None = None,
) -> np.ndarray:
    """Coefficients whose mask is nearest to a target inside a box, by least squares.

    They minimize the squared difference of the logits from +4 on the target and -4 off
    it, and are not bound to -1..1 as those of the network.

    Args:
      prototypes: [Hp, Wp, K] float32.
      target: [Hp, Wp] float32 in [0, 1], share of each cell that the object covers.
      box: [4] float, fractions of the image.
      shown: see `window`.

    Returns:
      [K] float32.
    """
    rows, columns = window(box, target.shape, shown)
    basis = prototypes[rows, columns].reshape(-1, prototypes.shape[2]).astype(float)
    wanted = 8 * target[rows, columns].reshape(-1).astype(float) - 4
    products = basis.T @ basis
    # The least push towards 0 that keeps equal prototypes from dividing by 0.
    ridge = 1e-6 * max(products.trace() / len(products), 1e-12) * np.eye(len(products))
    return np.linalg.solve(products + ridge, basis.T @ wanted).astype(np.float32)


def box_overlaps(found: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """[D, G] float64 IoU of corner boxes."""
    low = np.maximum(found[:, None, :2], truths[None, :, :2])
    high = np.minimum(found[:, None, 2:], truths[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    union = _areas(found)[:, None] + _areas(truths)[None] - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0.0)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=-1)


def mask_overlaps(mask: np.ndarray, truths: np.ndarray, crowd: np.ndarray):
    """[G] float64 IoU of a mask with [G, height, width] bool masks, as COCO's.

    On crowds it is the share of the mask inside.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return np.zeros(len(truths))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    shared = np.count_nonzero(truths[:, *part] & mask[part], axis=(1, 2))
    area = np.count_nonzero(mask)
    areas = np.count_nonzero(truths, axis=(1, 2))
    return shared / np.where(crowd, area, area + areas - shared)
