"""Line charts as pictures, drawn with OpenCV."""

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np

# Okabe and Ito's colours, which colour-blind readers can tell apart; RGB.
_COLORS = (
    (0, 0, 0),
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
)
_ZOOM = 3  # Drawn larger and shrunk: OpenCV's own anti-aliasing is poor.
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_INK, _GRID = (60, 60, 60), (225, 225, 225)
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 18, 58, 38  # margins around the axes
_TARGET_TICKS = 5


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
      name: for the legend.
      x: [n] positions.
      y: [n] values; those that are not finite leave a gap.
    """

    name: str
    x: np.ndarray
    y: np.ndarray


def draw_chart(
    title: str,
    lines: Sequence[Line],
    *,
    log_y: bool = False,
    size: tuple[int, int] = (640, 400),
) -> np.ndarray:
    """Draws lines over a common x axis.

    Args:
      title: above the axes.
      lines: at most 7; with nothing finite to draw the axes stay empty.
      log_y: logarithmic y axis; values that are not positive leave a gap.
      size: (width, height) of the picture, pixels.

    Returns:
      [height, width, 3] uint8 RGB.
    """
    width, height = size
    picture = np.full((height * _ZOOM, width * _ZOOM, 3), 255, np.uint8)
    lines = [_transformed(line, log_y) for line in lines]
    x_axis = _Axis.over([line.x for line in lines], _LEFT, width - _RIGHT)
    y_axis = _Axis.over([line.y for line in lines], height - _BOTTOM, _TOP)
    _draw_axes(picture, x_axis, y_axis, log_y)
    _write(picture, title, (_LEFT, 22), scale=0.55)
    left = _LEFT
    for line, color in zip(lines, _COLORS, strict=False):
        _draw_line(picture, line, x_axis, y_axis, color)
        _stroke(picture, [(left, 41), (left + 16, 41)], color, 2.4)
        left += 22 + _write(picture, line.name, (left + 21, 45), scale=0.4) + 16
    shrunk = (width, height)
    return cv2.resize(picture, shrunk, interpolation=cv2.INTER_AREA)


@dataclasses.dataclass(frozen=True)
class _Axis:
    """Maps values from `low` to `high` onto pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[np.ndarray], start: float, end: float) -> "_Axis":
        """Makes an axis that shows all values."""
        known = np.concatenate([np.ravel(v) for v in values] or [np.zeros(0)])
        known = known[np.isfinite(known)]
        low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
        margin = 0.04 * (high - low) or 0.5
        return cls(float(low - margin), float(high + margin), start, end)

    def pixels(self, values: np.ndarray | float) -> np.ndarray:
        """Positions of values."""
        share = (np.asarray(values) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def _transformed(line: Line, log_y: bool) -> Line:
    y = np.asarray(line.y, float)
    if log_y:
        y = np.log10(np.where(y > 0, y, np.nan))
    return Line(line.name, np.asarray(line.x, float), y)


def ticks(low: float, high: float) -> np.ndarray:
    """Chooses round numbers in a range, in steps of 1, 2 or 5 times a power of 10.

    Args:
      low: the least value shown.
      high: the greatest, more than `low`.

    Returns:
      [n] float64, at most 7.
    """
    rough = (high - low) / _TARGET_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    return step * np.arange(math.ceil(low / step), math.floor(high / step) + 1)


def log_ticks(low: float, high: float) -> np.ndarray:
    """Chooses round numbers between two powers of 10.

    Args:
      low: base-10 logarithm of the least value shown.
      high: that of the greatest.

    Returns:
      [n] float64, logarithms: of 1, 2 and 5 times powers of 10, or of fewer of them.
    """
    powers = np.arange(math.floor(low), math.ceil(high) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        all_of = np.sort((powers[:, None] + np.log10(factors)).ravel())
        inside = all_of[(all_of >= low) & (all_of <= high)]
        if len(inside) <= 2 * _TARGET_TICKS:
            break
    return inside


def _draw_axes(picture: np.ndarray, x_axis: _Axis, y_axis: _Axis, log_y: bool) -> None:
    (left, right), (bottom, top) = _ends(x_axis), _ends(y_axis)
    for tick in (log_ticks if log_y else ticks)(y_axis.low, y_axis.high):
        y = float(y_axis.pixels(tick))
        _stroke(picture, [(left, y), (right, y)], _GRID, 1)
        text = f"{10**tick if log_y else tick:.4g}"
        _write(picture, text, (left - 8, y + 4), scale=0.4, align=1.0)
    for tick in ticks(x_axis.low, x_axis.high):
        x = float(x_axis.pixels(tick))
        _stroke(picture, [(x, bottom), (x, bottom + 4)], _INK, 1)
        _write(picture, f"{tick:,.6g}", (x, bottom + 18), scale=0.4, align=0.5)
    _write(picture, "step", (right, bottom + 32), scale=0.4, align=1.0)
    _stroke(picture, [(left, top), (left, bottom), (right, bottom)], _INK, 1)


def _ends(axis: _Axis) -> tuple[float, float]:
    return axis.start, axis.end


def _draw_line(picture, line: Line, x_axis: _Axis, y_axis: _Axis, color) -> None:
    points = np.stack([x_axis.pixels(line.x), y_axis.pixels(line.y)], axis=-1)
    known = np.isfinite(points).all(axis=-1)
    for run in np.split(np.arange(len(points)), np.flatnonzero(~known)):
        run = run[known[run]]
        if len(run) > 1:
            _stroke(picture, points[run], color, 1.6)
    if known.sum() <= 50:  # Few values: show where they are.
        for x, y in points[known]:
            centre = round(x * _ZOOM), round(y * _ZOOM)
            cv2.circle(picture, centre, 3 * _ZOOM, color, -1, cv2.LINE_AA)


def _stroke(picture, points, color, thickness: float) -> None:
    corners = np.round(np.asarray(points) * _ZOOM).astype(np.int32)
    thickness = max(1, round(thickness * _ZOOM))
    cv2.polylines(picture, [corners], False, color, thickness, cv2.LINE_AA)


def _write(picture, text: str, origin, *, scale: float, align: float = 0.0) -> float:
    """Writes text from, around or up to a point; returns its width in pixels."""
    stroke = max(1, round(1.1 * _ZOOM * scale / 0.4))
    (width, _), _ = cv2.getTextSize(text, _FONT, scale * _ZOOM, stroke)
    corner = round(origin[0] * _ZOOM - align * width), round(origin[1] * _ZOOM)
    cv2.putText(picture, text, corner, _FONT, scale * _ZOOM, _INK, stroke, cv2.LINE_AA)
    return width / _ZOOM
