"""Decoding image files to RGB pixels."""

from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from yolact_jax.data import exif
from yolact_jax.data.errors import DatasetError

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_CMYK_SPACES = ("CMYK", "YCCK")


def image_files(folder: Path) -> list[Path]:
    """Lists the images of a folder, by their suffix, in order of name."""
    return [p for p in sorted(folder.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES]


def decode_image(
    data: bytes, *, name: str, expected_size: tuple[int, int] | None = None
) -> np.ndarray:
    """Decodes an image file to 8-bit RGB.

    Grayscale and palette images become RGB, transparency is dropped, and of 16-bit
    images the upper 8 bits are kept.  A dataset states the size of its images: pixels
    are taken as stored if they have that size, else turned by the file's EXIF
    orientation.  Without a stated size the orientation is applied.

    Args:
      data: the encoded file: JPEG, PNG, or another format OpenCV reads.
      name: what error messages call the image, such as its file name.
      expected_size: (height, width) in pixels that the dataset states, if any.

    Returns:
      [height, width, 3] uint8 RGB.

    Raises:
      DatasetError: the file is damaged or has another size than stated.
    """
    is_jpeg = data[:3] == b"\xff\xd8\xff"
    image = _decode_jpeg(data, name) if is_jpeg else _decode_other(data, name)
    if expected_size is not None and image.shape[:2] == tuple(expected_size):
        return image
    upright = _upright(image, data, is_jpeg)
    if expected_size is not None and upright.shape[:2] != tuple(expected_size):
        raise DatasetError(
            f"{name}: the image has {image.shape[0]} x {image.shape[1]} pixels (height"
            f" x width), but the annotations state {expected_size[0]} x"
            f" {expected_size[1]}."
        )
    return upright


def _decode_jpeg(data: bytes, name: str) -> np.ndarray:
    """Decodes a JPEG as stored; truncated files are errors."""
    try:
        if simplejpeg.decode_jpeg_header(data)[2] in _CMYK_SPACES:
            return _decode_other(data, name)
        return simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)
    except ValueError as error:
        raise DatasetError(
            f"{name}: the JPEG file is damaged or truncated ({error})."
        ) from error


def _decode_other(data: bytes, name: str) -> np.ndarray:
    """Decodes any format OpenCV reads as stored, ignoring orientation."""
    image = _imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None or not _is_complete(data):
        raise DatasetError(
            f"{name}: the file is not an image, or it is damaged or truncated"
            f" ({len(data)} bytes)."
        )
    return image


def _imdecode(data: bytes, flags: int) -> np.ndarray | None:
    """Runs OpenCV's decoder; None where it fails in whatever way."""
    if not data:
        return None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _is_complete(data: bytes) -> bool:
    """Whether PNG and JPEG data have their end: OpenCV fills up what is missing."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return b"IEND" in data[-64:]
    if data[:3] == b"\xff\xd8\xff":
        return b"\xff\xd9" in data[-64:]
    return True


def _upright(image: np.ndarray, data: bytes, is_jpeg: bool) -> np.ndarray:
    """Applies the orientation in the file's EXIF data."""
    if is_jpeg:
        return exif.oriented(image, exif.jpeg_orientation(data))
    upright = _imdecode(data, cv2.IMREAD_COLOR)
    return image if upright is None else upright
