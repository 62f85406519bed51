"""What is found, a line for each image or frame at once, and one json in the end."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from yolact_jax.files import replacing


class Results:
    """The objects found in the images so far.

    Attributes:
      pictures: source -> the file for its picture or video.
    """

    def __init__(
        self,
        pictures: Mapping[Path, Path],
        names: Mapping[Path, str],
        frames: Mapping[Path, str],
        head: dict[str, Any],
        partial: TextIO,
    ):
        self.pictures, self._names, self._frames = pictures, names, frames
        self._videos, self._images, self._annotations = (
            itertools.count(1) for _ in range(3)
        )
        self._partial = partial
        self._append(head)

    def add(
        self, source: Path, size: tuple[int, int], annotations: Sequence[dict[str, Any]]
    ) -> None:
        """Adds an image and its objects, and numbers them.

        Args:
          source: of the image; its picture is written already.
          size: (height, width) in pixels.
          annotations: COCO annotations; `id` and `image_id` are set here.
        """
        more = {"picture": self.pictures[source].name}
        self._add_image(self._names[source], size, more, annotations)

    def add_video(
        self, source: Path, size: tuple[int, int], frame_rate: float
    ) -> dict[str, Any]:
        """Adds a video; returns its entry, for `add_frame`."""
        video = {
            "id": next(self._videos),
            "name": self._frames[source],
            "file_name": self._names[source],
            "height": size[0],
            "width": size[1],
            "frame_rate": frame_rate,
            "picture": self.pictures[source].name,
        }
        self._append({"video": video})
        return video

    def add_frame(
        self,
        video: Mapping[str, Any],
        number: int,
        time_s: float,
        annotations: Sequence[dict[str, Any]],
    ) -> None:
        """Adds a frame of a video and its objects.

        Args:
          video: as `add_video` returned it.
          number: of the frame, from 0.
          time_s: when it is shown.
          annotations: COCO annotations; `id` and `image_id` are set here.
        """
        # As a tool would name it that takes the video apart.
        name = f"{video['name']}/{number:06d}.jpg"
        more = {"video_id": video["id"], "frame_id": number, "time_s": time_s}
        size = video["height"], video["width"]
        self._add_image(name, size, more, annotations)

    def _add_image(self, name, size, more, annotations) -> None:
        image = {"id": next(self._images), "file_name": name}
        image |= {"height": size[0], "width": size[1]} | more
        annotations = [
            {**annotation, "id": next(self._annotations), "image_id": image["id"]}
            for annotation in annotations
        ]
        self._append({"image": image, "annotations": annotations})

    def _append(self, line: dict[str, Any]) -> None:
        self._partial.write(json.dumps(line, allow_nan=False) + "\n")
        self._partial.flush()


def has_results(partial: Path) -> bool:
    """Whether an image or video was added to what `Results` wrote."""
    return any(line.keys() & {"image", "video"} for line in _lines(partial))


def collect(partial: Path, target: Path) -> None:
    """Makes one json of all lines, in memory one at a time.

    Args:
      partial: what `Results` wrote; nothing after a spoiled line.
      target: the file, which appears complete or not at all; with a list of videos if
        there is one.
    """
    with replacing(target) as temporary, temporary.open("w", encoding="utf-8") as out:
        head = next(_lines(partial))
        planned = head["info"]["pictures"]
        written = [name for name in planned if (target.parent / name).exists()]
        info = head["info"] | {"pictures": written}
        out.write(f'{{"info": {json.dumps(info)}')
        if any(True for _ in _entries(partial, "video")):
            _write_list(out, "videos", _entries(partial, "video"))
        _write_list(out, "images", _entries(partial, "image"))
        _write_list(out, "annotations", _entries(partial, "annotations"))
        _write_list(out, "categories", iter(head["categories"]))
        out.write("}\n")


def _entries(partial: Path, key: str) -> Iterator[dict[str, Any]]:
    for line in _lines(partial):
        if key in line:
            yield from line[key] if isinstance(line[key], list) else [line[key]]


def _lines(partial: Path) -> Iterator[dict[str, Any]]:
    """Yields the lines up to one that a full disk or a power failure has spoiled."""
    with partial.open(encoding="utf-8") as stream:
        for line in stream:
            try:
                content = json.loads(line)
            except ValueError:
                return
            yield content


def _write_list(out: TextIO, key: str, entries: Iterator[dict[str, Any]]) -> None:
    out.write(f', "{key}": [')
    for number, entry in enumerate(entries):
        out.write((", " if number else "") + json.dumps(entry))
    out.write("]")
