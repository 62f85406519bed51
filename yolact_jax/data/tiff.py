"""TIFF files of any number of channels: samples of a pixel, pages, or both."""

import dataclasses
import importlib
import io
import itertools
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from yolact_jax.data import turning
from yolact_jax.data.errors import DatasetError

_EXTRA = 'pip install "yolact_jax[tiff]"'
_WIDTH, _HEIGHT, _SAMPLES, _SUBFILE = 256, 257, 277, 254
_REDUCED = 1  # A page that is another one at a smaller size.
_MOST_PAGES = 1000
_MOST_NUMBERS = 536_870_910  # As many as the largest RGB image that is decoded has.


@dataclasses.dataclass(frozen=True)
class Page:
    """What a page states before its pixels.

    Attributes:
      size: (width, height) as stored, pixels.
      samples: channels.
      tag_v2: its tags, as Pillow calls them.
    """

    size: tuple[int, int]
    samples: int
    tag_v2: ImageFileDirectory_v2

    @property
    def orientation(self) -> int:
        """How to turn it upright, 1..8."""
        value = self.tag_v2.get(turning.TAG, 1)
        return value if value in range(1, 9) else 1


def pages(data: bytes) -> list[Page]:
    """Lists the pages of a file without decoding them; [] if it is damaged.

    Smaller versions of other pages are left out.
    """
    try:
        return list(itertools.islice(_pages(data), _MOST_PAGES))
    except Exception:  # Pillow fails in many ways on damaged files.
        return []


def _pages(data: bytes) -> Iterator[Page]:
    stream, tags = io.BytesIO(data), ImageFileDirectory_v2(data[:8])
    seen: set[int] = set()
    while tags.next and tags.next not in seen:
        seen.add(tags.next)
        stream.seek(tags.next)
        following = ImageFileDirectory_v2(data[:8])
        following.load(stream)
        tags = following
        if not tags.get(_SUBFILE, 0) & _REDUCED:
            width, height = (int(tags[tag]) for tag in (_WIDTH, _HEIGHT))
            if min(width, height) < 1:
                raise ValueError("a page without pixels")
            yield Page((width, height), int(tags.get(_SAMPLES, 1)), tags)


def num_channels(found: Sequence[Page]) -> int:
    """Counts the channels of all pages together."""
    return sum(page.samples for page in found)


def decode(data: bytes, found: Sequence[Page], name: str) -> np.ndarray:
    """Decodes all channels: those of the first page first, colors as RGB.

    Args:
      data: the file.
      found: its `pages`.
      name: what error messages call it.

    Returns:
      [h, w, N] uint8 or uint16, as stored.

    Raises:
      DatasetError: if the pages differ in size, or no package here can decode them.
    """
    sizes = {page.size for page in found}
    if len(sizes) > 1:
        listed = ", ".join(f"{height} x {width}" for width, height in sorted(sizes))
        raise DatasetError(
            f"{name}: its pages have different sizes (height x width): {listed}; all "
            f"must have one to be channels of a picture."
        )
    ((width, height),), channels = sizes, num_channels(found)
    if width * height * channels > _MOST_NUMBERS:
        raise DatasetError(
            f"{name}: the file says that it has {height} x {width} pixels (height x "
            f"width) of {channels} channels; the limit is {_MOST_NUMBERS} numbers."
        )
    # OpenCV takes the fourth of four samples for an opacity, and no more than four.
    if all(page.samples in (1, 3) for page in found):
        image = _with_opencv(data, found)
        if image is not None and image.shape[2] == channels:
            return image
    image = _with_tifffile(data, found, name)
    if image.dtype not in (np.uint8, np.uint16):
        raise DatasetError(
            f"{name}: has numbers of type {image.dtype}; they must be unsigned integers"
            f" of 8 or 16 bits."
        )
    return image


def _with_opencv(data: bytes, found: Sequence[Page]) -> np.ndarray | None:
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        _, decoded = cv2.imdecodemulti(np.frombuffer(data, np.uint8), flags)
        # It turns each page upright, if that page has an orientation.
        parts = [
            turning.turned_back(in_rgb_order(part), page.orientation)
            for part, page in zip(decoded, found, strict=False)
        ]
        image = np.concatenate(parts, axis=-1)
    except (cv2.error, ValueError):
        return None
    return image if image.dtype in (np.uint8, np.uint16) else None


def in_rgb_order(image: np.ndarray) -> np.ndarray:
    """Turns OpenCV's [h, w] or [h, w, n] into [h, w, n], BGR to RGB."""
    if image.ndim == 2:
        return image[..., None]
    codes = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
    code = codes.get(image.shape[2])
    return image if code is None else cv2.cvtColor(image, code)


def _with_tifffile(data: bytes, found: Sequence[Page], name: str) -> np.ndarray:
    try:
        tifffile = importlib.import_module("tifffile")
    except ImportError as error:
        raise DatasetError(
            f"{name}: OpenCV cannot decode a TIFF file of {num_channels(found)} "
            f"channels like this; the tifffile package can: {_EXTRA}."
        ) from error
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            full = [page for page in file.pages if not page.is_reduced][: len(found)]
            parts = [_channels_last(page.asarray(), page.axes) for page in full]
        return np.concatenate(parts, axis=-1)
    except Exception as error:  # Whatever a damaged file makes of it.
        words = " ".join(str(error).split())[:200]
        raise DatasetError(f"{name}: the TIFF file cannot be decoded: {words}.") from (
            error
        )


def _channels_last(image: np.ndarray, axes: str) -> np.ndarray:
    """Orders a page with axes such as "YX", "YXS" and "SYX" as [h, w, n]."""
    image = np.moveaxis(image, (axes.index("Y"), axes.index("X")), (0, 1))
    return image.reshape(*image.shape[:2], -1)
