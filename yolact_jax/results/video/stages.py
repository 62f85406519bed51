"""Steps of a job that run side by side, each in a thread, over bounded queues."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

Step = Callable[[Iterator[Any]], Iterator[Any]]
_POLL_S = 0.1
_END_S = 30.0  # longest wait for a thread that reads from a network


class _Stopped(Exception):
    """Ends a step whose results nobody wants any more."""


class _Stage:
    """A step with its thread; iterating it takes the results out of its queue."""

    def __init__(self, items: Iterator[Any], room: int, stop: threading.Event, drop):
        self.busy_s = 0.0  # with what was waited for
        self.waited_s = 0.0  # by the next step, for results of this one
        self.dropped = 0
        self._items, self._stop, self._drop = items, stop, drop
        self._queue: queue.Queue[tuple[str, Any]] = queue.Queue(room)
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        try:
            with contextlib.closing(_generator(self._items)) as items:
                for item in self._timed(items):
                    self._put(("item", item))
            self._put(("end", None))
        except _Stopped:
            pass
        except BaseException as error:
            # The next step raises it, after it has done all that came before.
            with contextlib.suppress(_Stopped):
                self._put(("error", error))

    def _timed(self, items: Iterator[Any]) -> Iterator[Any]:
        while True:
            start = time.perf_counter()
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                self.busy_s += time.perf_counter() - start
            yield item

    def _put(self, message: tuple[str, Any]) -> None:
        while not self._stop.is_set():
            try:
                return self._queue.put(message, timeout=0 if self._drop else _POLL_S)
            except queue.Full:
                if self._drop:
                    self._make_room()
        raise _Stopped

    def _make_room(self) -> None:
        with contextlib.suppress(queue.Empty):
            self._queue.get_nowait()
            self.dropped += 1

    def _get(self) -> tuple[str, Any]:
        start = time.perf_counter()
        try:
            while not self._stop.is_set():
                with contextlib.suppress(queue.Empty):
                    return self._queue.get(timeout=_POLL_S)
            raise _Stopped
        finally:
            self.waited_s += time.perf_counter() - start

    def __iter__(self) -> Iterator[Any]:
        while True:
            kind, value = self._get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value


class Stages:
    """Steps that are at work, and what each has cost so far.

    Iterating gives the results of the last step, in order.  An error in a step is
    raised here, after the results that came before it.
    """

    def __init__(self, steps: list[tuple[str, _Stage]]):
        self._steps = steps

    def __iter__(self) -> Iterator[Any]:
        return iter(self._steps[-1][1])

    @property
    def seconds(self) -> dict[str, float]:
        """Time that each step was busy, without what it waited for the one before."""
        waited = [0.0, *(stage.waited_s for _, stage in self._steps)]
        pairs = zip(self._steps, waited, strict=False)
        return {name: max(0.0, stage.busy_s - w) for (name, stage), w in pairs}

    @property
    def waited_s(self) -> float:
        """Time that the caller has waited for results."""
        return self._steps[-1][1].waited_s

    @property
    def dropped(self) -> int:
        """Items of the first step that nobody had time for."""
        return self._steps[0][1].dropped


@contextlib.contextmanager
def run_side_by_side(
    items: Iterable[Any],
    first: str,
    *steps: tuple[str, Step],
    room: int = 8,
    drop: bool = False,
) -> Iterator[Stages]:
    """Runs steps in threads of their own, which all have ended afterwards.

    Args:
      items: what the first step takes, made in a thread as well.
      first: name of making the items.
      *steps: names, and functions from an iterator to an iterator.
      room: how many results of a step may wait for the next; more make it wait.
      drop: whether items for which there is no room replace the oldest that wait, so
        that a source which cannot wait is followed; else it has to wait.

    Yields:
      What gives the results of the last step.
    """
    stop = threading.Event()
    running = [(first, _Stage(iter(items), room, stop, drop))]
    try:
        for name, step in steps:
            source = iter(running[-1][1])
            running.append((name, _Stage(step(source), room, stop, False)))
        yield Stages(running)
    finally:
        stop.set()
        for _, stage in running:
            stage.thread.join(_END_S)


def _generator(items: Iterator[Any]) -> Generator[Any, None, None]:
    """Gives any iterator a `close`."""
    if isinstance(items, Generator):
        return items
    return (item for item in items)
