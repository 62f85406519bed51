"""A folder of pictures and one json that replaces no other file."""

import contextlib
import itertools
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from yolact_jax.files import write_json

DETECTIONS_FILE = "detections.json"
PARTIAL_FILE = "detections.partial.jsonl"
_DESCRIPTION = "Predictions of yolact_jax"
_LONGEST_NAME = 255  # bytes, on all usual file systems


class Results:
    """The objects found in the images so far.

    Attributes:
      pictures: source -> the file for its picture.
    """

    def __init__(
        self,
        pictures: Mapping[Path, Path],
        info: dict[str, Any],
        categories: Sequence[dict[str, Any]],
        partial: TextIO,
    ):
        self.pictures = pictures
        self._content = {"info": info, "images": [], "annotations": []}
        self._categories, self._partial = list(categories), partial
        self._append({"info": info, "categories": self._categories})

    @property
    def content(self) -> dict[str, Any]:
        """The content of the json: COCO annotations with scores."""
        return {**self._content, "categories": self._categories}

    def add(
        self, source: Path, size: tuple[int, int], annotations: Sequence[dict[str, Any]]
    ) -> None:
        """Adds an image and its objects, and numbers them.

        Args:
          source: of the image; its picture is written already.
          size: (height, width) in pixels.
          annotations: COCO annotations; `id` and `image_id` are set here.
        """
        image = {
            "id": len(self._content["images"]) + 1,
            "file_name": source.name,
            "height": size[0],
            "width": size[1],
            "picture": self.pictures[source].name,
        }
        ids = itertools.count(len(self._content["annotations"]) + 1)
        annotations = [
            {**annotation, "id": number, "image_id": image["id"]}
            for annotation, number in zip(annotations, ids, strict=False)
        ]
        self._content["images"].append(image)
        self._content["annotations"] += annotations
        self._append({"image": image, "annotations": annotations})

    def _append(self, line: dict[str, Any]) -> None:
        self._partial.write(json.dumps(line) + "\n")
        self._partial.flush()


@contextlib.contextmanager
def results_folder(
    folder: str | os.PathLike,
    sources: Sequence[Path],
    categories: Sequence[dict[str, Any]],
    *,
    overwrite: bool = False,
) -> Iterator[Results]:
    """Opens a folder for the pictures and ``detections.json`` of some images.

    Every image that is added becomes a line of ``detections.partial.jsonl`` at once,
    which a killed process leaves behind.  At the end, also after an error,
    ``detections.json`` replaces it.

    Args:
      folder: created if missing.
      sources: the image files, which are never written to, also by another name.
      categories: COCO categories of the json.
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
        pictures = {p: folder / name for p, name in picture_names(sources).items()}
        written = _written_before(folder, overwrite)
        _check_free(pictures.values(), sources, written)
        names = sorted(written | {picture.name for picture in pictures.values()})
        info = {"description": _DESCRIPTION, "pictures": names}
        folder.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        with partial.open("x", encoding="utf-8") as stream:
            results = Results(pictures, info, categories, stream)
            try:
                yield results
            finally:
                write_json(folder / DETECTIONS_FILE, results.content)
                stream.close()
                partial.unlink()
    except OSError as error:
        raise ValueError(f"`output` {folder} cannot be written: {error}.") from error


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
        what = "is an image of the source" if is_source else "is no earlier prediction"
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


def picture_names(sources: Sequence[Path]) -> dict[Path, str]:
    """Names the picture of each image file; names differ even where case is ignored.

    Returns:
      ``name.png``; ``name.jpg.png`` where images differ in suffix or case only; with a
      number where that is taken.  At most 255 bytes, so long names are cut.
    """
    stems = Counter(_folded(path.stem) for path in sources)
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in sources:
        base = path.stem if stems[_folded(path.stem)] == 1 else path.name
        endings = itertools.chain([".png"], (f" ({n}).png" for n in itertools.count(2)))
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
