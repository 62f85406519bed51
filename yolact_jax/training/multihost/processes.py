"""Several processes in one run: how they start, talk to each other, and who writes."""

import contextlib
import itertools
import socket
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from yolact_jax.cli import Ended

T = TypeVar("T")

_LONGEST_WAIT_MS = 24 * 3600 * 1000
_REPORT_BYTES = 4096
_barrier_ids = itertools.count()
_is_working_alone = False


class OtherProcessError(Ended):
    """Another process of the run has failed, so this one ends too.

    Attributes:
      exit_status: that of the other process: 128 plus the number of the signal that
        stopped it, or 1.
    """


def initialize(
    *,
    auto: bool = False,
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Joins this process to the others of the run, before anything else uses JAX.

    Without any argument it does nothing: the run has one process.

    Args:
      auto: find the other processes through a TPU pod, Slurm or Open MPI.
      coordinator_address: host:port of process 0, which all can reach.
      num_processes: processes of the run.
      process_id: which of them this is, from 0.

    Raises:
      ValueError: if the arguments are incomplete, or no other process is found.
    """
    given = {
        "coordinator_address": coordinator_address,
        "num_processes": num_processes,
        "process_id": process_id,
    }
    missing = [name for name, value in given.items() if value is None]
    if auto and len(missing) == 3:
        _initialize_automatically()
    elif missing and (auto or len(missing) < 3):
        raise ValueError(
            f"--{missing[0]} is missing; give --coordinator_address, --num_processes "
            f"and --process_id, or only --distributed on a TPU pod, Slurm or Open MPI."
        )
    elif process_id is not None and num_processes is not None:
        if not 0 <= process_id < num_processes:
            raise ValueError(
                f"--process_id is {process_id}; with --num_processes {num_processes} "
                f"it must be in 0..{num_processes - 1}."
            )
        _check_address(coordinator_address)
        jax.distributed.initialize(**given)


def _check_address(address: str | None) -> None:
    """Refuses what would end the process within JAX."""
    host, _, port = (address or "").rpartition(":")
    try:
        if not 0 < int(port) < 2**16:
            raise ValueError("the port is not in 1..65535")
        socket.getaddrinfo(host.strip("[]"), port)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"--coordinator_address is {address!r}; it must be the host:port of "
            f"process 0, such as 10.0.0.1:1234 ({error})."
        ) from error


def _initialize_automatically() -> None:
    try:
        jax.distributed.initialize()
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"--distributed found no TPU pod, Slurm or Open MPI to take part in; give "
            f"--coordinator_address, --num_processes and --process_id ({reason})."
        ) from error


def is_first_process() -> bool:
    """Whether this process writes logs, metrics and pictures."""
    return jax.process_index() == 0


def share_of_this_process() -> dict[str, int]:
    """Returns the arguments of `training_batches` for the rows of this process."""
    return {
        "process_index": jax.process_index(),
        "process_count": jax.process_count(),
    }


def share_of(count: int) -> range:
    """Returns the indices of this process's share of `count` things."""
    return range(count)[jax.process_index() :: jax.process_count()]


def acts_alone() -> bool:
    """Whether an exception raised now would leave the other processes waiting."""
    return jax.process_count() == 1 or _is_working_alone


def on_all_processes(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Calls a function in every process, and waits for the others.

    If it fails in one process, all end; else the others would wait forever.

    Args:
      function: must not need the others; any sharded array it uses must be replicated.
      *args: of the function.
      **kwargs: of the function.

    Returns:
      What the function returns in this process.

    Raises:
      OtherProcessError: if it failed in another process, where the error itself is
        raised.
    """
    if jax.process_count() == 1:
        return function(*args, **kwargs)
    result, error = None, None
    try:
        with _working_alone():
            result = function(*args, **kwargs)
    except Exception as caught:
        error = caught
    reports = _tell_all(error)
    if error is not None:
        raise error
    for index in np.flatnonzero(reports[:, 0]):
        message = reports[index, 1:].tobytes().rstrip(b"\0").decode(errors="ignore")
        raise OtherProcessError(
            f"Process {index} has failed: {message}", int(reports[index, 0])
        )
    return cast("T", result)


def on_first_process(function: Callable[..., T], *args: Any, **kwargs: Any) -> T | None:
    """Calls a function in process 0 while the others wait.

    Arguments and errors are those of `on_all_processes`; returns None in the other
    processes.
    """
    return on_all_processes(
        lambda: function(*args, **kwargs) if is_first_process() else None
    )


def first_process_first(function: Callable[[], T]) -> T:
    """Calls a function in process 0, then in the others, which find its files ready."""
    result = on_first_process(function)
    return on_all_processes(
        lambda: cast("T", result) if is_first_process() else function()
    )


def largest_of_all(value: int) -> int:
    """Returns the largest int32 of those that the processes call this with.

    So all of them learn at the same step that one should stop.
    """
    if jax.process_count() == 1:
        return value
    return int(np.max(multihost_utils.process_allgather(np.int32(value))))


@contextlib.contextmanager
def _working_alone() -> Iterator[None]:
    global _is_working_alone
    _is_working_alone = True
    try:
        yield
    finally:
        _is_working_alone = False


def _tell_all(error: Exception | None) -> np.ndarray:
    """Returns [processes, n] uint8: exit status, 0 for none, and message of each."""
    told = np.zeros(_REPORT_BYTES, np.uint8)
    if error is not None:
        lines = str(error).splitlines() or [""]
        text = f"{type(error).__name__}: {lines[0]}".encode()[: _REPORT_BYTES - 1]
        told[0] = getattr(error, "exit_status", 1)
        told[1 : 1 + len(text)] = np.frombuffer(text, np.uint8)
    # Waits without a device first, whose collectives give up after seconds on some.
    wait = ocp.multihost.get_barrier_sync_fn()
    wait(key=f"yolact_jax_{next(_barrier_ids)}", timeout_ms=_LONGEST_WAIT_MS)
    return multihost_utils.process_allgather(told)
