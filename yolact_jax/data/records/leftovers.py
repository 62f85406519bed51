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
    or absent.  A killed process leaves its folder behind.  All that are running share a
    lock on `directory`, the folder of the versions of a dataset, and while one does,
    nothing is removed.
    """
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY) if fcntl else None
    try:
        if descriptor is not None:
            if _locked(descriptor):
                for unfinished in directory.glob("incomplete.*"):
                    shutil.rmtree(unfinished, ignore_errors=True)
            _share(descriptor)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)  # This also unlocks it.
        _remove_if_empty(directory)


def _locked(descriptor: int) -> bool:
    """Locks an open folder; False if another process has, or locks do not work."""
    assert fcntl is not None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _share(descriptor: int) -> None:
    """Locks an open folder together with others, once nobody is removing anything."""
    assert fcntl is not None
    with contextlib.suppress(OSError):  # Some network file systems know no locks.
        fcntl.flock(descriptor, fcntl.LOCK_SH)


def _remove_if_empty(directory: pathlib.Path) -> None:
    """Removes the folder of a dataset, and that of its builder, if they are empty."""
    with contextlib.suppress(OSError):
        directory.rmdir()
        # TFDS notes here which configuration is the default one.
        if [path.name for path in directory.parent.iterdir()] == [".config"]:
            shutil.rmtree(directory.parent / ".config", ignore_errors=True)
        directory.parent.rmdir()
