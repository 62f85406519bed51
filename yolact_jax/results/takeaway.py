"""What else becomes of the objects of an image: labels, masks and cut-outs as files."""

import contextlib
import dataclasses
import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2

from yolact_jax.files import left_overs, replacing
from yolact_jax.results.formats import check_segmentation, usable
from yolact_jax.results.instances import Instances
from yolact_jax.results.outlines import check_tolerance

_LIST_FILE = ".written_by_yolact_jax"
_END = "\0"  # of a name in that file
_Write = Callable[[Path, str, str, Instances], None]


@dataclasses.dataclass(frozen=True)
class TakeAway:
    """In which form predictions are written, beside the pictures.

    Attributes:
      segmentation: "rle", which is exact, or "polygons", which fills holes.
      tolerance_px: how far polygons may be from the edges of the pixels.
      disjoint: whether each pixel belongs to the best object only.
      connected: whether parts of masks far from the middle of their box are left out.
      labelme: folder for a labelme file of each image, named and in folders as the
        images are; or None.
      masks: folder for a 16-bit PNG file of each image, named likewise, in which the
        pixels of the n-th annotation are n and others 0; or None.
      crops: folder for a folder of each image, with the cut-out of the n-th annotation
        in ``n.png``; or None.
    """

    segmentation: str = "rle"
    tolerance_px: float = 0.0
    disjoint: bool = False
    connected: bool = False
    labelme: Path | None = None
    masks: Path | None = None
    crops: Path | None = None

    def __post_init__(self):
        """Refuses values that cannot be used.

        Raises:
          ValueError: naming the field and what is allowed.
        """
        check_segmentation(self.segmentation)
        check_tolerance(self.tolerance_px)
        uses_polygons = self.segmentation == "polygons" or self.labelme is not None
        if self.tolerance_px and not uses_polygons:
            raise ValueError(
                "`tolerance_px` is for polygons; ask for them with `segmentation` or "
                "`labelme`."
            )

    @property
    def folders(self) -> dict[str, Path]:
        """The folders by the names of their attributes."""
        named = {"labelme": self.labelme, "masks": self.masks, "crops": self.crops}
        return {name: Path(path) for name, path in named.items() if path is not None}

    def earlier_files(self) -> Iterator[Path]:
        """Yields what earlier predictions wrote into the folders."""
        for folder in self.folders.values():
            yield from _listed(folder)

    def refined(self, instances: Instances) -> Instances:
        """Changes the masks, and leaves out objects that have none or no box."""
        if self.connected:
            instances = instances.connected()
        if self.disjoint:
            instances = instances.disjoint()
        return instances[usable(instances)]

    def annotations(self, instances: Instances) -> list[dict[str, Any]]:
        """Makes the COCO annotations of an image or frame."""
        return instances.to_coco(
            segmentation=self.segmentation, tolerance_px=self.tolerance_px
        )

    def check_folders(self, output: Path, *, overwrite: bool = False) -> None:
        """Checks that the folders are new, empty or from an earlier prediction.

        Args:
          output: folder of the pictures; it may hold these, and lie in none of them.
          overwrite: whether what an earlier prediction has written may go.

        Raises:
          ValueError: naming a folder that has other files, cannot be made, is named
            twice, or lies in another one that is not `output`.
        """
        self._check_apart({"output": output} | self.folders)
        for name, path in self.folders.items():
            _check_folder(name, path, overwrite)

    def _check_apart(self, named: dict[str, Path]) -> None:
        """Refuses what lies in a folder whose files the next prediction replaces."""
        # `Path.resolve` raises for links in a circle.
        places = {name: Path(os.path.realpath(path)) for name, path in named.items()}
        for name, other in itertools.permutations(named, 2):
            if places[name] == places[other]:
                raise ValueError(
                    f"`{name}` and `{other}` are the same folder, {named[name]}."
                )
            if other != "output" and places[other] in places[name].parents:
                raise ValueError(
                    f"`{name}` {named[name]} is inside `{other}` {named[other]}, which "
                    f"must have no other files; choose another folder."
                )

    @contextlib.contextmanager
    def open_folders(self) -> Iterator[_Write]:
        """Opens the folders, after `check_folders`.

        Yields:
          A function of the image file, the name for its cut-outs, that of its label
          files, which may have folders, and what `refined` gives.  The first call
          empties the folders, so that a prediction that finds no image takes nothing
          away.  It writes no file that exists.

        Raises:
          ValueError: naming a folder that cannot be written.
        """
        for kind, path in self.folders.items():
            with _named(kind, path):
                path.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            opened: dict[str, Callable[[str], Any]] = {}

            def write(
                source: Path, name: str, label: str, instances: Instances
            ) -> None:
                for kind, path in self.folders.items():
                    own = name if kind == "crops" else label
                    with _named(kind, path):
                        if kind not in opened:
                            opened[kind] = stack.enter_context(_open_folder(path))
                        _WRITERS[kind](self, opened[kind], source, own, instances)

            yield write


@contextlib.contextmanager
def _named(kind: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ValueError(f"`{kind}` {folder} cannot be written: {error}.") from error


def _write_labelme(options: TakeAway, new_file, source, name, instances) -> None:
    with new_file(f"{name}.json") as (path, temporary):
        image = Path(os.path.relpath(source, path.parent)).as_posix()
        content = instances.to_labelme(image, tolerance_px=options.tolerance_px)
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _write_masks(options: TakeAway, new_file, source, name, instances) -> None:
    with new_file(f"{name}.png") as (_, temporary):
        temporary.write_bytes(_png(instances.to_id_map()))


def _write_crops(options: TakeAway, new_file, source, name, instances) -> None:
    for number, one in enumerate(instances, start=1):
        with new_file(f"{name}/{number}.png") as (_, temporary):
            picture = cv2.cvtColor(one.crops()[0], cv2.COLOR_RGBA2BGRA)
            temporary.write_bytes(_png(picture))


_WRITERS = {"labelme": _write_labelme, "masks": _write_masks, "crops": _write_crops}


def _png(pixels) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def _check_folder(name: str, folder: Path, overwrite: bool) -> None:
    """Refuses what `TakeAway.check_folders` does."""
    nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise ValueError(
            f"`{name}` {folder} cannot be made: {nearest} is no folder; choose another."
        )
    files = _files(folder)
    if others := set(files) - _replaceable(folder, files):
        raise ValueError(
            f"`{name}` {folder} has files that no prediction wrote, such as "
            f"{min(others).name}; choose another folder."
        )
    if files and not overwrite:
        raise ValueError(
            f"`{name}` {folder} has files already; choose another folder, or allow "
            f"overwriting earlier results."
        )


def _files(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()]


def _replaceable(folder: Path, files: list[Path]) -> set[Path]:
    """Finds the files that a prediction wrote, also one that was killed."""
    listed = [*_listed(folder), folder / _LIST_FILE]
    return set(files) & set(listed) | left_overs(files, listed)


def _listed(folder: Path) -> list[Path]:
    """Reads which files are listed as written; the last name may be cut short."""
    path = folder / _LIST_FILE
    if not path.is_file():
        return []
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    # Earlier versions ended names with a line break, which may be in a name.
    end = _END if _END in text else "\n"
    return [folder / name for name in text.split(end)[:-1]]


@contextlib.contextmanager
def _open_folder(folder: Path) -> Iterator[Callable[[str], Any]]:
    """Opens a folder, without earlier files, for new ones of which a list is kept."""
    earlier = _replaceable(folder, _files(folder))
    # The list goes last, so that after a kill it is still known whose the others are.
    for path in sorted(earlier, key=lambda path: path.name == _LIST_FILE):
        path.unlink()
    within = {place for path in earlier for place in path.parents}
    for place in sorted(within - {folder, *folder.parents}, reverse=True):
        with contextlib.suppress(OSError):  # It has more.
            place.rmdir()
    listing = (folder / _LIST_FILE).open(
        "x", encoding="utf-8", errors="surrogateescape", newline="\n"
    )
    with listing:

        @contextlib.contextmanager
        def new_file(name: str) -> Iterator[tuple[Path, Path]]:
            path = folder / name
            if path.exists():
                raise ValueError(f"{path} exists already; choose another folder.")
            listing.write(name + _END)
            listing.flush()
            with replacing(path) as temporary:
                yield path, temporary

        yield new_file
