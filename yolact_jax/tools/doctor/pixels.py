"""What the doctor reports on the pixels of the images."""

import collections
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from yolact_jax.data import tiff
from yolact_jax.data.example import Example
from yolact_jax.data.headers import TIFF
from yolact_jax.data.images import significant_bits
from yolact_jax.tools.doctor.findings import Finding

_MOST_DECODED = 500
_FEW_GRAY_LEVELS = 32


def orientation_findings(split: str, examples: Iterable[Example]) -> Iterator[Finding]:
    """Lists images whose annotations may refer to upright or to stored pixels."""
    for example in examples:
        if not example.orientation_told:
            yield Finding(
                "warning",
                "orientation",
                f"{split}: image {example.image_id} ({example.file_name}) has the EXIF"
                f" orientation {example.orientation}, and its annotations are assumed"
                " to refer to the upright image; `exif_orientation_applied` of the"
                " image in the json file (true, or false for pixels as stored) decides"
                " it.",
            )


def channel_findings(split: str, examples: Iterable[Example]) -> Iterator[Finding]:
    """Counts TIFF files with more channels than the network sees."""
    more: collections.Counter[int] = collections.Counter()
    for example in examples:
        pages = tiff.pages(example.image_bytes) if _is_tiff(example) else []
        there = tiff.num_channels(pages)
        if there > max(example.pixels.channels, 4) or len(pages) in (2, 4):
            more[there] += 1
    for there, count in sorted(more.items()):
        text = f"{split}: {count} TIFF files have {there} channels, samples and pages"
        text = f"{text} together, of which the network sees those of the first page;"
        text = f"{text} --config.data.channels={there} shows it all."
        yield Finding("warning", "channels", text)


def _is_tiff(example: Example) -> bool:
    return example.image_bytes.startswith(TIFF) and example.pixels.channels == 3


def gray_findings(split: str, source: Sequence[Example]) -> Iterator[Finding]:
    """Reports images with few gray levels, and how deep images are scaled.

    Decodes at most 500 images, evenly spread.
    """
    count = min(len(source), _MOST_DECODED)
    lowest, highest, depths = 255, 0, collections.Counter()
    for index in np.unique(np.linspace(0, len(source) - 1, count).astype(int)):
        example = source[int(index)]
        where = f"{split}: image {example.image_id} ({example.file_name})"
        data = example.image_bytes
        depths[significant_bits(data, name=where, pixels=example.pixels)] += 1
        low, high = (int(level) for level in np.percentile(example.image, (0.1, 99.9)))
        lowest, highest = min(lowest, low), max(highest, high)
        if high - low < _FEW_GRAY_LEVELS:
            text = f"{where} has gray levels from {low} to {high} of 255 only."
            yield Finding("warning", "few gray levels", text)
    if depths:
        text = f"{split}: gray levels of {sum(depths.values())} images go from {lowest}"
        yield Finding("note", "gray levels", f"{text} to {highest} of 255.")
    if set(depths) - {8} and not source[0].pixels.low:
        listed = ", ".join(f"{bits} bits: {depths[bits]}" for bits in sorted(depths))
        text = f"{split}: images by the depth that their largest value needs, of which"
        text = f"{text} the network sees the upper 8 bits: {listed};"
        text = f'{text} --config.data.window_percentiles="(0.1, 99.9)" gives all images'
        text = f"{text} one range, measured on the train split."
        level = "warning" if len(depths) > 1 else "note"
        yield Finding(level, "depth", text)
