"""The files of image and label folders, and which of them belong together."""

import codecs
import dataclasses
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

from yolact_jax.data import headers, images
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.numbers import text_problem
from yolact_jax.files import is_output

# What annotation tools put next to label files; lower case.
_EXTRA_NAMES = re.compile(
    r"(readme|license).*|(desktop\.ini|thumbs\.db|notes\.json)"
    r"|(classes|colors|labelmap|labels|palette|predefined_classes)\.txt"
    r"|(test|train|val|valid)\.txt|.*\.(cache|data|md|names|yaml|yml)"
)
_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # Before UTF-16, whose mark is the start of this one.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path) -> str:
    """Reads UTF-8, or UTF-16 and UTF-32 that start with their mark.

    Raises:
      DatasetError: if it has another encoding or cannot be read.
    """
    data = headers.read_file(path)
    encoding = next((e for mark, e in _ENCODINGS if data.startswith(mark)), "utf-8")
    # No text has zero bytes in it, but UTF-16 without its mark has.
    bad = data.find(0) if encoding == "utf-8" else -1
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        bad, text = error.start, ""
    if bad >= 0:
        raise DatasetError(
            f"{path}: is not {encoding.upper()} text: byte {bad} is 0x{data[bad]:02x};"
            " save the file as UTF-8."
        )
    return text


@dataclasses.dataclass
class Folder:
    """The files under a folder.

    Attributes:
      paths: name relative to the folder, with "/" -> path, of the files that have one
        of the suffixes; sorted, hidden ones left out.
      problems: one sentence for each folder that cannot be listed and each bad name.
      others: files with another suffix.
    """

    paths: dict[str, Path] = dataclasses.field(default_factory=dict)
    problems: list[str] = dataclasses.field(default_factory=list)
    others: list[Path] = dataclasses.field(default_factory=list)


def list_folder(
    root: Path, suffixes: Collection[str], leave_out: Iterable[Path] = ()
) -> Folder:
    """Lists the files of a folder and its subfolders, without runs and records.

    Args:
      root: the folder.
      suffixes: in lower case; a folder so named is listed like a file, not entered.
      leave_out: files and folders to ignore.
    """
    folder = Folder()
    seen = {path.resolve() for path in leave_out} - {root.resolve()}
    note = folder.problems.append
    walk = os.walk(root, followlinks=True, onerror=lambda error: note(_why(error)))
    found = []
    for parent, folders, names in walk:
        entered = []
        for name in sorted(folders + names):
            path = Path(parent, name)
            if name.startswith(".") or path.resolve() in seen:
                continue
            if name in names or _has_suffix(path, suffixes):
                found.append(path)
            elif not is_output(path):
                # Links may lead in circles.
                seen.add(path.resolve())
                entered.append(name)
        folders[:] = entered
    for path in sorted(found):
        name = path.relative_to(root).as_posix()
        if text_problem(name):
            note(f"{path}: has a name that is not UTF-8.")
        elif _has_suffix(path, suffixes):
            folder.paths[name] = path
        else:
            folder.others.append(path)
    return folder


def list_labels(
    root: Path,
    suffixes: Collection[str],
    leave_out: Iterable[Path],
    extra_suffixes: Collection[str] = images.IMAGE_SUFFIXES,
) -> Folder:
    """Lists label files; any other file that is not known to be harmless is a problem.

    Args:
      root: the folder.
      suffixes: of label files, in lower case.
      leave_out: files and folders to ignore.
      extra_suffixes: of other files that may be there.
    """
    folder = list_folder(root, suffixes, leave_out)
    folder.problems += [
        f"{path}: is no label file, whose name would end with {' or '.join(suffixes)}."
        for path in folder.others
        if not is_extra(path.name) and not _has_suffix(path, extra_suffixes)
    ]
    return folder


def _has_suffix(path: Path, suffixes: Collection[str]) -> bool:
    """Whether a name ends with one of some suffixes, in any case."""
    return path.suffix.lower() in suffixes


def _why(error: OSError) -> str:
    """Says which folder cannot be listed."""
    return f"{error.filename}: cannot be read ({error.strerror})."


def is_extra(name: str) -> bool:
    """Whether tools put a file of this name next to label files."""
    return bool(_EXTRA_NAMES.fullmatch(PurePosixPath(name).name.lower()))


def match(
    labels: Iterable[str], image_names: Iterable[str]
) -> tuple[dict[str, str], dict[str, tuple[str, list[str]]]]:
    """Finds the image of each label file: `a.txt` or `a.jpg.txt` for `a.jpg`.

    Folders are compared from the file upwards, as far as both have them: `train/a.txt`
    matches `a.jpg` and `train/a.jpg`, not `val/a.jpg`.  The same folder is best.  All
    names are relative to the folder of labels, or of images.

    Returns:
      Name of the image -> of the label file; and name of each other label file -> what
      it "has", and the images that it may belong to.
    """
    by_stem = defaultdict(list)
    for image in image_names:
        path = PurePosixPath(image)
        for stem in {_plain(path.stem), _plain(path.name)}:
            by_stem[stem].append(path)
    found, others = {}, {}
    candidates = {name: _candidates(PurePosixPath(name), by_stem) for name in labels}
    # Label files in the folder of their image come first.
    for name in sorted(candidates, key=lambda name: not candidates[name][1]):
        names = [str(path) for path in candidates[name][0]]
        if not names:
            others[name] = "has no image of that name", names
        elif len(names) > 1:
            listed = ", ".join(names)
            others[name] = f"has {len(names)} images of that name ({listed})", names
        elif names[0] in found:
            others[name] = f"has the image {names[0]} of {found[names[0]]}", names
        else:
            found[names[0]] = name
    return found, others


def _candidates(
    label: PurePosixPath, by_stem: dict[str, list[PurePosixPath]]
) -> tuple[list[PurePosixPath], bool]:
    """Returns images a label file may belong to, and whether they share its folder."""
    same_name = by_stem.get(_plain(label.stem), [])
    best = [image for image in same_name if image.parent == label.parent]
    return best or [i for i in same_name if _agree(i.parent, label.parent)], bool(best)


def _agree(first: PurePosixPath, second: PurePosixPath) -> bool:
    """Whether one of two folders ends with the other."""
    shared = min(len(first.parts), len(second.parts))
    return not shared or first.parts[-shared:] == second.parts[-shared:]


def _plain(name: str) -> str:
    """Writes letters with accents in one way; macOS writes them in another."""
    return unicodedata.normalize("NFC", name)
