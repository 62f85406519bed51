"""Frames of video files, cameras and streams, one after the other."""

import contextlib
import dataclasses
import os
import re
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from yolact_jax.data.headers import MAX_PIXELS

VIDEO_SUFFIXES = (
    *(".3gp", ".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg"),
    *(".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"),
)
_ADDRESS = re.compile(r"(rtsps?|rtmps?|https?|udp|tcp|srt)://", re.IGNORECASE)
_SILENT = 0  # OpenCV's LOG_LEVEL_SILENT.
_USUAL_RATE = Fraction(30)
_CAMERA_CLOCK = Fraction(1, 90_000)
_TIMEOUT_S = 10.0  # of a network stream, to open and between two frames
_BROKEN_IN_A_ROW = 300  # a live stream starts in the middle, so its first are broken
_MISSING_S = Fraction(1, 2)


class VideoError(ValueError):
    """A video, camera or stream that cannot be read, or not to its end."""


@dataclasses.dataclass(frozen=True)
class Frame:
    """One picture of a video.

    Attributes:
      pixels: [h, w, 3] uint8 RGB, upright.
      number: of the frame, from 0.
      ticks: when to show it, in units of the video's `tick_s`.
    """

    pixels: np.ndarray
    number: int
    ticks: int


@dataclasses.dataclass(frozen=True)
class Video:
    """An open video.

    Attributes:
      frames: what is read when asked for; raises `VideoError`.
      frame_rate: frames per second.
      tick_s: seconds of a tick.
      pixel_aspect: width by height of a pixel.
      num_frames: as the file states, or None.
      is_live: whether frames come by the clock.
    """

    frames: Iterator[Frame]
    frame_rate: Fraction
    tick_s: Fraction
    pixel_aspect: Fraction = Fraction(1)
    num_frames: int | None = None
    is_live: bool = False


def is_address(source: str | os.PathLike) -> bool:
    """Whether a text is the address of a stream, such as ``rtsp://...``."""
    return bool(_ADDRESS.match(str(source)))


def shown(source: str | Path | int) -> str:
    """Names a source for people, without the password of an address."""
    if isinstance(source, int):
        return f"camera {source}"
    return re.sub("//[^/]*@", "//", str(source)) if is_address(source) else str(source)


def import_av() -> Any:
    """Imports PyAV.

    Raises:
      ValueError: if it is not installed.
    """
    try:
        # Optional, so not always there when types are checked.
        import av  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            'video needs the av package: pip install "yolact_jax[video]".'
        ) from error
    return av


@contextlib.contextmanager
def open_video(source: str | Path | int) -> Iterator[Video]:
    """Opens a video file, a camera or a stream.

    Frames are turned upright by the rotation that a file states.

    Args:
      source: a file; the number of a camera; or an address such as ``rtsp://...``.

    Raises:
      VideoError: if it cannot be opened; or later, from the frames, if one cannot be
        read or has another size than the first, there is none, or the file ends too
        early.
      ValueError: if the av package is missing.
    """
    name = shown(source)
    is_camera = isinstance(source, int)
    opened = _open_camera(source, name) if is_camera else _open_av(source, name)
    with opened as video:
        yield video


@contextlib.contextmanager
def _open_camera(number: int, name: str) -> Iterator[Video]:
    with _quiet_opencv():
        camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise VideoError(f"{name} does not exist, or is in use.")
        rate = Fraction(camera.get(cv2.CAP_PROP_FPS)).limit_denominator(1001)
        frames = _camera_frames(camera, name)
        rate = rate if rate > 0 else _USUAL_RATE
        yield Video(frames, rate, _CAMERA_CLOCK, is_live=True)
    finally:
        camera.release()


@contextlib.contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keeps OpenCV from naming every interface that it tries."""
    # OpenCV 4 has it at its top.
    log: Any = getattr(cv2.utils, "logging", cv2)
    level = log.getLogLevel()
    log.setLogLevel(_SILENT)
    try:
        yield
    finally:
        log.setLogLevel(level)


def _camera_frames(camera: cv2.VideoCapture, name: str) -> Iterator[Frame]:
    start, last = time.monotonic(), -1
    for index in range(sys.maxsize):
        ok, picture = camera.read()
        if not ok:
            raise VideoError(f"{name} gives no more frames after {index}.")
        last = max(last + 1, round((time.monotonic() - start) / _CAMERA_CLOCK))
        yield Frame(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), index, last)


@contextlib.contextmanager
def _open_av(source: str | Path, name: str) -> Iterator[Video]:
    av = import_av()
    options = {"rtsp_transport": "tcp"} if str(source).startswith("rtsp") else {}
    timeout = _TIMEOUT_S if is_address(source) else None
    try:
        container = av.open(str(source), options=options, timeout=timeout)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(
            f"{name} cannot be opened as a video: {_reason(error)}."
        ) from error
    with container:
        stream = _video_stream(container, name)
        rate = stream.average_rate or stream.guessed_rate or _USUAL_RATE
        is_live = is_address(source) and container.duration is None
        yield Video(
            _av_frames(av, container, stream, name, is_live),
            rate,
            stream.time_base or 1 / rate,
            stream.sample_aspect_ratio or Fraction(1),
            stream.frames or None,
            is_live,
        )


def _video_stream(container: Any, name: str) -> Any:
    """Returns the stream to decode, ready for it."""
    if not len(container.streams):
        raise VideoError(f"{name} cannot be opened as a video: it holds no streams.")
    if not container.streams.video:
        raise VideoError(f"{name} has no video stream.")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise VideoError(f"{name} is in a format for which there is no decoder.")
    context = stream.codec_context
    if context.width * context.height > MAX_PIXELS:
        raise VideoError(
            f"{name} states {context.width} x {context.height} pixels, more than "
            f"the {MAX_PIXELS} that are allowed."
        )
    stream.thread_type = "AUTO"
    return stream


def _av_frames(av, container, stream, name, is_live) -> Iterator[Frame]:
    number, last, size = 0, None, None
    rate = stream.average_rate or stream.guessed_rate or _USUAL_RATE
    tick_s = stream.time_base or 1 / rate
    step = shown = max(1, round(1 / (rate * tick_s)))
    for frame in _decoded(av, container, stream, name, is_live):
        size = size or (frame.width, frame.height)
        if size != (frame.width, frame.height):
            raise VideoError(
                f"frame {number} of {name} is {frame.width} x {frame.height} pixels, "
                f"but the first is {size[0]} x {size[1]}."
            )
        due = number * step if last is None else last + step
        ticks = due if frame.pts is None else frame.pts
        last = ticks if last is None else max(ticks, last + 1)
        shown = frame.duration or step
        yield Frame(_upright(frame), number, last)
        number += 1
    _require_all(container, stream, name, number, (last or 0) + max(step, shown))


def _decoded(av, container, stream, name, is_live) -> Iterator[Any]:
    """Yields the frames; a live stream goes on after broken ones."""
    number, broken = 0, 0
    while True:
        try:
            for frame in container.decode(stream):
                yield frame
                number, broken = number + 1, 0
            return
        except av.FFmpegError as error:
            broken += 1
            if is_live and isinstance(error, ValueError) and broken < _BROKEN_IN_A_ROW:
                continue
            missing = isinstance(error, LookupError)
            what = "there is no decoder for it" if missing else _reason(error)
            raise VideoError(
                f"{name} cannot be decoded after {number} frames: {what}."
            ) from error


def _reason(error: Any) -> str:
    return error.strerror or str(error)


def _upright(frame: Any) -> np.ndarray:
    """Turns a frame counterclockwise by the angle that it states."""
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), quarters))


def _require_all(container, stream, name, number: int, end: int) -> None:
    """Raises if a file has less than it states, by its length in seconds."""
    if not number:
        raise VideoError(f"{name} has no frames.")
    tick_s = stream.time_base or Fraction(0)
    start_s, end_s = (stream.start_time or 0) * tick_s, end * tick_s
    stated_s = _stated_end_s(container, stream, start_s)
    if stated_s is not None and end_s < stated_s - _MISSING_S:
        raise VideoError(
            f"{name} ends after {number} frames, {float(end_s - start_s):.1f} of "
            f"{float(stated_s - start_s):.1f} seconds: it is truncated."
        )


def _stated_end_s(container, stream, start_s: Fraction) -> Fraction | None:
    """When the last frame ends, as a file states, on the clock of the frames."""
    if stream.duration is not None:
        return start_s + stream.duration * stream.time_base
    # Matroska counts from 0, however late the first frame comes: 00:00:02.040000000.
    parts = re.findall(r"[\d.]+", stream.metadata.get("DURATION", ""))
    if len(parts) == 3:
        return (Fraction(parts[0]) * 60 + Fraction(parts[1])) * 60 + Fraction(parts[2])
    if len(container.streams) == 1 and container.duration is not None:
        from_s = 0 if "matroska" in container.format.name else start_s
        return from_s + Fraction(container.duration, 1_000_000)
    return None
