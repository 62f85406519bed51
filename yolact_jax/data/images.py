"""RGB pixels of image files, arrays and PIL images."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageOps

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.headers import (
    JPEG,
    MAX_PIXELS,
    TIFF,
    not_an_image,
    read_file,
    read_header,
)

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_UNDONE_BY = {6: 8, 8: 6}
_CMYK_SPACES = ("CMYK", "YCCK")
_DEPTHS_BITS = (8, 10, 12, 14, 16)


def read_image(image: Any, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Turns an image of any kind into 8-bit RGB; transparency is dropped.

    Args:
      image: a path; a PIL image; or a uint8 array, RGB [h, w, 3], RGBA [h, w, 4] or
        gray [h, w] or [h, w, 1].
      max_pixels: the largest file that is accepted, height x width.

    Returns:
      [h, w, 3] uint8 RGB, turned upright if there is an EXIF orientation.

    Raises:
      ValueError: if the file is missing, damaged or too large, or is no image.
    """
    if isinstance(image, str | os.PathLike):
        data = read_file(Path(image))
        return decode_image(data, name=str(image), max_pixels=max_pixels)
    if isinstance(image, Image.Image):
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    return _rgb_of_array(image)


def _rgb_of_array(image: Any) -> np.ndarray:
    array = image if isinstance(image, np.ndarray) else np.asarray(image)
    if array.ndim == 2:
        array = array[..., None]
    fits = array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] in (1, 3, 4)
    if not fits or 0 in array.shape:
        raise ValueError(
            f"`image` must be a path, a PIL image, or a uint8 array of shape [h, w], "
            f"[h, w, 3] (RGB) or [h, w, 4] (RGBA); got {_word(image)}."
        )
    return array[..., :3] if array.shape[2] > 1 else array.repeat(3, axis=2)


def _word(image: Any) -> str:
    kind = type(image).__name__
    return f"{image.dtype} {image.shape}" if hasattr(image, "shape") else kind


def decode_image(
    data: bytes,
    *,
    name: str,
    orientation: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Decodes an image file to 8-bit RGB.

    Grayscale and palette images become RGB, transparency is dropped.  Images with more
    than 8 bits keep the upper 8, counted from the depth that the largest value needs:
    8, 10, 12, 14 or 16 bits.

    Args:
      data: the encoded file, see `read_header`.
      name: what error messages call the image, such as its file name.
      orientation: how to turn the pixels as stored, 1..8; None turns them upright, by
        the header, and checks the size that this states.
      max_pixels: the largest height x width that is accepted then.

    Returns:
      [height, width, 3] uint8 RGB, contiguous.

    Raises:
      DatasetError: if the file is damaged or too large.
    """
    if orientation is None:
        orientation = read_header(data, name=name, max_pixels=max_pixels).orientation
    image = _stored_pixels(data, name)
    if image.dtype != np.uint8:
        image = (image >> (_depth(image) - 8)).astype(np.uint8)
    return _turned(image, orientation)


def significant_bits(data: bytes, *, name: str) -> int:
    """Returns the depth that `decode_image` keeps the upper 8 bits of.

    It is 8 for files of 8 bits, else 8, 10, 12, 14 or 16 by the largest value.
    """
    return 8 if data.startswith(JPEG) else _depth(_stored_pixels(data, name))


def _depth(image: np.ndarray) -> int:
    return next(bits for bits in _DEPTHS_BITS if image.max(initial=0) < 1 << bits)


def _stored_pixels(data: bytes, name: str) -> np.ndarray:
    """Decodes to [h, w, 3] RGB as stored, uint8 or uint16."""
    try:
        is_jpeg = data.startswith(JPEG)
        if is_jpeg and simplejpeg.decode_jpeg_header(data)[2] not in _CMYK_SPACES:
            return simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)
    except ValueError as error:
        raise DatasetError(
            f"{name}: the JPEG file is damaged or truncated ({error})."
        ) from error
    image = _imdecode(data) if _is_complete(data) else None
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise not_an_image(data, name)
    if data.startswith(TIFF):  # OpenCV turns them in any case.
        header = read_header(data, name=name, max_pixels=image.size)
        return _turned(image, _UNDONE_BY.get(header.orientation, header.orientation))
    return image


def _imdecode(data: bytes) -> np.ndarray | None:
    """Runs OpenCV's decoder; None where it fails, however it fails."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _is_complete(data: bytes) -> bool:
    """Whether PNG and JPEG data have their end; OpenCV makes up what is missing."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return b"IEND" in data[-64:]
    if data.startswith(JPEG):
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
