"""Runs a function over many items in threads, with the results in order."""

import collections
import concurrent.futures
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def ordered_map(
    function: Callable[[_In], _Out],
    items: Iterable[_In],
    *,
    num_ahead: int,
    num_threads: int | None = None,
) -> Iterator[_Out]:
    """Yields the results in the order of the items, some computed ahead, in threads.

    Reading files and decoding images happens outside of Python's lock, so threads use
    all cores for it; unlike processes they start at once and copy nothing.  An
    exception is raised where its result would have come.

    Args:
      function: of one item; it may run for several items at the same time.
      items: its arguments.
      num_ahead: results ready or being computed, at least 1.
      num_threads: how many threads; by default one per core.
    """
    threads = min(num_ahead, num_threads or os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        rest = iter(items)
        pending = collections.deque(
            pool.submit(function, item) for item in itertools.islice(rest, num_ahead)
        )
        try:
            while pending:
                future = pending.popleft()
                for item in itertools.islice(rest, 1):
                    pending.append(pool.submit(function, item))
                yield future.result()
        finally:
            for future in pending:
                future.cancel()
