"""Ids that objects keep from one frame of a video to the next."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from yolact_jax.results.instances import Instances

_SURE = 0.5
_REMEMBERED_S = 1.0
_UNIT_FRAMES = 30  # of the tracker's buffer, in a second
NO_TRACK = -1
"""Id of an object that is on no track."""


def track(
    results: Iterable[Instances], *, frame_rate: float = 30.0
) -> Iterator[Instances]:
    """Follows objects through the frames of a video, by ByteTrack.

        >>> for result in yolact_jax.track(model.stream("clip.mp4")):
        ...     print(result.track_ids, result.names)

    An object with a score of at least 0.5 starts a track when it is found in a second
    frame; objects with lower scores only continue tracks.  Boxes decide, whatever the
    class.  A track is remembered for a second after its object was last found.

    Args:
      results: what is found in each frame, in order.
      frame_rate: frames per second.

    Yields:
      The same with `track_ids`: [n] int64, from 1; -1 for objects on no track.

    Raises:
      ValueError: if the trackers package is missing, or the rate is not positive.
    """
    if not frame_rate > 0:
        raise ValueError(f"`frame_rate` is {frame_rate}; it must be above 0.")
    return _tracked(results, *_make_tracker(frame_rate))


def _make_tracker(frame_rate: float) -> tuple[Any, Any]:
    try:
        # Optional, so not always there when types are checked.
        import supervision  # pyright: ignore[reportMissingImports]
        from trackers import ByteTrackTracker  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            'tracking needs the trackers package: pip install "yolact_jax[track]".'
        ) from error
    tracker = ByteTrackTracker(
        lost_track_buffer=round(_REMEMBERED_S * _UNIT_FRAMES),
        frame_rate=float(frame_rate),
        track_activation_threshold=_SURE,
        high_conf_det_threshold=_SURE,
    )
    return tracker, supervision.Detections


def _tracked(
    results: Iterable[Instances], tracker: Any, detections_of: Any
) -> Iterator[Instances]:
    for result in results:
        numbers = np.arange(len(result))
        followed = tracker.update(
            detections_of(
                xyxy=result.boxes_px.astype(np.float32),
                confidence=result.scores.astype(np.float32),
                class_id=result.labels.astype(int),
                data={"number": numbers},
            )
        )
        ids = np.full(len(result), NO_TRACK, np.int64)
        if len(followed):
            found = np.asarray(followed.tracker_id, np.int64)
            # The tracker counts from 0, and returns objects in another order.
            ids[followed.data["number"]] = np.where(found >= 0, found + 1, NO_TRACK)
        yield result.with_track_ids(ids)
