"""Splits CPU time between stages that call each other."""

import collections
import time
from collections.abc import Callable


class StageTimer:
    """CPU seconds of nested calls, each second counted for the innermost stage only.

    Attributes:
      seconds: stage -> CPU seconds so far.
    """

    def __init__(self):
        """Starts with no stage."""
        self.seconds = collections.Counter()
        self._inner = [0.0]

    def timed(self, stage: str, function: Callable) -> Callable:
        """Wraps a function; all wrapped ones must run in one thread."""

        def wrapper(*args, **kwargs):
            self._inner.append(0.0)
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                took = time.thread_time() - start
                self.seconds[stage] += took - self._inner.pop()
                self._inner[-1] += took

        return wrapper
