"""A window that shows pictures as they come."""

import contextlib
from collections.abc import Iterator

import cv2
import numpy as np

_TITLE = "yolact_jax"
_ESCAPE = 27


class Screen:
    """An open window."""

    def show(self, picture: np.ndarray) -> bool:
        """Shows [h, w, 3] uint8 RGB; returns False once the user wants to end."""
        cv2.imshow(_TITLE, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        return cv2.waitKey(1) & 0xFF not in (_ESCAPE, ord("q"))


@contextlib.contextmanager
def open_screen() -> Iterator[Screen]:
    """Opens a window, which the keys q and Escape ask to close.

    Raises:
      ValueError: if OpenCV can show no windows.
    """
    try:
        cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL)
    except cv2.error as error:
        raise ValueError(
            "`show` needs a display and an OpenCV with windows: pip uninstall "
            "opencv-python-headless, then pip install opencv-python."
        ) from error
    try:
        yield Screen()
    finally:
        cv2.destroyWindow(_TITLE)
