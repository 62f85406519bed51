"""Decoding image files to RGB pixels, and what their headers say.

One rule for orientation, in training and prediction: an image is seen upright, as
viewers and annotation tools show it, unless a dataset says that its annotations are
about the pixels as stored (see `annotated_orientation`).
"""

import dataclasses
import io
import zipfile
from importlib.resources.abc import Traversable
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from yolact_jax.data.errors import DatasetError

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MAX_PIXELS = 178_956_970
"""The largest image that is decoded by default, as in Pillow: 512 MiB of RGB."""

_JPEG = b"\xff\xd8\xff"
_TIFF = (b"II*\0", b"MM\0*")
# Pillow reads headers; `Image.open` would refuse large ones by a limit of its own.
_HEADER_READERS = {
    _JPEG: JpegImageFile,
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"RIFF": WebPImageFile,
    b"BM": BmpImageFile,
    b"\0\0\0\x0cjP": Jpeg2KImageFile,
    **dict.fromkeys((b"P5", b"P6"), PpmImageFile),
    **dict.fromkeys(_TIFF, TiffImageFile),
}
_ORIENTATION_TAG = 0x0112
_UNDONE_BY = {6: 8, 8: 6}
_CMYK_SPACES = ("CMYK", "YCCK")
# A Huffman-coded JPEG has at least one bit for each block of 8 x 8 pixels.
_MOST_JPEG_PIXELS_PER_BYTE = 512
_DEPTHS_BITS = (8, 10, 12, 14, 16)


def read_file(path: Traversable) -> bytes:
    """Reads an image file, on disk or in a zip archive.

    Raises:
      DatasetError: it cannot be read, or is a folder or a pipe.
    """
    try:
        if path.exists() and not path.is_file():
            raise DatasetError(f"{path}: is not a file.")
        return path.read_bytes()
    except (OSError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path}: cannot be read ({error}).") from error


@dataclasses.dataclass(frozen=True)
class Header:
    """What an image file says before its pixels.

    Attributes:
      height: of the pixels as stored.
      width: of the pixels as stored.
      orientation: how to turn them upright, EXIF's 1..8; 1 if the file does not tell.
    """

    height: int
    width: int
    orientation: int

    def size(self, orientation: int) -> tuple[int, int]:
        """Returns (height, width) in pixels after turning by an orientation 1..8."""
        size = (self.height, self.width)
        return size[::-1] if orientation >= 5 else size


def read_header(data: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> Header:
    """Reads size and orientation without decoding pixels.

    Args:
      data: the encoded file: JPEG, PNG, WebP, TIFF, BMP, PPM or JPEG 2000.
      name: what error messages call the image, such as its file name.
      max_pixels: the largest height x width that is accepted.

    Raises:
      DatasetError: the file is no such image, is cut off, or is larger than allowed.
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


def _open(data: bytes, name: str) -> ImageFile.ImageFile:
    """Reads a header with Pillow."""
    reader = next((r for m, r in _HEADER_READERS.items() if data.startswith(m)), None)
    try:
        if reader:
            return reader(io.BytesIO(data))
    except Exception:  # Pillow's readers fail in many ways on damaged files.
        pass
    raise _not_an_image(data, name)


def _not_an_image(data: bytes, name: str) -> DatasetError:
    return DatasetError(
        f"{name}: the file is not an image, or it is damaged or truncated"
        f" ({len(data)} bytes)."
    )


def _orientation(image: ImageFile.ImageFile) -> int:
    """Finds the orientation; damaged EXIF data count as upright."""
    try:
        tags = getattr(image, "tag_v2", None)  # That of a TIFF file.
        if tags is None:
            tags = Image.Exif()
            tags.load(image.info.get("exif", b""))
        value = tags.get(_ORIENTATION_TAG, 1)
    except Exception:
        return 1
    return value if value in range(1, 9) else 1


def annotated_orientation(
    header: Header, size: tuple[int, int], applied: bool | None, *, name: str
) -> tuple[int, bool]:
    """Decides how to turn the pixels of a file that a dataset has annotations for.

    Some datasets are about pixels as stored (pycocotools ignores EXIF), most about
    upright images (annotation tools show them so, and the original reads them so).  A
    field of the image may tell, else the size does.  If both fit it is upright.

    Args:
      header: of the file.
      size: (height, width) in pixels that the dataset states.
      applied: whether the annotations are about the upright image; None if the dataset
        does not tell.
      name: what error messages call the image.

    Returns:
      The orientation 1..8 to turn the stored pixels by, and whether the dataset tells.

    Raises:
      DatasetError: the file has another size than stated.
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


def image_files(folder: Path) -> list[Path]:
    """Lists the images of a folder, by their suffix, in order of name."""
    return [p for p in sorted(folder.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES]


def decode_image(
    data: bytes,
    *,
    name: str,
    orientation: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Decodes an image file to 8-bit RGB.

    Grayscale and palette images become RGB, transparency is dropped.  Of images with
    more than 8 bits the upper 8 bits are kept, counted from the depth that the largest
    value needs: 8, 10, 12, 14 or 16 bits.

    Args:
      data: the encoded file, see `read_header`.
      name: what error messages call the image, such as its file name.
      orientation: how to turn the pixels as stored, 1..8; None turns them upright, by
        the header, and checks the size that this states.
      max_pixels: the largest height x width that is accepted then.

    Returns:
      [height, width, 3] uint8 RGB, contiguous.

    Raises:
      DatasetError: the file is damaged or too large.
    """
    if orientation is None:
        orientation = read_header(data, name=name, max_pixels=max_pixels).orientation
    image = _stored_pixels(data, name)
    if image.dtype != np.uint8:
        image = (image >> (_depth(image) - 8)).astype(np.uint8)
    return _turned(image, orientation)


def significant_bits(data: bytes, *, name: str) -> int:
    """Tells the depth that `decode_image` takes the upper 8 bits of.

    Args:
      data: the encoded file.
      name: what error messages call the image.

    Returns:
      8 for files of 8 bits, else 8, 10, 12, 14 or 16 by the largest value.
    """
    return 8 if data.startswith(_JPEG) else _depth(_stored_pixels(data, name))


def _depth(image: np.ndarray) -> int:
    return next(bits for bits in _DEPTHS_BITS if image.max(initial=0) < 1 << bits)


def _stored_pixels(data: bytes, name: str) -> np.ndarray:
    """Decodes to [h, w, 3] RGB as stored, uint8 or uint16."""
    try:
        is_jpeg = data.startswith(_JPEG)
        if is_jpeg and simplejpeg.decode_jpeg_header(data)[2] not in _CMYK_SPACES:
            return simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)
    except ValueError as error:
        raise DatasetError(
            f"{name}: the JPEG file is damaged or truncated ({error})."
        ) from error
    image = _imdecode(data) if _is_complete(data) else None
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise _not_an_image(data, name)
    if data.startswith(_TIFF):  # OpenCV turns them, whatever it is told.
        header = read_header(data, name=name, max_pixels=image.size)
        return _turned(image, _UNDONE_BY.get(header.orientation, header.orientation))
    return image


def _imdecode(data: bytes) -> np.ndarray | None:
    """Runs OpenCV's decoder; None where it fails in whatever way."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _is_complete(data: bytes) -> bool:
    """Whether PNG and JPEG data have their end: OpenCV fills up what is missing."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return b"IEND" in data[-64:]
    if data.startswith(_JPEG):
        return b"\xff\xd9" in data[-64:]
    return bool(data)


def _turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turns pixels of an EXIF orientation 1..8 upright."""
    if orientation >= 5:  # 5: transposed; 6, 7, 8: and flipped.
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
