"""Memory of a process in large pages, which training on a CPU is faster with."""

import os
import pathlib
import sys

VARIABLE = "GLIBC_TUNABLES"
TUNABLES = "glibc.malloc.hugetlb=1"
"""Large allocations ask for pages of 2 MiB."""
_LEAST_GLIBC = (2, 35)
_SYSTEM = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")


def start_again_with_them() -> None:
    """Starts this program anew with large pages, if Linux gives them on request only.

    XLA asks for its memory at every step, and gives it back; in pages of 4 KiB, that is
    a good part of the time of training on a CPU.  GNU's C library reads such a setting
    only as a program starts.  For the start of a script that Python runs itself: within
    other programs, such as debuggers and notebooks, nothing happens.  Nor does it where
    it would change nothing, or ``GLIBC_TUNABLES`` is set.
    """
    if VARIABLE in os.environ or not (_is_script() and _on_request() and _is_glibc()):
        return
    os.environ[VARIABLE] = TUNABLES
    try:
        os.execv(sys.executable, sys.orig_argv)
    except (OSError, ValueError, TypeError):  # The program is as good without.
        return


def _is_script() -> bool:
    """Whether this process is ``python SCRIPT ...`` and no more."""
    return sys.orig_argv[1:] == sys.argv and os.path.isfile(sys.argv[0])


def _on_request() -> bool:
    """Whether Linux gives large pages to those who ask."""
    try:
        return "[madvise]" in _SYSTEM.read_text()
    except OSError:
        return False


def _is_glibc() -> bool:
    """Whether the C library knows the setting."""
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        return name == "glibc" and tuple(map(int, version.split("."))) >= _LEAST_GLIBC
    except (AttributeError, ValueError):  # Another system, or another library.
        return False
