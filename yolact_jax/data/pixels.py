"""How the numbers in image files become the channels that the network sees."""

import dataclasses
import functools
from typing import Any

import numpy as np

from yolact_jax.config import Data

_DEPTHS_BITS = (8, 10, 12, 14, 16)
PIXEL_FIELDS = (
    "data.channels",
    "data.window_low",
    "data.window_high",
    "data.window_percentiles",
    "data.channel_mean",
    "data.channel_std",
)
"""Fields of the config that say how files become channels."""


@dataclasses.dataclass(frozen=True)
class Pixels:
    """From the numbers of a file, 8 or 16 bits, to channels of 8 bits.

    Attributes:
      channels: N, of the files and of the network input; 3 are RGB.
      low: [N], the number of each channel that becomes 0; () for the upper 8 bits.
      high: [N], the number that becomes 255.
      mean: [N], of each channel after that, 0..255; () for what `view.MEAN_RGB` has.
      std: [N], its standard deviation.
      percentiles: by which the window was measured; () if it was not, or before.
    """

    channels: int
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    percentiles: tuple[float, ...] = dataclasses.field(default=(), compare=False)

    @classmethod
    def of(cls, data: Data) -> "Pixels":
        """Returns those of a config.

        Raises:
          ValueError: if it leaves the window open, which only training measures.
        """
        if data.window_percentiles:
            raise ValueError(
                f"config.data.window_percentiles is {data.window_percentiles}, which "
                f"are measured where a dataset is; it must be () here, with the "
                f"numbers themselves in config.data.window_low and window_high."
            )
        return cls(
            data.channels,
            data.window_low,
            data.window_high,
            data.channel_mean,
            data.channel_std,
        )

    def fields(self) -> dict[str, Any]:
        """Returns `PIXEL_FIELDS` that say the same, for `Config.replace`."""
        values = self.channels, self.low, self.high, (), self.mean, self.std
        return dict(zip(PIXEL_FIELDS, values, strict=True))

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Maps numbers to 0..255, linearly from the window, rounded and clipped.

        Args:
          values: [h, w, N] uint8 or uint16.

        Returns:
          [h, w, N] uint8; without a window the upper 8 bits, see `depth_bits`.
        """
        if self.low:
            tables = _tables(self.low, self.high, np.iinfo(values.dtype).max)
            channels = zip(tables, np.moveaxis(values, -1, 0), strict=True)
            return np.stack([table[channel] for table, channel in channels], axis=-1)
        if values.dtype == np.uint8:
            return values
        return (values >> (depth_bits(values) - 8)).astype(np.uint8)


RGB = Pixels(channels=3)
"""Of pictures as published models see them."""


def depth_bits(values: np.ndarray) -> int:
    """Returns the depth that the largest of unsigned numbers needs: 8, 10, ... 16."""
    return next(b for b in _DEPTHS_BITS if values.max(initial=0) < 1 << b)


def shown(image: np.ndarray) -> np.ndarray:
    """Returns a picture of [h, w, N] uint8: channels 1 to 3 as RGB, or the first gray.

    Returns:
      [h, w, 3] uint8; the image itself if it has three channels.
    """
    channels = image.shape[2]
    if channels == 3:
        return image
    return image[..., :3] if channels > 3 else image[..., :1].repeat(3, axis=2)


@functools.lru_cache(maxsize=8)
def _tables(
    low: tuple[float, ...], high: tuple[float, ...], largest: int
) -> np.ndarray:
    """[N, largest + 1] uint8, what each number of each channel becomes."""
    start, end = (np.array(x)[:, None] for x in (low, high))
    scaled = (np.arange(largest + 1) - start) * (255.0 / (end - start))
    return np.rint(scaled).clip(0, 255).astype(np.uint8)
