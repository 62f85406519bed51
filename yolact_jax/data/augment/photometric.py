"""Random changes of brightness, contrast, saturation and hue."""

import dataclasses

import cv2
import numpy as np

# Rows are processed in strips of about this many pixels, which stay in the cache.
_STRIP_PX = 16384


@dataclasses.dataclass(frozen=True)
class ColorChange:
    """What to do to the colors; the defaults do nothing.

    Attributes:
      brightness: added to all channels, of 255.
      contrast: factor of all channels.
      saturation: factor of the saturation.
      hue_degrees: added to the hue.
    """

    brightness: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue_degrees: float = 0.0

    def without_color(self) -> "ColorChange":
        """The same brightness and contrast: other channels than RGB have no hue."""
        return dataclasses.replace(self, saturation=1.0, hue_degrees=0.0)


def random_change(rng: np.random.Generator) -> ColorChange:
    """Draws a change as SSD does: each of its four parts has probability 1/2.

    SSD also draws whether contrast comes before or after saturation and hue.  That
    makes no difference here, as nothing is clipped in between.
    """
    return ColorChange(
        brightness=_maybe(rng, -32.0, 32.0, neutral=0.0),
        contrast=_maybe(rng, 0.5, 1.5, neutral=1.0),
        saturation=_maybe(rng, 0.5, 1.5, neutral=1.0),
        hue_degrees=_maybe(rng, -18.0, 18.0, neutral=0.0),
    )


def _maybe(
    rng: np.random.Generator, low: float, high: float, *, neutral: float
) -> float:
    """Draws uniformly with probability 1/2, else returns the neutral value."""
    return rng.uniform(low, high) if rng.random() < 0.5 else neutral


def apply(image: np.ndarray, change: ColorChange, *, clip: bool = True) -> np.ndarray:
    """Changes the colors of [h, w, 3] uint8 RGB; rounds and clips only at the end.

    Returns:
      uint8, or int16 if they are not clipped.
    """
    dtype, depth = (np.uint8, cv2.CV_8U) if clip else (np.int16, cv2.CV_16S)
    table = (np.arange(256) + change.brightness) * change.contrast
    if change.saturation == 1.0 and change.hue_degrees == 0.0:
        table = np.clip(np.rint(table), *((0, 255) if clip else (None, None)))
        return cv2.LUT(image, table.astype(dtype))
    table = table.astype(np.float32)
    result = np.empty(image.shape, dtype)
    rows = max(1, _STRIP_PX // image.shape[1])
    for top in range(0, len(image), rows):
        strip = cv2.LUT(image[top : top + rows], table)
        strip = _change_hsv(strip, change.saturation, change.hue_degrees)
        # Rounds and clips in one pass.
        cv2.addWeighted(
            *(strip, 1.0, strip, 0.0, 0.0),
            dst=result[top : top + rows],
            dtype=depth,
        )
    return result


def _change_hsv(image: np.ndarray, saturation: float, hue_degrees: float) -> np.ndarray:
    """Multiplies saturation and turns hue of [h, w, 3] float32 RGB, unclipped."""
    # OpenCV takes hues from 0 to any size, but none below 0.
    to_add = hue_degrees % 360.0
    hsv_to_hsv = np.array(
        [[1, 0, 0, to_add], [0, saturation, 0, 0], [0, 0, 1, 0]], np.float32
    )
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    return cv2.cvtColor(cv2.transform(hsv, hsv_to_hsv), cv2.COLOR_HSV2RGB)
