"""Failures to write, in sentences that say what to do."""

import contextlib
import errno
import os
from collections.abc import Iterator

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_OTHER = (errno.EFBIG, errno.EROFS, errno.EIO)
ADVICE = "Make room, then run the same command to continue."


@contextlib.contextmanager
def explaining_full_disk(workdir: str | os.PathLike) -> Iterator[None]:
    """Names the folder that does not fit; the system only says that a disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise OSError(
            f"nothing more can be written to {workdir} ({error.strerror}); its "
            f"checkpoints are intact. {ADVICE}"
        ) from error


def cause_of(error: BaseException) -> str:
    """Shortens an error to the words of the operating system, or to one line.

    The result is such as "No space left on device".
    """
    text = str(error).strip()
    for code in (*_DISK_FULL, *_OTHER):
        if os.strerror(code) in text:
            return os.strerror(code)
    return (text or type(error).__name__).splitlines()[0]
