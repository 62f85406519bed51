"""Names of what is found in files, each of which only one source has."""

import itertools
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

from yolact_jax.data.inputs import Inputs, stem_of

_LONGEST_NAME = 255  # bytes, on all usual file systems
VIDEO_SUFFIX = ".mp4"
"""Of all videos that are written."""


def video_keys(found: Inputs) -> dict[Path, Path | str | int]:
    """Names cameras and streams like files, and no two sources the same.

    Returns:
      `found.videos` by their path, or ``camera-0``, or ``host-path``; with a number
      where that is taken.
    """
    taken = {*found.images, *map(Path, found.names.values())}
    keys: dict[Path, Path | str | int] = {}
    for video in found.videos:
        if isinstance(video, Path):
            key = video
        else:
            stem = stem_of(video)
            numbered = (f"{stem}-{n}" for n in itertools.count(2))
            candidates = map(Path, itertools.chain([stem], numbered))
            key = next(path for path in candidates if path not in taken)
        keys[key] = video
        taken.add(key)
    return keys


def frame_folders(
    names: Mapping[Path, str], videos: Collection[Path]
) -> dict[Path, str]:
    """Names a folder for the frames of each video, without other images or frames.

    Args:
      names: what each image and video is called.
      videos: those of them that are videos.

    Returns:
      ``sub/clip`` for ``sub/clip.mp4``; ``sub/clip.mp4`` where videos differ in suffix
      only, or the folder has images; with a number where that is taken.
    """
    stems = Counter(_without_suffix(names[video]) for video in videos)
    images = (names[path] for path in names.keys() - set(videos))
    taken = {PurePosixPath(name).parent.as_posix() for name in images}
    folders: dict[Path, str] = {}
    for video in videos:
        name, stem = names[video], _without_suffix(names[video])
        numbered = (f"{name} ({n})" for n in itertools.count(2))
        candidates = itertools.chain([stem] * (stems[stem] == 1), [name], numbered)
        folders[video] = next(folder for folder in candidates if folder not in taken)
        taken.add(folders[video])
    return folders


def _without_suffix(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


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
        suffix = VIDEO_SUFFIX if path in videos else ".png"
        numbered = (f" ({n}){suffix}" for n in itertools.count(2))
        endings = itertools.chain([suffix], numbered)
        candidates = (_cut(base, _LONGEST_NAME - len(end)) + end for end in endings)
        names[path] = next(n for n in candidates if _folded(n) not in taken)
        taken.add(_folded(names[path]))
    return names


def label_names(names: Mapping[Path, str]) -> dict[Path, str]:
    """Names the label file of each image, without a suffix, like the image.

    Args:
      names: what the images are called, with their folders.

    Returns:
      ``sub/name`` for ``sub/name.jpg``; ``sub/name.jpg`` and so on as `picture_names`,
      among the images of one folder.
    """
    folders: dict[PurePosixPath, list[Path]] = defaultdict(list)
    for path, name in names.items():
        folders[PurePosixPath(name).parent].append(path)
    return {
        path: (folder / name).as_posix().removesuffix(".png")
        for folder, paths in folders.items()
        for path, name in picture_names(paths).items()
    }


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
