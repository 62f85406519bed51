"""The network input, and which part of it an image fills."""

import dataclasses
from collections.abc import Sequence

PADDING_RGB = (124, 117, 104)
"""The color around images: the mean of ImageNet, in whole levels."""

Size = int | Sequence[int]
"""Height and width, or the side of a square."""


def sides_of(size: Size) -> tuple[int, int]:
    """Returns height and width of a size."""
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def scaled_sides(size: tuple[int, int], longer_side: int) -> tuple[int, int]:
    """Returns height and width of about the shape of `size`, with that longer side."""
    factor = longer_side / max(size)
    return round(factor * size[0]), round(factor * size[1])


@dataclasses.dataclass(frozen=True)
class InputFrame:
    """Size of the network input, and how images are put on it.

    A stretched image fills the frame.  A letterboxed one keeps its aspect ratio: it is
    as large as the frame allows, in the upper left corner, with the mean color to the
    right of it or below, as in Detectron2 and MMDetection.  There, in contrast to the
    center, coordinates of image and frame differ by a factor and no offset, and the
    cells of feature maps begin where the image does.

    Attributes:
      height: pixels.
      width: pixels.
      letterbox: whether images keep their aspect ratio.
      padding: color of what a letterboxed image does not fill, 0..255 per channel.
    """

    height: int
    width: int
    letterbox: bool = False
    padding: tuple[int, ...] = PADDING_RGB

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.height, self.width

    def used(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the frame that an image of a size in pixels fills.

        The longer side, measured in frames, fills the frame; the other is rounded to
        whole pixels, to the larger number at a half, and is at least 1.
        """
        if not self.letterbox:
            return self.size
        rows = (height * self.width + width // 2) // width
        columns = (width * self.height + height // 2) // height
        return min(max(rows, 1), self.height), min(max(columns, 1), self.width)

    def share(self, height: int, width: int) -> tuple[float, float]:
        """Shares of width and height, (x, y), that an image fills, in (0, 1].

        Fractions of the image times these are fractions of the frame.
        """
        rows, columns = self.used(height, width)
        return columns / self.width, rows / self.height

    def used_cells(
        self, height: int, width: int, map_size: tuple[int, int]
    ) -> tuple[float, float]:
        """How many rows and columns of a map of the frame an image covers."""
        rows, columns = self.used(height, width)
        return map_size[0] * rows / self.height, map_size[1] * columns / self.width
