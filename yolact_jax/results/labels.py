"""Labels on pictures: text on a color, where there is room."""

from collections.abc import Sequence

import cv2
import numpy as np

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def unit_px(picture: np.ndarray) -> float:
    """The length in pixels that lines and text are proportional to."""
    return float(np.sqrt(picture.shape[0] * picture.shape[1]))


def draw_labels(
    picture: np.ndarray,
    texts: Sequence[str],
    boxes_px: Sequence[Sequence[int]],
    colors: Sequence[np.ndarray],
) -> None:
    """Writes a label at each box, in place; the first ones find room first.

    Args:
      picture: [h, w, 3] uint8 RGB.
      texts: of the labels.
      boxes_px: ``(x1, y1, x2, y2)`` of each.
      colors: [3] uint8 RGB behind each text.
    """
    line_height = max(12, round(unit_px(picture) / 28))
    taken = np.zeros(picture.shape[:2], bool)
    windows = []
    for text, box, color in zip(texts, boxes_px, colors, strict=True):
        chip = _label_chip(text, color, line_height, picture.shape)
        windows.append((_free_window(chip.shape, box, taken), chip))
        taken[windows[-1][0]] = True
    for window, chip in reversed(windows):
        picture[window] = chip


def _label_chip(text, color, line_height, picture_shape) -> np.ndarray:
    """Renders text on color, [height, width, 3] uint8, small enough for the picture."""
    zoom = 4  # OpenCV's own anti-aliasing of small text is poor
    font_scale = zoom * line_height / 42  # capitals are 22 pixels high at scale 1
    stroke = max(1, round(1.6 * font_scale))
    (width, _), _ = cv2.getTextSize(text, _FONT, font_scale, stroke)
    pad = round(zoom * line_height / 5)
    large = np.zeros((zoom * line_height, width + 2 * pad), np.uint8)
    origin = pad, (large.shape[0] + round(22 * font_scale)) // 2
    cv2.putText(large, text, origin, _FONT, font_scale, 255, stroke, cv2.LINE_AA)
    room = picture_shape[1] / large.shape[1], picture_shape[0] / large.shape[0]
    shrink = min(1 / zoom, *room)
    size = [max(1, round(side * shrink)) for side in (large.shape[1], large.shape[0])]
    ink = cv2.resize(large, size, interpolation=cv2.INTER_AREA)[..., None] / 255
    is_dark = np.dot(color, (0.299, 0.587, 0.114)) < 150  # luma of ITU-R BT.601
    return np.round(color * (1 - ink) + 255 * is_dark * ink).astype(np.uint8)


def _free_window(chip_shape, box, taken) -> tuple[slice, slice]:
    """Rows and columns for a label: at its box, in the picture, where most is free."""
    height, width = chip_shape[:2]
    x1, y1, x2, y2 = box
    corners = [(x1, y1 - height)] if y1 >= height else []
    corners += [(x1, y1), (x2 - width, y1), (x1, y2 - height), (x1, y2), (x2, y1)]
    windows = []
    for x, y in corners:
        x = min(max(x, 0), taken.shape[1] - width)
        y = min(max(y, 0), taken.shape[0] - height)
        windows.append((slice(y, y + height), slice(x, x + width)))
    return min(windows, key=lambda window: np.count_nonzero(taken[window]))
