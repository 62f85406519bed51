"""Pixels of image files, arrays and PIL images, as RGB or other channels."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageOps

from yolact_jax.data import tiff
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.headers import (
    JPEG,
    MAX_PIXELS,
    TIFF,
    not_an_image,
    read_file,
    read_header,
)
from yolact_jax.data.pixels import RGB, Pixels, depth_bits, shown
from yolact_jax.data.turning import turned, turned_back

IMAGE_SUFFIXES = (
    *(".bmp", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff"),
    ".webp",
)
_CMYK_SPACES = ("CMYK", "YCCK")
_PLAIN_MODES = ("L", "LA", "RGB", "RGBA", "F")
_PNG_END = b"IEND\xaeB`\x82"
_DTYPES = (np.uint8, np.uint16)


def read_image(
    image: Any, *, max_pixels: int = MAX_PIXELS, pixels: Pixels = RGB
) -> np.ndarray:
    """Turns an image of any kind into channels of 8 bits; arguments as `read_values`.

    Args:
      image: what to read.
      max_pixels: the largest file that is accepted, height x width.
      pixels: how many channels, and how their numbers become 0..255.

    Returns:
      [h, w, N] uint8, N = 3 for RGB, turned upright if there is an EXIF orientation.
    """
    values = read_values(image, max_pixels=max_pixels, pixels=pixels)
    return pixels.scaled(values)


def read_values(
    image: Any, *, max_pixels: int = MAX_PIXELS, pixels: Pixels = RGB
) -> np.ndarray:
    """Turns an image of any kind into an array of its numbers.

    Args:
      image: a path; a PIL image; or a uint8 or uint16 array [h, w, N].  For RGB it may
        also be gray, [h, w] or [h, w, 1], or RGBA [h, w, 4], whose alpha is dropped;
        for one channel it may be [h, w].
      max_pixels: the largest file that is accepted, height x width.
      pixels: how many channels, N.

    Returns:
      [h, w, N] uint8 or uint16, turned upright if there is an EXIF orientation.

    Raises:
      ValueError: if the file is missing, damaged or too large, is no image, or has
        other channels.
    """
    if isinstance(image, str | os.PathLike):
        data, name = read_file(Path(image)), str(image)
        return decode_values(data, name=name, max_pixels=max_pixels, pixels=pixels)
    if isinstance(image, Image.Image):
        image = _array_of(image, pixels.channels)
    return _of_array(image, pixels.channels)


def _array_of(image: Image.Image, channels: int) -> np.ndarray:
    """Takes the numbers of a PIL image; colors as RGB where that is wanted."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits, or 32 of which 16 are used.
        values = np.asarray(image)
        fits = 0 <= values.min(initial=0) <= values.max(initial=0) < 1 << 16
        return values.astype(np.uint16) if fits else values
    if image.mode == "1":
        image = image.convert("L")
    # Numbers of other modes are places in a palette, or colors of another kind.
    elif channels == 3 or image.mode not in _PLAIN_MODES:
        image = image.convert("RGB")
    return np.asarray(image)


def _of_array(image: Any, channels: int) -> np.ndarray:
    array = image if isinstance(image, np.ndarray) else np.asarray(image)
    if array.ndim == 2:
        array = array[..., None]
    allowed = (1, 3, 4) if channels == 3 else (channels,)
    fits = array.dtype in _DTYPES and array.ndim == 3 and array.shape[2] in allowed
    if not fits or 0 in array.shape:
        shapes = {1: "[h, w]", 3: "[h, w], [h, w, 3] (RGB) or [h, w, 4] (RGBA)"}
        raise ValueError(
            f"`image` must be a path, a PIL image, or a uint8 or uint16 array of shape "
            f"{shapes.get(channels, f'[h, w, {channels}]')}; got {_word(image)}."
        )
    if channels != 3:
        return array
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
    pixels: Pixels = RGB,
) -> np.ndarray:
    """Decodes an image file to channels of 8 bits, RGB by default.

    For RGB, grayscale and palette images become RGB, and transparency is dropped.
    Without a window, images with more than 8 bits keep the upper 8, counted from the
    depth that the largest value needs: 8, 10, 12, 14 or 16 bits.

    Args:
      data: the encoded file, see `read_header`.
      name: what error messages call the image, such as its file name.
      orientation: how to turn the pixels as stored, 1..8; None turns them upright, by
        the header, and checks the size that this states.
      max_pixels: the largest height x width that is accepted then.
      pixels: how many channels, and how their numbers become 0..255.

    Returns:
      [height, width, N] uint8, contiguous.

    Raises:
      DatasetError: if the file is damaged or too large, or has other channels.
    """
    values = decode_values(
        data,
        name=name,
        orientation=orientation,
        max_pixels=max_pixels,
        pixels=pixels,
    )
    return pixels.scaled(values)


def decode_values(
    data: bytes,
    *,
    name: str,
    orientation: int | None = None,
    max_pixels: int = MAX_PIXELS,
    pixels: Pixels = RGB,
) -> np.ndarray:
    """Decodes an image file to its numbers, [height, width, N] uint8 or uint16.

    For three channels, files are read as RGB; of a TIFF file of more pages, the first,
    unless there are three with one sample each.  For others, N must be the number of
    channels of the file: gray, RGB, RGBA, or of a TIFF file the samples of all pages.
    Arguments and errors are those of `decode_image`.
    """
    if orientation is None:
        orientation = read_header(data, name=name, max_pixels=max_pixels).orientation
    channels = pixels.channels
    pages = tiff.pages(data) if data.startswith(TIFF) else []
    is_stack = [page.samples for page in pages] == [1, 1, 1]
    if channels == 3 and not is_stack:
        if not pages or pages[0].is_picture:
            return turned(_stored_rgb(data, pages[:1], name), orientation)
        if pages[0].samples == channels:
            pages = pages[:1]
    there = tiff.num_channels(pages)
    if there and there != channels:  # Before many pages are decoded.
        raise _other_channels(name, there, channels)
    values = tiff.decode(data, pages, name) if pages else _stored(data, name)
    if values.shape[2] != channels:
        raise _other_channels(name, values.shape[2], channels)
    return turned(values, orientation)


def _other_channels(name: str, there: int, wanted: int) -> DatasetError:
    return DatasetError(
        f"{name}: has {there} channels; config.data.channels is {wanted}, and must be "
        f"the number that the images have."
    )


def preview(data: bytes, *, name: str) -> np.ndarray:
    """Decodes a picture of a file of any number of channels, [h, w, 3] uint8 RGB.

    Of a file with pages, it is the first.

    Raises:
      DatasetError: as for `decode_image`.
    """
    first = tiff.pages(data)[:1] if data.startswith(TIFF) else []
    if not first or first[0].is_picture:
        return decode_image(data, name=name)
    orientation = read_header(data, name=name).orientation
    values = turned(tiff.decode(data, first, name), orientation)
    return shown(Pixels(first[0].samples).scaled(values))


def significant_bits(data: bytes, *, name: str, pixels: Pixels = RGB) -> int:
    """Returns the depth that `decode_image` keeps the upper 8 bits of.

    It is 8 for files of 8 bits, else 8, 10, 12, 14 or 16 by the largest value.
    """
    if data.startswith(JPEG):
        return 8
    return depth_bits(decode_values(data, name=name, orientation=1, pixels=pixels))


def _stored_rgb(data: bytes, pages: list[tiff.Page], name: str) -> np.ndarray:
    """Decodes to [h, w, 3] RGB as stored, uint8 or uint16; `pages` of a TIFF file."""
    for page in pages:
        image = tiff.decode_rgb(data, page, name)
        if image is not None:
            return image
    try:
        is_jpeg = data.startswith(JPEG)
        if is_jpeg and simplejpeg.decode_jpeg_header(data)[2] not in _CMYK_SPACES:
            return simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)
    except ValueError as error:
        raise DatasetError(
            f"{name}: the JPEG file is damaged or truncated ({error})."
        ) from error
    image = _imdecode(data) if _is_complete(data) else None
    if image is None or image.dtype not in _DTYPES:
        raise not_an_image(data, name)
    if data.startswith(TIFF):  # OpenCV turns them in any case.
        header = read_header(data, name=name, max_pixels=image.size)
        return turned_back(image, header.orientation)
    return image


def _stored(data: bytes, name: str) -> np.ndarray:
    """Decodes to [h, w, n] as stored, with the channels that the file has."""
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    image = _imdecode(data, flags) if _is_complete(data) else None
    if image is None or image.dtype not in _DTYPES:
        raise not_an_image(data, name)
    return image


def _imdecode(data: bytes, flags: int | None = None) -> np.ndarray | None:
    """Runs OpenCV's decoder, to RGB by default; None where it fails, however."""
    if flags is None:
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        return None if image is None else tiff.in_rgb_order(image)
    except cv2.error:
        return None


def _is_complete(data: bytes) -> bool:
    """Whether PNG and JPEG data have their end; OpenCV makes up what is missing."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _PNG_END in data  # Some programs add bytes of their own after it.
    if data.startswith(JPEG):
        return b"\xff\xd9" in data[-64:]
    return bool(data)
