"""EXIF orientation of JPEG files, and applying an orientation to pixels."""

import struct

import numpy as np

_ORIENTATION_TAG = 0x0112
_SHORT = 3


def jpeg_orientation(data: bytes) -> int:
    """Reads the orientation of an encoded JPEG.

    Args:
      data: the encoded file.

    Returns:
      The EXIF orientation 1..8; 1, upright, if the file does not tell.
    """
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xDA:  # The compressed pixels start here.
            break
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at + 4 : at + 2 + length]
        if marker == 0xE1 and segment.startswith(b"Exif\0\0"):
            return _tiff_orientation(segment[6:])
        at += 2 + length
    return 1


def _tiff_orientation(tiff: bytes) -> int:
    """Finds the orientation in the first directory of a TIFF header."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 10:
        return 1
    (offset,) = struct.unpack_from(order + "I", tiff, 4)
    if offset + 2 > len(tiff):
        return 1
    (num_entries,) = struct.unpack_from(order + "H", tiff, offset)
    for at in range(offset + 2, offset + 2 + 12 * num_entries, 12):
        if at + 10 > len(tiff):
            break
        tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, at)
        if tag == _ORIENTATION_TAG:
            return value if kind == _SHORT and 1 <= value <= 8 else 1
    return 1


def oriented(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turns stored pixels upright.

    Args:
      image: [h, w, 3] pixels as stored.
      orientation: EXIF orientation 1..8.

    Returns:
      [h, w, 3], or [w, h, 3] for orientations 5..8; contiguous.
    """
    if orientation >= 5:  # 5: transposed; 6, 7, 8: and flipped.
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
