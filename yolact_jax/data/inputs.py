"""What a source means: images, videos, folders and patterns of them, cameras."""

import dataclasses
import glob
import itertools
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from yolact_jax.data.images import IMAGE_SUFFIXES, read_image
from yolact_jax.data.pixels import RGB, Pixels
from yolact_jax.data.video import VIDEO_SUFFIXES, is_address, open_video

Source = str | os.PathLike | int
_SUFFIXES = {*IMAGE_SUFFIXES, *VIDEO_SUFFIXES}


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What some sources consist of.

    Attributes:
      images: files, in order.
      videos: files, addresses of streams and numbers of cameras, in order.
      names: of all files, by their path from the folder that has all sources: the
        source itself if it is one folder, or the fixed part of one pattern.
      skipped: what lies in the folders or matches a pattern, and is neither or was
        written earlier.
    """

    images: list[Path] = dataclasses.field(default_factory=list)
    videos: list[Path | str | int] = dataclasses.field(default_factory=list)
    names: dict[Path, str] = dataclasses.field(default_factory=dict)
    skipped: list[Path] = dataclasses.field(default_factory=list)


def find_inputs(
    sources: Source | Sequence[Source],
    *,
    recursive: bool = False,
    outside: Iterable[str | os.PathLike] = (),
    written: Iterable[Path] = (),
) -> Inputs:
    """Finds the images and videos that sources name.

    Args:
      sources: one or more of these: a file; a folder; a pattern such as
        ``photos/*.jpg``, where ``**`` is any folders; the number of a camera, also as
        text; the address of a stream such as ``rtsp://...``.
      recursive: whether to look into the folders of a folder.
      outside: folders that are left out when the folders of a folder are searched.
      written: files that are left out, as earlier results that may be replaced.

    Raises:
      ValueError: if a source does not exist, has no image or video, or is a file of
        `written`.
    """
    one = isinstance(sources, str | os.PathLike | int)
    found = Inputs()
    apart = {Path(folder).resolve() for folder in outside}
    search = _Search(recursive, apart, {_place(path) for path in written})
    listed = [sources] if one else sources
    folders = [_add(found, source, search) for source in listed]
    images, videos = _once(found.images), _once(found.videos)
    names = _names([*images, *videos], [f for f in folders if f is not None])
    return Inputs(images, videos, names, found.skipped)


def read_inputs(
    images: Any, pixels: Pixels = RGB
) -> Iterator[tuple[np.ndarray, Path | None]]:
    """Opens what `Predictor.stream` takes; a missing source is an error at once.

    Args:
      images: a source as for `find_inputs`, or an iterable of what `read_image` takes.
      pixels: see `read_image`.

    Returns:
      An iterator of [h, w, N] uint8 images, or frames, and the file of each.

    Raises:
      ValueError: as for `find_inputs`; from the iterator, if one cannot be read.
    """
    if not isinstance(images, Source):
        return _read_each(images, pixels)
    found = find_inputs(images)
    return _read_all(found, pixels)


def stem_of(source: str | int) -> str:
    """Names the files of a camera or stream: ``camera-0``, ``host-path``."""
    if isinstance(source, int):
        return f"camera-{source}"
    address = urlsplit(source)
    words = re.findall(r"[\w-]+", f"{address.hostname or ''} {address.path}")
    return "-".join(words) or "stream"


def _read_all(
    found: Inputs, pixels: Pixels
) -> Iterator[tuple[np.ndarray, Path | None]]:
    yield from _read_each(found.images, pixels)
    for source in found.videos:
        path = source if isinstance(source, Path) else None
        with open_video(source) as video:
            for frame in video.frames:
                yield read_image(frame.pixels, pixels=pixels), path


def _read_each(
    images: Iterable[Any], pixels: Pixels
) -> Iterator[tuple[np.ndarray, Path | None]]:
    for image in images:
        is_path = isinstance(image, str | os.PathLike)
        yield read_image(image, pixels=pixels), Path(image) if is_path else None


@dataclasses.dataclass(frozen=True)
class _Search:
    """See `find_inputs`; all paths are absolute."""

    recursive: bool
    outside: Collection[Path]
    written: Collection[Path]

    def is_written(self, path: Path) -> bool:
        return bool(self.written) and _place(path) in self.written


def _place(path: Path) -> Path:
    """Makes a path absolute; what a link leads to may be an image of the user."""
    return path.parent.resolve() / path.name


def _once(sources: Iterable[Any]) -> list[Any]:
    """Drops what was named before, also by a relative instead of an absolute path."""
    first: dict[Any, Any] = {}
    for source in sources:
        place = source.absolute() if isinstance(source, Path) else source
        first.setdefault(place, source)
    return list(first.values())


def _names(sources: Iterable[Any], folders: Sequence[Path]) -> dict[Path, str]:
    """Names all files by their path from the folder that has `folders`."""
    files = [source for source in sources if isinstance(source, Path)]
    if not files:
        return {}
    # A pattern may leave its fixed part again, by two dots after a star.
    apart = {os.path.dirname(os.path.abspath(file)) for file in files}
    top = os.path.commonpath([*map(os.path.abspath, folders), *apart])
    return {file: Path(os.path.relpath(file, top)).as_posix() for file in files}


def _add(found: Inputs, source: Source, search: _Search) -> Path | None:
    """Adds what a source names, and returns the folder in which it is, if any."""
    text = os.fspath(source) if not isinstance(source, int) else str(source)
    path = Path(text)
    if path.is_file():
        if search.is_written(path):
            raise ValueError(
                f"`source` {path} is the result of an earlier prediction, which this "
                "one would replace; choose another folder for the results."
            )
        _add_file(found, path)
        return path.parent
    if path.is_dir():
        _add_folder(found, path, search)
        return path
    if text.isascii() and text.isdigit():
        found.videos.append(int(text))
    elif is_address(text):
        found.videos.append(text)
    elif glob.has_magic(text):
        return _add_pattern(found, text, search)
    else:
        raise ValueError(
            f"`source` {path} is no image, video or folder, or does not exist."
        )
    return None


def _add_file(found: Inputs, path: Path) -> None:
    """Adds a file that is named; whatever is no video is taken for an image."""
    is_video = path.suffix.lower() in VIDEO_SUFFIXES
    (found.videos if is_video else found.images).append(path)


def _add_usable(found: Inputs, paths: Iterable[Path], search: _Search) -> bool:
    """Adds the images and videos of a folder or pattern; returns whether it has any."""
    is_any = False
    for path in paths:
        if path.suffix.lower() not in _SUFFIXES or search.is_written(path):
            found.skipped.append(path)
        else:
            _add_file(found, path)
            is_any = True
    return is_any


def _add_folder(found: Inputs, folder: Path, search: _Search) -> None:
    if not _add_usable(found, _listed(folder, search), search):
        raise ValueError(
            f"`source` {folder} has no image or video; looked for "
            f"{', '.join(IMAGE_SUFFIXES + VIDEO_SUFFIXES)}."
        )


def _listed(folder: Path, search: _Search) -> Iterator[Path]:
    """Yields what lies in a folder, in order of name; links to folders are not read.

    Names that start with a dot are left out: macOS writes ``._photo.jpg`` beside an
    image.
    """
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        is_folder = path.is_dir() and path.suffix.lower() not in _SUFFIXES
        if not (search.recursive and is_folder):
            yield path
        elif path.resolve() not in search.outside and not path.is_symlink():
            yield from _listed(path, search)


def _add_pattern(found: Inputs, pattern: str, search: _Search) -> Path:
    """Adds what matches; returns the path before the first part that is no name."""
    paths = [Path(p) for p in sorted(glob.glob(pattern, recursive=True))]
    if not _add_usable(found, [path for path in paths if path.is_file()], search):
        raise ValueError(f"`source` {pattern} matches no image or video.")
    parts = Path(pattern).parts
    return Path(*itertools.takewhile(lambda part: not glob.has_magic(part), parts))
