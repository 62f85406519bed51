"""Removing what an interrupted preparation left behind."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # Not on Windows: leftovers stay there until removed by hand.
    fcntl = None


@contextlib.contextmanager
def removed(directory: str | os.PathLike) -> Iterator[None]:
    """Removes unfinished records before a preparation, and empty folders after it.

    TFDS writes to `incomplete.*` and renames that at the end, so records are complete
    or absent.  A killed process leaves its folder behind.  A running one holds a lock
    on `directory`, the folder of the versions of a dataset, and then nothing is
    removed.
    """
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY) if fcntl else None
    try:
        if descriptor is not None and _locked(descriptor):
            for unfinished in directory.glob("incomplete.*"):
                shutil.rmtree(unfinished, ignore_errors=True)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)  # This also unlocks it.
        _remove_if_empty(directory)


def _locked(descriptor: int) -> bool:
    """Locks an open folder; False if another process has, or locks do not work."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_if_empty(directory: pathlib.Path) -> None:
    """Removes the folder of a dataset, and that of its builder, if they are empty."""
    with contextlib.suppress(OSError):
        directory.rmdir()
        # TFDS notes here which configuration is the default one.
        if [path.name for path in directory.parent.iterdir()] == [".config"]:
            shutil.rmtree(directory.parent / ".config", ignore_errors=True)
        directory.parent.rmdir()
