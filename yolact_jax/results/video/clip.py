"""Predictions for a video: read, found, drawn and written at the same time."""

import collections
import dataclasses
import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from yolact_jax.data.video import Frame, Video, VideoError, open_video, shown
from yolact_jax.results.folder import Results
from yolact_jax.results.instances import Instances
from yolact_jax.results.predictor import Predictor
from yolact_jax.results.takeaway import TakeAway
from yolact_jax.results.track import track
from yolact_jax.results.video.screen import Screen
from yolact_jax.results.video.stages import Stages, run_side_by_side
from yolact_jax.results.video.writer import VideoWriter, open_sound

_LOGGER = logging.getLogger(__name__)
_SECONDS_BETWEEN_REPORTS = 10.0
_Found = tuple[Frame, Instances]


@dataclasses.dataclass(frozen=True)
class _Drawn:
    frame: Frame
    picture: np.ndarray
    annotations: list[dict[str, Any]]


def predict_video(
    predictor: Predictor,
    source: Path | str | int,
    key: Path,
    results: Results,
    *,
    take_away: TakeAway | None = None,
    with_tracks: bool = False,
    screen: Screen | None = None,
    **options: Any,
) -> None:
    """Finds the objects in every frame; writes the video with them, and the json.

    Reading, the network, drawing and writing run in threads of their own.  A camera or
    live stream is followed: frames that the network has no time for are left out.

    Args:
      predictor: the model.
      source: as for `data.video.open_video`.
      key: what `results` knows the source by.
      results: gets every frame when its picture is written.
      take_away: the form of the json, and of the masks.
      with_tracks: whether to follow objects, and color them by their track.
      screen: where to show the pictures; closing it ends the video.
      **options: of `Predictor.stream`.

    Raises:
      VideoError: if the source cannot be read, or not to its end; what was found until
        then is written.
      ValueError: if a package is missing.
    """
    with open_video(source) as video, open_sound(source) as sound:
        job = _Job(predictor, video, take_away or TakeAway(), with_tracks, options)
        work = ("network", job.find), ("draw", job.draw)
        with run_side_by_side(
            video.frames, "read", *work, drop=video.is_live
        ) as stages:
            sink = _Sink(results, key, video, sound, screen)
            sink.write_all(stages, shown(source))


class _Job:
    """The steps between reading and writing."""

    def __init__(
        self,
        predictor: Predictor,
        video: Video,
        take_away: TakeAway,
        with_tracks: bool,
        options: dict[str, Any],
    ):
        self._predictor, self._options = predictor, options
        self._take_away = take_away
        self._color_by, self._follow = "class", iter
        if with_tracks:
            rate = float(video.frame_rate)
            self._color_by = "track"
            self._follow = lambda results: track(results, frame_rate=rate)
            track((), frame_rate=rate)  # Says at once if the package is missing.

    def find(self, frames: Iterable[Frame]) -> Iterator[_Found]:
        """Runs the network on a batch after the other."""
        waiting: collections.deque[Frame] = collections.deque()
        problems: list[VideoError] = []

        def pixels() -> Iterator[np.ndarray]:
            try:
                for frame in frames:
                    waiting.append(frame)
                    yield frame.pixels
            except VideoError as error:  # After the batch that has begun.
                problems.append(error)

        for instances in self._predictor.stream(pixels(), **self._options):
            yield waiting.popleft(), self._take_away.refined(instances)
        if problems:
            raise problems[0]

    def draw(self, found: Iterable[_Found]) -> Iterator[_Drawn]:
        """Draws and encodes what is found, after following it."""
        frames: collections.deque[Frame] = collections.deque()

        def each() -> Iterator[Instances]:
            for frame, instances in found:
                frames.append(frame)
                yield instances

        for instances in self._follow(each()):
            picture = instances.draw(color_by=self._color_by)
            annotations = self._take_away.annotations(instances)
            yield _Drawn(frames.popleft(), picture, annotations)


class _Sink:
    """Writes pictures and json, and says how it goes."""

    def __init__(self, results: Results, key: Path, video: Video, sound, screen):
        self._results, self._key, self._video = results, key, video
        self._sound, self._screen = sound, screen
        self._writer: VideoWriter | None = None
        self._entry: dict[str, Any] = {}
        self._frames = self._objects = 0
        self._start = self._reported = time.perf_counter()

    def write_all(self, stages: Stages, name: str) -> None:
        """Takes the pictures as they come; the file is whole after any error."""
        complete = False
        try:
            for drawn in stages:
                self._write(drawn)
                self._report(name)
                if self._screen and not self._screen.show(drawn.picture):
                    break
            complete = True
        finally:
            if self._writer:
                self._writer.close(complete=complete)
                _LOGGER.info("%s: %s", name, self._summary(stages))

    def _write(self, drawn: _Drawn) -> None:
        frame, size = drawn.frame, drawn.picture.shape[:2]
        if self._writer is None:
            path = self._results.pictures[self._key]
            path.unlink(missing_ok=True)  # Else a link would be followed.
            self._writer = VideoWriter(path, self._video, size, self._sound)
            rate = float(self._video.frame_rate)
            self._entry = self._results.add_video(self._key, size, rate)
        self._writer.write(drawn.picture, frame.ticks)
        time_s = float(frame.ticks * self._video.tick_s)
        self._results.add_frame(self._entry, frame.number, time_s, drawn.annotations)
        self._frames += 1
        self._objects += len(drawn.annotations)

    def _report(self, name: str) -> None:
        now = time.perf_counter()
        if now - self._reported < _SECONDS_BETWEEN_REPORTS:
            return
        self._reported = now
        of_all = f" of {self._video.num_frames}" if self._video.num_frames else ""
        rate = self._frames / (now - self._start)
        _LOGGER.info("%s: %d%s frames, %.2f a second", name, self._frames, of_all, rate)

    def _summary(self, stages: Stages) -> str:
        total_s = time.perf_counter() - self._start
        seconds = stages.seconds | {"write": max(0.0, total_s - stages.waited_s)}
        each = ", ".join(f"{step} {s:.1f}" for step, s in seconds.items())
        dropped = f", {stages.dropped} left out" if stages.dropped else ""
        rate = self._frames / total_s
        return (
            f"{self._frames} frames{dropped}, {self._objects} objects in "
            f"{total_s:.1f} s ({rate:.2f} frames/s); seconds of work: {each}"
        )
