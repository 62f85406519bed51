"""Loader processes: they end with their parent, and their death is noticed."""

import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Iterator

_LOGGER = logging.getLogger(__name__)
_SECONDS_UNTIL_TOLD = 60.0


class LoaderError(OSError):
    """A loader process has died."""


def end_with_parent(worker_index: int, worker_count: int) -> None:
    """Ends this process when its parent does, however that ends.

    Then Python's resource tracker, which outlives them all, frees the shared memory.
    grain calls this at the start of a worker, with arguments that are not needed.
    """
    del worker_index, worker_count
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_exit, args=(parent,), daemon=True).start()


def _wait_and_exit(parent) -> None:
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


@contextlib.contextmanager
def watched(num_workers: int, seconds: float = _SECONDS_UNTIL_TOLD) -> Iterator[None]:
    """Turns the death of a worker into a sentence, and warns of a long wait for one.

    Args:
      num_workers: loader processes; 0 if there are only threads.
      seconds: wait after which a warning is logged, again and again.

    Raises:
      LoaderError: if a worker was killed or crashed.
    """
    done = threading.Event()
    threading.Thread(
        target=_tell_of_wait, args=(done, num_workers, seconds), daemon=True
    ).start()
    try:
        yield
    except RuntimeError as error:
        if "terminated unexpectedly" not in str(error):
            raise
        reason = str(error).partition("exit code ")[2].partition(".")[0]
        raise LoaderError(
            f"A loader process died with exit code {reason or 'unknown'}; if the "
            f"system killed it (-9) for its memory, set config.data.num_workers "
            f"below {num_workers}."
        ) from error
    finally:
        done.set()


def _tell_of_wait(done: threading.Event, num_workers: int, seconds: float) -> None:
    waited = 0.0
    while not done.wait(seconds):
        waited += seconds
        who = f"{num_workers} loader processes" if num_workers else "loader threads"
        _LOGGER.warning(
            "Waiting for a batch of the %s for %.0f seconds: the disk is slow, or they "
            "were stopped.",
            who,
            waited,
        )
