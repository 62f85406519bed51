"""The one axis-aligned view that all geometric augmentation amounts to."""

import dataclasses
import functools

import cv2
import numpy as np

# RGB mean of ImageNet, the colour of everything outside the image.
MEAN_RGB = (123.68, 116.78, 103.94)

_MEAN_COLOUR = tuple(round(value) for value in MEAN_RGB)

# (flip_x, flip_y) -> what cv2.flip calls it.
_FLIP_CODES = {(True, False): 1, (False, True): 0, (True, True): -1}


@dataclasses.dataclass(frozen=True)
class View:
    """The rectangle of the source image that becomes the network input.

    It may reach beyond the image: that is how an image is "expanded".

    Attributes:
      left: x of the left border in the source image, pixels; may be negative.
      top: y of the upper border, pixels; may be negative.
      width: of the rectangle, pixels.
      height: of the rectangle, pixels.
      flip_x: mirror left and right.
      flip_y: mirror top and bottom.
    """

    left: int
    top: int
    width: int
    height: int
    flip_x: bool = False
    flip_y: bool = False

    def points(self, points_px: np.ndarray) -> np.ndarray:
        """Maps points.

        Args:
          points_px: [..., 2] float64, (x, y) in pixels of the source image.

        Returns:
          [..., 2] float64, fractions of the view; in [0, 1] where visible.
        """
        fractions = (points_px - (self.left, self.top)) / (self.width, self.height)
        if self.flip_x:
            fractions[..., 0] = 1.0 - fractions[..., 0]
        if self.flip_y:
            fractions[..., 1] = 1.0 - fractions[..., 1]
        return fractions

    def boxes(self, boxes_px: np.ndarray) -> np.ndarray:
        """Maps boxes and clips them to the view.

        Args:
          boxes_px: [n, 4] float64, (x1, y1, x2, y2) in pixels of the source image.

        Returns:
          [n, 4] float64, (x1, y1, x2, y2) as fractions of the view in [0, 1].
        """
        corners = self.points(boxes_px.reshape(-1, 2, 2))
        ordered = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        return np.clip(ordered, 0.0, 1.0)

    def contains(self, points_px: np.ndarray) -> np.ndarray:
        """Finds the points strictly inside the view.

        Args:
          points_px: [n, 2] float64, (x, y) in pixels of the source image.

        Returns:
          [n] bool.
        """
        x, y = points_px[:, 0], points_px[:, 1]
        inside_x = (x > self.left) & (x < self.left + self.width)
        return inside_x & (y > self.top) & (y < self.top + self.height)

    def source_positions(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the pixel centres of a square picture of the view come from.

        Args:
          size: height and width of the picture, pixels.

        Returns:
          ([size], [size]) float64, x of each column and y of each row in the source
          image, pixels.
        """
        fractions = (np.arange(size) + 0.5) / size
        across = fractions[::-1] if self.flip_x else fractions
        down = fractions[::-1] if self.flip_y else fractions
        return self.left + across * self.width, self.top + down * self.height

    def visible(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of a source image of that size that the view shows."""
        rows = slice(max(self.top, 0), min(self.top + self.height, height))
        columns = slice(max(self.left, 0), min(self.left + self.width, width))
        return rows, columns


def whole(height: int, width: int) -> View:
    """The view of a whole image of that size in pixels."""
    return View(0, 0, width, height)


def draw_view(
    patch: np.ndarray, at: tuple[int, int], view: View, size: int
) -> np.ndarray:
    """Resizes what a view shows to a square, bilinearly and without anti-aliasing.

    Args:
      patch: [h, w, 3] uint8, the part of the source image that `view` shows.
      at: (top, left) of `patch` in the source image, pixels.
      view: the view; where it reaches beyond `patch`, it shows the mean colour.
      size: height and width of the result, pixels.

    Returns:
      [size, size, 3] uint8.
    """
    if patch.shape[:2] == (view.height, view.width):
        square = cv2.resize(patch, (size, size), interpolation=cv2.INTER_LINEAR)
    else:
        square = _mean_square(size).copy()
        if patch.size:
            _draw_on(square, patch, (at[0] - view.top, at[1] - view.left), view)
    if view.flip_x or view.flip_y:
        square = cv2.flip(square, _FLIP_CODES[view.flip_x, view.flip_y])
    return square


@functools.lru_cache(maxsize=4)
def _mean_square(size: int) -> np.ndarray:
    """[size, size, 3] uint8 of the mean colour; not to be written to."""
    return np.full((size, size, 3), _MEAN_COLOUR, np.uint8)


def _draw_on(
    square: np.ndarray, patch: np.ndarray, at: tuple[int, int], view: View
) -> None:
    """Draws a patch where the unflipped view has it.

    Args:
      square: [size, size, 3] uint8, written to.
      patch: [h, w, 3] uint8.
      at: (top, left) of `patch` in the view, pixels of the source image.
      view: the view.
    """
    size = len(square)
    step_y, step_x = view.height / size, view.width / size
    rows = _touched(at[0], patch.shape[0], step_y, size)
    columns = _touched(at[1], patch.shape[1], step_x, size)
    # The image fades into the mean colour, but not where the view cuts through it.
    above, left = int(at[0] > 0), int(at[1] > 0)
    below = int(at[0] + patch.shape[0] < view.height)
    right = int(at[1] + patch.shape[1] < view.width)
    patch = cv2.copyMakeBorder(
        patch, above, below, left, right, cv2.BORDER_CONSTANT, value=_MEAN_COLOUR
    )
    # From the centre of a result pixel to the position in the patch.
    y = (rows.start + 0.5) * step_y - 0.5 - at[0] + above
    x = (columns.start + 0.5) * step_x - 0.5 - at[1] + left
    square[rows, columns] = cv2.warpAffine(
        patch,
        np.array([[step_x, 0, x], [0, step_y, y]]),
        (columns.stop - columns.start, rows.stop - rows.start),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _touched(start: int, length: int, step: float, size: int) -> slice:
    """Result pixels along one axis that a patch has any influence on."""
    first = int(np.floor((start - 0.5) / step - 0.5)) + 1
    last = int(np.ceil((start + length + 0.5) / step - 0.5))
    return slice(max(first, 0), min(last, size))
