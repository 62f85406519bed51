"""The one axis-aligned view that combines all geometric augmentation."""

import dataclasses
import functools
import math
from collections.abc import Callable

import cv2
import numpy as np

from yolact_jax.config import PADDING_RGB, InputFrame, Size, sides_of

# RGB mean of ImageNet, the color of everything outside the image.
MEAN_RGB = (123.68, 116.78, 103.94)

MEAN_GRAY = round(sum(MEAN_RGB) / 3)
"""The color around a channel of which no mean is known."""

# (flip_x, flip_y) -> what cv2.flip calls it.
_FLIP_CODES = {(True, False): 1, (False, True): 0, (True, True): -1}


@dataclasses.dataclass(frozen=True)
class View:
    """The rectangle of the source image that is shown, and where it is shown.

    It may reach beyond the image: that is how an image is "expanded".  It fills the
    network input, or with a `share` below 1 the upper left part of it.  What is to the
    right of that part or below it shows nothing.

    Attributes:
      left: x of the left border in the source image, pixels; may be negative.
      top: y of the upper border, pixels; may be negative.
      width: of the rectangle, pixels.
      height: of the rectangle, pixels.
      flip_x: mirror left and right.
      flip_y: mirror top and bottom.
      share: (x, y), how much of the width and height of the network input it fills.
    """

    left: int
    top: int
    width: int
    height: int
    flip_x: bool = False
    flip_y: bool = False
    share: tuple[float, float] = (1.0, 1.0)

    def put_on(self, frame: InputFrame) -> "View":
        """Returns the same view where a frame has pictures of its size."""
        share = frame.share(self.height, self.width)
        return dataclasses.replace(self, share=share)

    def points(self, points_px: np.ndarray) -> np.ndarray:
        """Maps [..., 2] pixels (x, y) to fractions of the network input.

        What is shown is at 0 to `share`.
        """
        fractions = (points_px - (self.left, self.top)) / (self.width, self.height)
        if self.flip_x:
            fractions[..., 0] = 1.0 - fractions[..., 0]
        if self.flip_y:
            fractions[..., 1] = 1.0 - fractions[..., 1]
        return fractions * self.share

    def boxes(self, boxes_px: np.ndarray) -> np.ndarray:
        """Maps [n, 4] boxes (x1, y1, x2, y2) in pixels as `points`, and clips them."""
        corners = self.points(boxes_px.reshape(-1, 2, 2))
        ordered = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        return np.clip(ordered, 0.0, np.array(self.share * 2))

    def used(self, size: Size) -> tuple[int, int]:
        """Rows and columns that it fills of a picture of the size of the input."""
        height, width = sides_of(size)
        return round(self.share[1] * height), round(self.share[0] * width)

    def clear_outside(self, masks: np.ndarray) -> None:
        """Clears pixels of [..., h, w] masks whose center is outside, in place."""
        height, width = masks.shape[-2:]
        masks[..., math.ceil(self.share[1] * height - 0.5) :, :] = 0
        masks[..., math.ceil(self.share[0] * width - 0.5) :] = 0

    def contains(self, points_px: np.ndarray) -> np.ndarray:
        """Finds the points [n, 2], pixels, strictly inside the view: [n] bool."""
        x, y = points_px[:, 0], points_px[:, 1]
        inside_x = (x > self.left) & (x < self.left + self.width)
        return inside_x & (y > self.top) & (y < self.top + self.height)

    def source_positions(self, size: Size) -> tuple[np.ndarray, np.ndarray]:
        """Returns where the pixel centers of a picture of the input come from.

        Args:
          size: height and width of the picture, pixels, or its side.

        Returns:
          ([width], [height]) float64, x of each column and y of each row in the source
          image, pixels.
        """
        height, width = sides_of(size)
        across = _centers(width, self.share[0], self.flip_x)
        down = _centers(height, self.share[1], self.flip_y)
        return self.left + across * self.width, self.top + down * self.height

    def visible(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of a source image of that size that the view shows."""
        rows = slice(max(self.top, 0), min(self.top + self.height, height))
        columns = slice(max(self.left, 0), min(self.left + self.width, width))
        return rows, columns


def _centers(count: int, share: float, flip: bool) -> np.ndarray:
    """[count] float64, fractions of the view at the centers of pixels of the input."""
    fractions = (np.arange(count) + 0.5) / count
    if share == 1.0:
        return fractions[::-1] if flip else fractions
    return 1.0 - fractions / share if flip else fractions / share


def whole(height: int, width: int, frame: InputFrame | None = None) -> View:
    """The view of a whole image of that size in pixels; without a frame, stretched."""
    view = View(0, 0, width, height)
    return view if frame is None else view.put_on(frame)


def draw_view(
    patch: np.ndarray,
    at: tuple[int, int],
    view: View,
    size: Size,
    finish: Callable[[np.ndarray], np.ndarray] | None = None,
    dtype: type = np.uint8,
    mean: tuple[int, ...] = PADDING_RGB,
) -> np.ndarray:
    """Draws the network input, bilinearly and without anti-aliasing.

    Args:
      patch: [h, w, 3] uint8 or int16, the part of the source image that `view` shows.
      at: (top, left) of `patch` in the source image, pixels.
      view: the view; where it reaches beyond `patch`, it shows the mean color.
      size: height and width of the result, pixels, or its side.
      finish: changes the colors of the resized pixels [.., .., 3], not those of the
        mean color around them.
      dtype: of the result, and of what `finish` returns.
      mean: the mean color, three numbers.

    Returns:
      [height, width, 3].
    """
    size, used = sides_of(size), view.used(size)
    if patch.shape[:2] == (view.height, view.width):
        picture = cv2.resize(patch, used[::-1], interpolation=cv2.INTER_LINEAR)
        picture = picture if finish is None else finish(picture)
    else:
        picture = _padding(*used, mean).astype(dtype)
        if patch.size:
            at = at[0] - view.top, at[1] - view.left
            _draw_on(picture, patch, at, view, finish, mean)
    if view.flip_x or view.flip_y:
        # In place: fresh memory takes longer to get than the flip takes.
        cv2.flip(picture, _FLIP_CODES[view.flip_x, view.flip_y], dst=picture)
    if used == size:
        return picture
    padded = _padding(*size, mean).astype(dtype)
    padded[: used[0], : used[1]] = picture
    return padded


@functools.lru_cache(maxsize=4)
def _padding(height: int, width: int, mean: tuple[int, ...]) -> np.ndarray:
    """[height, width, 3] uint8 of the mean color; read-only."""
    return np.full((height, width, 3), mean, np.uint8)


def _draw_on(
    picture: np.ndarray,
    patch: np.ndarray,
    at: tuple[int, int],
    view: View,
    finish: Callable[[np.ndarray], np.ndarray] | None,
    mean: tuple[int, ...],
) -> None:
    """Draws a patch where the unflipped view has it."""
    height, width = picture.shape[:2]
    rows, y = _touched(at[0], patch.shape[0], view.height, height)
    columns, x = _touched(at[1], patch.shape[1], view.width, width)
    if not len(y) or not len(x):
        return
    part = cv2.warpAffine(
        patch,
        np.array([[view.width / width, 0, x[0]], [0, view.height / height, y[0]]]),
        (len(x), len(y)),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    part = part if finish is None else finish(part)
    _fade(part, _cover(y, at[0], patch.shape[0], view.height), mean)
    columns_first = part.swapaxes(0, 1)
    _fade(columns_first, _cover(x, at[1], patch.shape[1], view.width), mean)
    picture[rows, columns] = part


def _touched(
    start: int, length: int, extent: int, size: int
) -> tuple[slice, np.ndarray]:
    """Result pixels on an axis that a patch affects, and where they are in the patch.

    `start` and `length` of the patch and `extent` of the view are in pixels of the
    source image.
    """
    step = extent / size
    first = max(int(np.floor((start - 0.5) / step - 0.5)) + 1, 0)
    last = min(int(np.ceil((start + length + 0.5) / step - 0.5)), size)
    return slice(first, last), (np.arange(first, last) + 0.5) * step - 0.5 - start


def _cover(positions: np.ndarray, start: int, length: int, extent: int) -> np.ndarray:
    """How much of the patch, and not of the mean color, shows on an axis: [k] float64.

    The image fades into the mean color within a pixel of the source image, but not
    where the view cuts through it.  `positions` are those of the result in the patch.
    """
    before = positions + 1 if start > 0 else np.ones_like(positions)
    after = length - positions if start + length < extent else before
    return np.clip(np.minimum(before, after), 0.0, 1.0)


def _fade(part: np.ndarray, cover: np.ndarray, mean: tuple[int, ...]) -> None:
    """Mixes the mean color into rows [k, n, 3], which keep `cover`, in place."""
    for row in np.flatnonzero(cover < 1.0):
        mixed = cover[row] * part[row] + (1.0 - cover[row]) * np.array(mean)
        part[row] = np.rint(mixed).astype(part.dtype)
