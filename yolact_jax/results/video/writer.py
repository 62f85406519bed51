"""MP4 files that can be watched up to the last second while they are written."""

import contextlib
import logging
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from yolact_jax.data.video import Video, import_av

_LOGGER = logging.getLogger(__name__)
_CODEC = "libx264"
_SECONDS_BETWEEN_KEY_FRAMES = 2
_BT709 = 1  # number of the color space in the standard, ITU-T H.273
# A fragment a second while it is written; at the end a file with one index, as usual.
_CONTAINER_OPTIONS = {
    "movflags": "hybrid_fragmented+delay_moov",
    "frag_duration": "1000000",
    "flush_packets": "1",
}


class VideoWriter:
    """Writes pictures of one size as H.264, with the times of their frames."""

    def __init__(self, path: Path, video: Video, size: tuple[int, int], sound: Any):
        """Starts a file; see `open_writer`."""
        self._av = import_av()
        self._video = video
        self._file = self._av.open(
            os.fspath(path), "w", format="mp4", container_options=_CONTAINER_OPTIONS
        )
        self._stream = self._add_stream(*size)
        self._sound = _Sound(sound, self._file, path) if sound else None

    def _add_stream(self, height: int, width: int) -> Any:
        rate = self._video.frame_rate
        distance = max(1, round(_SECONDS_BETWEEN_KEY_FRAMES * rate))
        # Without "zerolatency", frames wait in the encoder for those to come.
        options = {"preset": "veryfast", "crf": "20", "tune": "zerolatency"}
        stream = self._file.add_stream(_CODEC, rate=rate, options=options)
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt, stream.time_base = "yuv420p", self._video.tick_s
        context = stream.codec_context
        context.gop_size, context.time_base = distance, self._video.tick_s
        context.sample_aspect_ratio = self._video.pixel_aspect
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = self._av.video.reformatter.ColorRange.MPEG
        return stream

    def write(self, picture: np.ndarray, ticks: int) -> None:
        """Adds a picture, and the sound up to it.

        Args:
          picture: [h, w, 3] uint8 RGB; an odd last row or column is repeated.
          ticks: when to show it, more than that of the picture before.
        """
        if self._sound:
            self._sound.copy_until(ticks * self._video.tick_s)
        height, width = picture.shape[:2]
        padding = (0, height % 2), (0, width % 2), (0, 0)
        if height % 2 or width % 2:
            picture = np.pad(picture, padding, mode="edge")
        frame = self._av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
        frame.pts, frame.time_base = ticks, self._video.tick_s
        self._file.mux(self._stream.encode(frame))

    def close(self, *, complete: bool) -> None:
        """Ends the file, with the rest of the sound if the video is complete."""
        try:
            self._file.mux(self._stream.encode())
            if self._sound and complete:
                self._sound.copy_until(None)
        finally:
            self._file.close()


class _Sound:
    """Copies the packets of a file's sound as they are."""

    def __init__(self, source: Any, file: Any, path: Path):
        self._packets = self._next = None
        audio = source.streams.audio[0] if source.streams.audio else None
        if audio is None:
            return
        name = audio.codec_context.name if audio.codec_context else "unknown format"
        if name not in file.supported_codecs:
            _LOGGER.warning("%s has no sound: mp4 files cannot hold %s.", path, name)
            return
        self._file, self._stream = file, file.add_stream_from_template(audio)
        self._packets = source.demux(audio)

    def copy_until(self, seconds: Fraction | None) -> None:
        """Copies all packets before a time, or all that are left."""
        if self._packets is None:
            return
        packet = self._next or next(self._packets, None)
        while packet is not None and packet.dts is not None:
            if seconds is not None and packet.dts * packet.time_base > seconds:
                break
            packet.stream = self._stream
            self._file.mux(packet)
            packet = next(self._packets, None)
        self._next = packet
        if packet is None or packet.dts is None:
            self._packets = None


@contextlib.contextmanager
def open_sound(source: Path | str | int) -> Iterator[Any]:
    """Opens a file a second time, for its sound; None for what is no file."""
    av = import_av()
    if not isinstance(source, Path):
        yield None
        return
    with av.open(os.fspath(source)) as container:
        yield container
