"""Turning pixels by the orientations 1..8 of EXIF and TIFF."""

import numpy as np

TAG = 0x0112
"""Of the orientation, in EXIF and TIFF."""

_UNDONE_BY = {6: 8, 8: 6}


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turns pixels [h, w, n] of an orientation 1..8 upright; contiguous."""
    if orientation >= 5:  # 5: transposed; 6, 7, 8: and flipped.
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def turned_back(image: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes `turned`."""
    return turned(image, _UNDONE_BY.get(orientation, orientation))
