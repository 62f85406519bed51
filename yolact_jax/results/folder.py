"""A folder of pictures and one json that replaces no other file."""

import contextlib
import itertools
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from yolact_jax.files import replacing

DETECTIONS_FILE = "detections.json"
PARTIAL_FILE = "detections.partial.jsonl"
_DESCRIPTION = "Predictions of yolact_jax"
_VIDEO_SUFFIX = ".mp4"
_LONGEST_NAME = 255  # bytes, on all usual file systems


class Results:
    """The objects found in the images so far.

    Attributes:
      pictures: source -> the file for its picture or video.
    """

    def __init__(
        self,
        pictures: Mapping[Path, Path],
        names: Mapping[Path, str],
        head: dict[str, Any],
        partial: TextIO,
    ):
        self.pictures, self._names = pictures, names
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
        self._add_image(self._name(source), size, more, annotations)

    def add_video(
        self, source: Path, size: tuple[int, int], frame_rate: float
    ) -> dict[str, Any]:
        """Adds a video; returns its entry, for `add_frame`."""
        video = {
            "id": next(self._videos),
            "name": Path(self._name(source)).with_suffix("").as_posix(),
            "file_name": self._name(source),
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

    def _name(self, source: Path) -> str:
        return self._names.get(source, source.name)

    def _append(self, line: dict[str, Any]) -> None:
        self._partial.write(json.dumps(line, allow_nan=False) + "\n")
        self._partial.flush()


@contextlib.contextmanager
def results_folder(
    folder: str | os.PathLike,
    sources: Sequence[Path],
    categories: Sequence[dict[str, Any]],
    *,
    videos: Sequence[Path] = (),
    names: Mapping[Path, str] | None = None,
    overwrite: bool = False,
) -> Iterator[Results]:
    """Opens a folder for the pictures and ``detections.json`` of some sources.

    Every image or frame that is added becomes a line of ``detections.partial.jsonl`` at
    once, which a killed process leaves behind.  At the end, also after an error,
    ``detections.json`` replaces it.

    Args:
      folder: created if missing.
      sources: the image files, which are never written to, also by another name.
      categories: COCO categories of the json.
      videos: more sources, which become ``.mp4`` files; need not exist.
      names: what the json calls a source; by default its file name.
      overwrite: replace what earlier calls wrote in `folder`, never other files.

    Yields:
      Where to add the results.

    Raises:
      ValueError: before anything is written, if the folder has results already or a
      file
        that would be replaced; or if it cannot be written.
    """
    folder = Path(folder)
    partial = folder / PARTIAL_FILE
    try:
        named = picture_names([*sources, *videos], videos)
        pictures = {path: folder / name for path, name in named.items()}
        written = _written_before(folder, overwrite)
        _check_free(pictures.values(), [*sources, *videos], written)
        own = sorted(written | {picture.name for picture in pictures.values()})
        info = {"description": _DESCRIPTION, "pictures": own}
        head = {"info": info, "categories": list(categories)}
        folder.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        with partial.open("x", encoding="utf-8") as stream:
            try:
                yield Results(pictures, names or {}, head, stream)
            finally:
                stream.close()
                _collect(partial, folder / DETECTIONS_FILE, bool(videos))
                partial.unlink()
    except OSError as error:
        raise ValueError(f"`output` {folder} cannot be written: {error}.") from error


def _collect(partial: Path, target: Path, with_videos: bool) -> None:
    """Makes one json of all lines, in memory one at a time."""
    with replacing(target) as temporary, temporary.open("w", encoding="utf-8") as out:
        head = next(_lines(partial))
        out.write(f'{{"info": {json.dumps(head["info"])}')
        if with_videos:
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
    """Yields the lines up to one that a full disk has cut off."""
    with partial.open(encoding="utf-8") as stream:
        for line in stream:
            if not line.endswith("\n"):
                return
            yield json.loads(line)


def _write_list(out: TextIO, key: str, entries: Iterator[dict[str, Any]]) -> None:
    out.write(f', "{key}": [')
    for number, entry in enumerate(entries):
        out.write((", " if number else "") + json.dumps(entry))
    out.write("]")


def _written_before(folder: Path, overwrite: bool) -> set[str]:
    """Names the pictures of earlier calls, as listed in their files."""
    names: set[str] = set()
    for file in (folder / DETECTIONS_FILE, folder / PARTIAL_FILE):
        if not os.path.lexists(file):
            continue
        if not overwrite:
            raise ValueError(
                f"`output` {folder} has a {file.name} already; choose another folder,"
                " or allow overwriting earlier results."
            )
        names |= _listed_pictures(file)
    return names


def _listed_pictures(file: Path) -> set[str]:
    """Reads which pictures were written with a file."""
    try:
        if file.is_file():
            with file.open(encoding="utf-8") as stream:
                info = json.loads(stream.readline())["info"]
            if info["description"] == _DESCRIPTION:
                return {str(name) for name in info["pictures"]}
    except (ValueError, LookupError, TypeError, RecursionError):
        pass
    raise ValueError(
        f"{file} was not written by a prediction, so it is not overwritten; choose"
        " another folder for the output."
    )


def _check_free(pictures, sources: Sequence[Path], written: set[str]) -> None:
    """Raises for pictures that would replace other files."""
    originals = {_identity(source) for source in sources} - {None}
    taken = [
        picture
        for picture in pictures
        if os.path.lexists(picture)
        and (picture.name not in written or _identity(picture) in originals)
    ]
    if taken:
        is_source = _identity(taken[0]) in originals
        kind = "a video" if taken[0].suffix == _VIDEO_SUFFIX else "an image"
        what = f"is {kind} of the source" if is_source else "is no earlier prediction"
        more = f" (and {len(taken) - 1} more)" if len(taken) > 1 else ""
        raise ValueError(
            f"{taken[0]}{more} would be overwritten, and {what}; choose another folder"
            " for the output."
        )


def _identity(path: Path) -> tuple[int, int] | None:
    """Identifies a file, whatever its name; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def picture_names(
    sources: Sequence[Path], videos: Collection[Path] = ()
) -> dict[Path, str]:
    """Names the picture of each source; names differ even where case is ignored.

    Returns:
      ``name.png``; ``name.jpg.png`` where sources differ in suffix or case only; with a
      number where that is taken; for `videos` the same with ``.mp4``.  At most 255
      bytes, so long names are cut.
    """
    stems = Counter(_folded(path.stem) for path in sources)
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in sources:
        base = path.stem if stems[_folded(path.stem)] == 1 else path.name
        suffix = _VIDEO_SUFFIX if path in videos else ".png"
        numbered = (f" ({n}){suffix}" for n in itertools.count(2))
        endings = itertools.chain([suffix], numbered)
        candidates = (_cut(base, _LONGEST_NAME - len(end)) + end for end in endings)
        names[path] = next(n for n in candidates if _folded(n) not in taken)
        taken.add(_folded(names[path]))
    return names


def _folded(name: str) -> str:
    """Maps names that some file system treats as one to the same text."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _cut(name: str, num_bytes: int) -> str:
    """Shortens a name without breaking a character."""
    data = os.fsencode(name)
    while len(data) > num_bytes:
        name = name[:-1]
        data = os.fsencode(name)
    return name
