"""One training at a time in the folder of a run."""

import contextlib
import datetime
import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import filelock

_LOGGER = logging.getLogger(__name__)
_LONGEST_BYTES = 1000
LOCK_FILE = "run.lock"


class WorkdirInUseError(OSError):
    """Another process is training in the folder."""


@contextlib.contextmanager
def sole_training(workdir: str | Path) -> Iterator[None]:
    """Keeps other trainings out of a folder; readers are not affected.

    The operating system holds the lock on ``run.lock``, and releases it when this
    process ends, even by SIGKILL.  The file says who holds it; it is empty when all
    went well.  It is never removed: whoever waits for a removed file would get a lock
    that nobody else sees.  The folder is created if missing.

    Raises:
      WorkdirInUseError: if another training, of this process or another, has it.
      OSError: if ``run.lock`` is a link, or cannot be written.
    """
    path = Path(workdir) / LOCK_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not truncated when opened: it may name the holder. Unbuffered: others read it.
    with open(path, "ab+", buffering=0, opener=_open_no_link) as file:
        locked = _lock(file, path.parent)
        _warn_of_unfinished(file, path.parent, locked=locked)
        file.truncate(0)
        file.write(json.dumps(_this_process()).encode() + b"\n")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                file.truncate(0)


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _lock(file: BinaryIO, folder: Path) -> bool:
    """Locks the file; returns False, with a warning, where that is impossible."""
    try:
        free = filelock.lock_descriptor(file.fileno(), blocking=False)
    except OSError as error:  # Some network file systems know no locks.
        _LOGGER.warning(
            "%s cannot be locked (%s): see to it yourself that no other process trains "
            "in it at the same time.",
            folder,
            error.strerror,
        )
        return False
    if not free:
        raise WorkdirInUseError(
            f"{folder} is in use: {_describe(_read_holder(file))} is training in it; "
            f"wait until it ends, stop it, or give another workdir."
        )
    return True


def _warn_of_unfinished(file: BinaryIO, folder: Path, *, locked: bool) -> None:
    """Warns if the last training may still run where locks do not reach.

    A lock proves that none runs on this host.  Some file systems without ``flock``,
    such as FUSE, keep the locks of each host to itself.
    """
    holder = _read_holder(file)
    if holder and not (locked and holder["host"] == socket.gethostname()):
        _LOGGER.warning(
            "The training in %s by %s did not end by itself; if it still runs, stop "
            "one of the two.",
            folder,
            _describe(holder),
        )


def _this_process() -> dict[str, str | int]:
    now = datetime.datetime.now().astimezone()
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started": now.isoformat(sep=" ", timespec="seconds"),
    }


def _read_holder(file: BinaryIO) -> dict[str, str | int] | None:
    """Reads what `_this_process` wrote; None if there is nothing, or anything else."""
    try:
        file.seek(0)
        holder = json.loads(file.read(_LONGEST_BYTES))
        kinds = {"pid": int, "host": str, "started": str}
        if all(type(holder[name]) is kind for name, kind in kinds.items()):
            return {name: holder[name] for name in kinds}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        pass
    return None


def _describe(holder: dict[str, str | int] | None) -> str:
    if holder is None:
        return "another process"
    return f"process {holder['pid']} on {holder['host']}, since {holder['started']},"
