"""What processes leave behind, by the files of Linux."""

import pathlib
import re
import time

SHARED_MEMORY = pathlib.Path("/dev/shm")


def children_of(pid: int) -> list[int]:
    """Ids of processes whose parent has this id."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        fields = _stat(folder.name)
        if fields and int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(folder.name))
    return found


def descendants_of(pid: int) -> list[int]:
    children = children_of(pid)
    return children + [one for child in children for one in descendants_of(child)]


def is_running(pid: int) -> bool:
    fields = _stat(pid)
    return fields is not None and fields[0] != "Z"


def blocks() -> set[str]:
    """Names of all shared memory."""
    return {path.name for path in SHARED_MEMORY.iterdir()}


def blocks_of(pid: int) -> set[str]:
    """Names of the shared memory that a process has mapped."""
    try:
        maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return set()
    return set(re.findall(rf"{SHARED_MEMORY}/(\S+)", maps))


def are_gone(pids: list[int], names: set[str], seconds: float = 30) -> bool:
    """Whether processes and shared memory are gone, now or after a while."""
    deadline = time.monotonic() + seconds
    while any(map(is_running, pids)) or blocks() & names:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _stat(pid: int | str) -> list[str] | None:
    """Fields of a process behind its name: state, parent and so on."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rpartition(")")[2].split()
