"""TIFF files of any number of channels: samples of a pixel, pages, or both."""

import dataclasses
import importlib
import io
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from yolact_jax.data import turning
from yolact_jax.data.errors import DatasetError

_EXTRA = 'pip install "yolact_jax[tiff]"'
_WIDTH, _HEIGHT, _SAMPLES, _SUBFILE = 256, 257, 277, 254
_REDUCED = 1  # A page that is another one at a smaller size.
_BITS, _PHOTOMETRIC, _PLANAR, _EXTRA_SAMPLES, _FORMAT = 258, 262, 284, 338, 339
_RGB, _MULTIPLIED = 2, 1
_COLORS = (_RGB, 5, 6, 8)  # RGB, CMYK, YCbCr and CIELab.
_FORMATS = {1: "uint", 2: "int", 3: "float", 4: "uint", 5: "complex", 6: "complex"}
_MOST_PAGES = 1000
_MOST_NUMBERS = 536_870_910  # As many as the largest RGB image that is decoded has.


@dataclasses.dataclass(frozen=True)
class Page:
    """What a page states before its pixels.

    Attributes:
      size: (width, height) as stored, pixels.
      samples: channels.
      bits: the most that a sample has.
      number_type: of the samples, such as "uint16".
      is_picture: whether the samples are colors, perhaps with opacity, or one gray.
      is_rgba: whether they are RGB that is not multiplied by the fourth, the opacity.
      is_separate: whether each sample has a plane of its own.
      tag_v2: its tags, as Pillow calls them.
    """

    size: tuple[int, int]
    samples: int
    bits: int
    number_type: str
    is_picture: bool
    is_rgba: bool
    is_separate: bool
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
            yield _page(tags)


def _page(tags: ImageFileDirectory_v2) -> Page:
    width, height = int(tags[_WIDTH]), int(tags[_HEIGHT])
    if min(width, height) < 1:
        raise ValueError("a page without pixels")
    samples, photometric = int(tags.get(_SAMPLES, 1)), tags.get(_PHOTOMETRIC)
    bits = max(_numbers(tags.get(_BITS, 1)))
    kind = _FORMATS.get(_numbers(tags.get(_FORMAT, 1))[0], "unknown")
    is_color = samples in (3, 4) and photometric in _COLORS
    is_multiplied = _MULTIPLIED in _numbers(tags.get(_EXTRA_SAMPLES, 0))
    return Page(
        size=(width, height),
        samples=samples,
        bits=bits,
        number_type=f"{kind}{bits}",
        is_picture=samples == 1 or is_color,
        is_rgba=samples == 4 and photometric == _RGB and not is_multiplied,
        is_separate=samples > 1 and tags.get(_PLANAR, 1) == 2,
        tag_v2=tags,
    )


def _numbers(value: Any) -> tuple[int, ...]:
    """Reads a tag that has a number for each sample, or only one."""
    return tuple(map(int, value if isinstance(value, tuple) else (value,)))


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
      DatasetError: if the pages differ in size, are no unsigned integers, or no package
        here can decode them.
    """
    _require_integers(found, name)
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
    if all(map(_is_read_by_opencv, found)):
        image = _with_opencv(data, found)
        if image is not None and image.shape[2] == channels:
            return image
    return _with_tifffile(data, found, name)


def decode_rgb(data: bytes, page: Page, name: str) -> np.ndarray | None:
    """Decodes the first page, a picture, where OpenCV makes something else of it.

    OpenCV multiplies colors by their opacity, and mixes up planes of 16 bits.

    Args:
      data: the file.
      page: its first page.
      name: what error messages call it.

    Returns:
      [h, w, 3] uint8 or uint16, as stored, without opacity; None for a page that OpenCV
      decodes as it is.

    Raises:
      DatasetError: as for `decode`.
    """
    _require_integers([page], name)
    # Pillow cannot read all planes.
    if page.is_separate and (page.is_rgba or page.bits > 8):
        return _with_tifffile(data, [page], name)[..., :3]
    return _with_pillow(data, page, name) if page.is_rgba and page.bits <= 8 else None


def _require_integers(found: Sequence[Page], name: str) -> None:
    """Refuses pages whose numbers are signed, fractions, or of more than 16 bits."""
    for page in found:
        if not page.number_type.startswith("uint") or page.bits > 16:
            raise DatasetError(
                f"{name}: has numbers of type {page.number_type}; they must be unsigned"
                " integers of 8 or 16 bits."
            )


def _with_pillow(data: bytes, page: Page, name: str) -> np.ndarray:
    try:
        # Some versions of Pillow turn it upright themselves.
        upright = ImageOps.exif_transpose(TiffImageFile(io.BytesIO(data)))
        image = np.asarray(upright.convert("RGB"))
    except Exception as error:  # Whatever a damaged file makes of it.
        raise _undecodable(name, error) from error
    return turning.turned_back(image, page.orientation)


def _is_read_by_opencv(page: Page) -> bool:
    """Whether OpenCV decodes the samples of a page as they are.

    It takes the fourth of four for an opacity, and no more than four; of three it mixes
    up planes of 16 bits, and sees one only of grays of 8.
    """
    if page.bits > 8:
        return page.samples in (1, 3) and not page.is_separate
    return page.samples == 1 or (page.samples == 3 and page.is_picture)


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
        raise _undecodable(name, error) from error


def _undecodable(name: str, error: Exception) -> DatasetError:
    words = " ".join(str(error).split())[:200]
    return DatasetError(f"{name}: the TIFF file cannot be decoded: {words}.")


def _channels_last(image: np.ndarray, axes: str) -> np.ndarray:
    """Orders a page with axes such as "YX", "YXS" and "SYX" as [h, w, n]."""
    image = np.moveaxis(image, (axes.index("Y"), axes.index("X")), (0, 1))
    return image.reshape(*image.shape[:2], -1)
