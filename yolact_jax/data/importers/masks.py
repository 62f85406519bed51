"""Masks in picture files: the numbers of the objects, and their run lengths."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from yolact_jax.data import rle

_VOID_NUMBER, _VOID_COLOR = 255, (224, 224, 192)  # Of Pascal VOC: no object's pixels.
# Fewer pixels in a row than any number of a drawn mask has, and how many may.
_SHORT_RUN_PX, _MAX_SCATTERED = 1.5, 8
_WIDE = ";16"  # In Pillow's name for pixels of which it would drop the lower bits.


def decode(
    data: bytes, formats: tuple[str, ...], check_size: Callable[[tuple[int, int]], Any]
) -> np.ndarray:
    """Decodes a mask to [height, width] integers, one for each object.

    They are values, palette indices, or 65536 R + 256 G + B.  Void and transparent
    pixels become 0.  Void is the color of Pascal VOC, and index 255 of a palette if
    there are other objects.

    Args:
      data: the encoded file.
      formats: those to accept, as Pillow calls them.
      check_size: called with (height, width) before anything is decoded.

    Raises:
      ValueError: with what the file "is"; and what `check_size` raises.
    """
    try:
        with Image.open(io.BytesIO(data), formats=formats) as picture:
            check_size((picture.height, picture.width))
            num_pictures = getattr(picture, "n_frames", 1)
            if num_pictures > 1:
                raise ValueError(f"is a file of {num_pictures} pictures, not one")
            rawmodes = [str(tile[3]) for tile in picture.tile]
            return _numbers(picture, wide=any(_WIDE in mode for mode in rawmodes))
    except UnidentifiedImageError as error:
        raise ValueError(f"is not a sound {'/'.join(formats)} file") from error
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"is not a sound {'/'.join(formats)} file ({error})"
        ) from error


def _numbers(picture: Image.Image, wide: bool) -> np.ndarray:
    """The numbers of an open picture."""
    values = np.asarray(picture)
    if picture.mode == "P":
        return _without_void(values, picture.getpalette() or [])
    if values.ndim == 2 and values.dtype.kind in "bui":
        return values
    if picture.mode not in ("RGB", "RGBA", "LA") or wide:
        raise ValueError(
            f"is a picture of mode {picture.mode}{' with 16 bits' if wide else ''};"
            " masks have one channel, a palette, or colors of 8 bits"
        )
    # One number of 32 bits a pixel: red, green, blue, alpha.
    colors = np.asarray(picture.convert("RGBA")).view(">u4")[..., 0].astype(np.uint32)
    numbers = colors >> 8
    is_void = numbers == int.from_bytes(bytes(_VOID_COLOR), "big")
    return np.where(is_void | (colors & 255 == 0), 0, numbers)


def _without_void(indices: np.ndarray, palette: list[int]) -> np.ndarray:
    """Sets void to 0, the background."""
    is_void = indices == _VOID_NUMBER
    color = tuple(palette[3 * _VOID_NUMBER : 3 * _VOID_NUMBER + 3])
    if color == _VOID_COLOR or (indices[~is_void] > 0).any():
        return np.where(is_void, 0, indices)
    return indices


def run_lengths(numbers: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yields the run lengths of each number except 0 in [height, width] integers.

    Raises:
      ValueError: if the numbers are those of a smoothed mask or a photo.
    """
    columns = numbers.T.ravel()
    starts = np.flatnonzero(columns[1:] != columns[:-1]) + 1
    starts = np.concatenate([[0], starts])
    ends = np.append(starts[1:], len(columns))
    # Runs of one number lie together, in their order.
    order = np.argsort(columns[starts], kind="stable")
    order = order[columns[starts[order]] > 0]
    found, firsts = np.unique(columns[starts[order]], return_index=True)
    owned = np.split(order, firsts[1:])
    short = sum((ends[o] - starts[o]).mean() < _SHORT_RUN_PX for o in owned if len(o))
    if short > max(len(found) / 2, _MAX_SCATTERED):
        raise ValueError(
            f"has {len(found)} numbers, most of which are scattered pixels: is it a"
            " smoothed mask or a photo? Each object needs one number"
        )
    for runs in owned if len(found) else []:
        edges = np.stack([starts[runs], ends[runs]], axis=1).ravel()
        counts = np.diff(edges, prepend=0, append=len(columns))
        string = rle.string_from_counts(counts.tolist(), numbers.shape)
        yield {"size": list(numbers.shape), "counts": string.decode()}
