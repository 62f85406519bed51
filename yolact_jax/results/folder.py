"""A folder of pictures and one json that replaces no other file."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolact_jax.results.names import VIDEO_SUFFIX, frame_folders, picture_names
from yolact_jax.results.record import Results, collect, has_results

DETECTIONS_FILE = "detections.json"
PARTIAL_FILE = "detections.partial.jsonl"
_DESCRIPTION = "Predictions of yolact_jax"


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
    ``detections.json`` replaces it, unless nothing was added: then there is no file to
    be in the way of the next call, and an earlier one stays, also as lines.

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
        file that would be replaced; or if it cannot be written.
    """
    folder = Path(folder)
    partial = folder / PARTIAL_FILE
    with _one_sentence(folder):
        drawn = picture_names([*sources, *videos], videos)
        pictures = {path: folder / name for path, name in drawn.items()}
        names = {path: path.name for path in drawn} | dict(names or {})
        frames = frame_folders(names, videos)
        written = _written_before(folder, overwrite)
        _check_free(pictures.values(), [*sources, *videos], written)
        own = sorted(written | {picture.name for picture in pictures.values()})
        info = {"description": _DESCRIPTION, "pictures": own}
        head = {"info": info, "categories": list(categories)}
        folder.mkdir(parents=True, exist_ok=True)
        _finish(folder)  # Lines of a killed call outlive this one if it finds nothing.
        with partial.open("x", encoding="utf-8") as stream:
            try:
                yield Results(pictures, names, frames, head, stream)
            finally:
                stream.close()
                if not _finish(folder):
                    for name in set(own) - _written_before(folder, overwrite=True):
                        (folder / name).unlink(missing_ok=True)


def earlier_pictures(folder: str | os.PathLike, overwrite: bool) -> set[Path]:
    """Lists the pictures that earlier calls of `results_folder` wrote.

    Raises:
      ValueError: as `results_folder`.
    """
    with _one_sentence(Path(folder)):
        return {Path(folder, name) for name in _written_before(Path(folder), overwrite)}


@contextlib.contextmanager
def _one_sentence(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ValueError(f"`output` {folder} cannot be written: {error}.") from error


def _finish(folder: Path) -> bool:
    """Makes the json of the lines of a call; returns whether it found anything."""
    partial = folder / PARTIAL_FILE
    found = partial.exists() and has_results(partial)
    if found:
        collect(partial, folder / DETECTIONS_FILE)
    partial.unlink(missing_ok=True)
    return found


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
        kind = "a video" if taken[0].suffix == VIDEO_SUFFIX else "an image"
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
