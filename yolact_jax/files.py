"""Files that appear complete or not at all."""

import contextlib
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

try:
    import fcntl
except ImportError:  # Windows.
    fcntl = None

VERSIONS_FILE = "versions.json"
"""In the folder of every run."""
FROM_FOLDERS = "from_folders"
"""In the folder of records, where folders of labels were converted."""

_LONGEST_NAME = 200  # bytes, of the 255 that file systems allow
_TEMPORARY = re.compile(r"(\..+\.)\d+\.tmp", re.DOTALL)


def is_output(folder: Path) -> bool:
    """Whether a folder is one of runs or records, which has no labels to read."""
    return (folder / VERSIONS_FILE).is_file() or (folder / FROM_FOLDERS).is_dir()


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields the path of a temporary file that replaces `path` if all goes well.

    The temporary file lies in the same folder, since a rename across disks is a copy.
    What is written survives a power failure once this returns.  After an exception
    `path` is unchanged, and the temporary file is removed.  A writer that was killed
    leaves ``.<name>.<number>.tmp``, which is removed when `path` is written again.
    The folder of `path` is created if missing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, held = _new_file_beside(path)
    with held:
        try:
            yield temporary
            _flush(temporary, os.O_RDWR)
            temporary.replace(path)
        except BaseException:  # Not `finally`: after the rename the name is anyone's.
            temporary.unlink(missing_ok=True)
            raise
        with contextlib.suppress(OSError):  # Some systems cannot flush folders.
            _flush(path.parent, os.O_RDONLY)


def left_overs(files: Iterable[Path], targets: Iterable[Path]) -> set[Path]:
    """Finds temporary files of writers of `targets` that were killed.

    Args:
      files: what there is.
      targets: paths that were given to `replacing`.
    """
    starts = {_temporary_start(target) for target in targets}
    named = ((file, _TEMPORARY.fullmatch(file.name)) for file in files)
    return {file for file, m in named if m and file.with_name(m[1]) in starts}


def write_json(
    path: str | os.PathLike, content: Any, *, indent: int | None = None
) -> None:
    """Writes a JSON file, which appears complete or not at all.

    Args:
      path: the file to write; its folder is created if missing.
      content: dicts, lists, strings, numbers, booleans and None.
      indent: spaces of each level; all on one line if None.

    Raises:
      ValueError: if a number is not finite.
    """
    try:
        text = json.dumps(content, allow_nan=False, indent=indent)
    except ValueError as error:
        raise ValueError(f"{path} cannot be written: {error}.") from error
    with replacing(path) as temporary:
        temporary.write_text(f"{text}\n")


@contextlib.contextmanager
def json_list(path: str | os.PathLike) -> Iterator[Callable[[Iterable[Any]], None]]:
    """Writes a JSON list as `write_json` does, a few items in memory at a time.

    Args:
      path: the file to write; its folder is created if missing.

    Yields:
      A function that adds items, as for `write_json`, to the end.

    Raises:
      ValueError: if a number is not finite.
    """
    with replacing(path) as temporary, open(temporary, "w") as file:
        separator = "["

        def add(items: Iterable[Any]) -> None:
            nonlocal separator
            for item in items:
                try:
                    text = json.dumps(item, allow_nan=False)
                except ValueError as error:
                    raise ValueError(f"{path} cannot be written: {error}.") from error
                file.write(separator + text)
                separator = ", "

        yield add
        file.write("[]\n" if separator == "[" else "]\n")


def read_json(path: str | os.PathLike, kind: type = dict) -> Any:
    """Reads a JSON file.

    Args:
      path: the file.
      kind: type of the outermost value.

    Raises:
      ValueError: if it is not JSON or not of that kind.
      OSError: if it cannot be read.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: it is not JSON ({error}).") from error
    except RecursionError as error:
        raise ValueError(f"{path} is damaged: it is nested too deeply.") from error
    if not isinstance(content, kind):
        raise ValueError(
            f"{path} is damaged: it holds a {type(content).__name__}, not a "
            f"{kind.__name__}."
        )
    return content


def _temporary_start(path: Path) -> Path:
    """Gives the path of the temporary files of a path, up to their number."""
    return path.with_name(f".{os.fsdecode(os.fsencode(path.name)[:_LONGEST_NAME])}.")


def _new_file_beside(path: Path) -> tuple[Path, BinaryIO]:
    """Creates a file that a lock protects from other writers while it is open."""
    start = _temporary_start(path).name
    for number in itertools.count():
        temporary = path.with_name(f"{start}{number}.tmp")
        _remove_left_over(temporary)
        # A file or link that is still there is never written to.
        with contextlib.suppress(FileExistsError):
            file = open(temporary, "xb")  # noqa: SIM115
            if _locks(file, temporary) is not False:
                return temporary, file
            file.close()
    raise AssertionError("there is no last number")


def _remove_left_over(temporary: Path) -> None:
    """Removes the file of a writer that was killed."""
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
    with (
        contextlib.suppress(OSError),
        open(temporary, "r+b", opener=lambda name, _: os.open(name, flags)) as file,
    ):
        if _locks(file, temporary):
            temporary.unlink()


def _locks(file: BinaryIO, path: Path) -> bool | None:
    """Whether `file` is locked now and still that of the path; None if locks fail."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # Some network file systems know no locks.
        return None
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.lstat(path))
    except FileNotFoundError:
        return False


def _flush(path: Path, mode: int) -> None:
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
