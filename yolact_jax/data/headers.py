"""Size and orientation of image files, read without their pixels.

One rule for orientation, in training and prediction: an image is seen upright, as in
viewers and annotation tools, unless a dataset states that its annotations refer to the
pixels as stored (see `annotated_orientation`).
"""

import dataclasses
import io
import zipfile
from importlib.resources.abc import Traversable
from typing import Any, cast

from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from yolact_jax.data import tiff, turning
from yolact_jax.data.errors import DatasetError

MAX_PIXELS = 178_956_970
"""The largest image that is decoded by default, as in Pillow: 512 MiB of RGB."""

JPEG = b"\xff\xd8\xff"
TIFF = (b"II*\0", b"MM\0*")
_BIG_TIFF = (b"II+\0", b"MM\0+")
# Pillow reads headers; `Image.open` would refuse large ones by a limit of its own.
_HEADER_READERS = {
    JPEG: JpegImageFile,
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"RIFF": WebPImageFile,
    b"BM": BmpImageFile,
    b"\0\0\0\x0cjP": Jpeg2KImageFile,
    **dict.fromkeys((b"P5", b"P6"), PpmImageFile),
    **dict.fromkeys(TIFF, TiffImageFile),
}
# A Huffman-coded JPEG has at least one bit for each block of 8 x 8 pixels.
_MOST_JPEG_PIXELS_PER_BYTE = 512


def read_file(path: Traversable) -> bytes:
    """Reads an image file, on disk or in a zip archive.

    Raises:
      DatasetError: if it cannot be read, or is a folder or a pipe.
    """
    try:
        # Paths on disk and in archives have `exists`, which the protocol lacks.
        there = path.exists()  # pyright: ignore[reportAttributeAccessIssue]
        if there and not path.is_file():
            raise DatasetError(f"{path}: is not a file.")
        return path.read_bytes()
    except (OSError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path}: cannot be read ({error}).") from error


@dataclasses.dataclass(frozen=True)
class Header:
    """What an image file states before its pixels.

    Attributes:
      height: of the pixels as stored.
      width: of the pixels as stored.
      orientation: how to turn them upright, EXIF's 1..8; 1 if the file has none.
    """

    height: int
    width: int
    orientation: int

    def size(self, orientation: int) -> tuple[int, int]:
        """Returns (height, width) in pixels after turning by an orientation 1..8."""
        turned = orientation >= 5
        return (self.width, self.height) if turned else (self.height, self.width)


def read_header(data: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> Header:
    """Reads size and orientation without decoding pixels.

    Args:
      data: the encoded file: JPEG, PNG, WebP, TIFF, BMP, PPM or JPEG 2000.
      name: what error messages call the image, such as its file name.
      max_pixels: the largest height x width that is accepted.

    Raises:
      DatasetError: if the file is no such image, is cut off, or is larger than allowed.
    """
    image = _open(data, name)
    width, height = image.size
    if width * height > max_pixels:
        raise DatasetError(
            f"{name}: the file says that it has {height} x {width} pixels (height x"
            f" width); the limit is {max_pixels} pixels in all."
        )
    too_short = width * height > _MOST_JPEG_PIXELS_PER_BYTE * len(data)
    if isinstance(image, JpegImageFile) and too_short:
        raise DatasetError(
            f"{name}: the JPEG file is damaged or truncated: it says that it has"
            f" {height} x {width} pixels (height x width), in {len(data)} bytes."
        )
    return Header(height, width, _orientation(image))


def _open(data: bytes, name: str) -> ImageFile.ImageFile | tiff.Page:
    """Reads a header with Pillow, which knows TIFF files of a few channels only."""
    reader = next((r for m, r in _HEADER_READERS.items() if data.startswith(m)), None)
    try:
        if reader:
            return reader(io.BytesIO(data))
    except Exception:  # Pillow's readers fail in many ways on damaged files.
        pass
    for page in tiff.pages(data) if data.startswith(TIFF) else ():
        return page
    raise not_an_image(data, name)


def not_an_image(data: bytes, name: str) -> DatasetError:
    """Makes the error for a file that is damaged or something else."""
    if data.startswith(_BIG_TIFF):
        return DatasetError(
            f"{name}: is a BigTIFF file, which cannot be read; save it as TIFF, which"
            " holds up to 4 GiB."
        )
    return DatasetError(
        f"{name}: the file is not an image, or it is damaged or truncated"
        f" ({len(data)} bytes)."
    )


def _orientation(image: ImageFile.ImageFile | tiff.Page) -> int:
    """Finds the orientation; damaged EXIF data count as upright."""
    try:
        tags = getattr(image, "tag_v2", None)  # That of a TIFF file.
        if tags is None:
            tags = Image.Exif()
            tags.load(cast("Any", image).info.get("exif", b""))
        value = tags.get(turning.TAG, 1)
    except Exception:
        return 1
    return value if value in range(1, 9) else 1


def annotated_orientation(
    header: Header, size: tuple[int, int], applied: bool | None, *, name: str
) -> tuple[int, bool]:
    """Decides how to turn the pixels of a file that a dataset has annotations for.

    Some datasets refer to pixels as stored (pycocotools ignores EXIF), most to upright
    images (as annotation tools and the original show them).  A field of the image
    decides it, else the size does.  If both fit, the image is upright.

    Args:
      header: of the file.
      size: (height, width) in pixels that the dataset states.
      applied: whether the annotations refer to the upright image; None if the dataset
        does not say.
      name: what error messages call the image.

    Returns:
      The orientation 1..8 to turn the stored pixels by, and False if it is a guess.

    Raises:
      DatasetError: if the file has another size than stated.
    """
    choices = {True: header.orientation, False: 1}
    choices = [turn for key, turn in choices.items() if applied in (None, key)]
    fitting = [turn for turn in choices if header.size(turn) == tuple(size)]
    if not fitting:
        height, width = header.size(choices[0])
        raise DatasetError(
            f"{name}: the image has {height} x {width} pixels (height x width), but"
            f" the annotations state {size[0]} x {size[1]}."
        )
    return fitting[0], len(set(fitting)) == 1
