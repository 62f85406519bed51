"""Several processes in one run: how they start, wait for each other, and who writes."""

import itertools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

T = TypeVar("T")

_LONGEST_WAIT_MS = 24 * 3600 * 1000
_barrier_ids = itertools.count()


def initialize(
    *,
    auto: bool = False,
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Joins this process to the others of the run; before anything else in JAX.

    Does nothing for a run of one process, that is without any argument.

    Args:
      auto: find the other processes by what TPU pods, Slurm and Open MPI tell.
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
    elif not missing:
        if not 0 <= process_id < num_processes:
            raise ValueError(
                f"--process_id is {process_id}; with --num_processes {num_processes} "
                f"it must be in 0..{num_processes - 1}."
            )
        jax.distributed.initialize(**given)


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
    """What `data.pipeline.training_batches` needs to load the rows of this process."""
    return {
        "process_index": jax.process_index(),
        "process_count": jax.process_count(),
    }


def on_first_process(function: Callable[..., T], *args: Any, **kwargs: Any) -> T | None:
    """Calls a function in process 0 while the others wait.

    Args:
      function: must not need the others; any sharded array it uses must be replicated.
      *args: of the function.
      **kwargs: of the function.

    Returns:
      What the function returns; None in the other processes.

    Raises:
      RuntimeError: in the other processes, if it failed in process 0, where the error
        itself is raised.
    """
    if jax.process_count() == 1:
        return function(*args, **kwargs)
    result, error = None, None
    if is_first_process():
        try:
            result = function(*args, **kwargs)
        except Exception as caught:
            error = caught
    _wait_for_all()
    failed = multihost_utils.broadcast_one_to_all(np.int32(error is not None))
    if error is not None:
        raise error
    if failed:
        raise RuntimeError("Process 0 has failed; its messages say why.")
    return result


def first_process_first(function: Callable[[], T]) -> T:
    """Calls a function in process 0, then in the others, which find its files ready."""
    result = on_first_process(function)
    return result if is_first_process() else function()


def largest_of_all(value: int) -> int:
    """Returns the largest of the values that the processes call this with.

    So all of them learn, at the same step, that one has been told to stop.

    Args:
      value: int32.
    """
    if jax.process_count() == 1:
        return value
    return int(np.max(multihost_utils.process_allgather(np.int32(value))))


def number_of_first_process(value: float | None) -> float | None:
    """Returns, in every process, the number that process 0 calls this with.

    Args:
      value: float or None; ignored in the other processes.
    """
    if jax.process_count() == 1:
        return value
    number = np.float64(np.nan if value is None else value)
    number = float(multihost_utils.broadcast_one_to_all(number))
    return None if np.isnan(number) else number


def _wait_for_all() -> None:
    """Waits without a device, whose collectives give up after seconds on some."""
    wait = ocp.multihost.get_barrier_sync_fn()
    wait(key=f"yolact_jax_{next(_barrier_ids)}", timeout_ms=_LONGEST_WAIT_MS)
