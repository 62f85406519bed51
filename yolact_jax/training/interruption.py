"""Ending a run between two steps when the system or the user asks for it."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from yolact_jax.cli import Ended

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(Ended):
    """A run was stopped by a signal, and saved.

    Attributes:
      exit_status: 128 plus the number of the signal, as shells have it.
    """

    def __init__(self, message: str, number: signal.Signals):
        super().__init__(message, 128 + number)


def _always() -> bool:
    return True


class Interruption:
    """Notes the first SIGTERM or SIGINT; the second ends the process at once.

    Use as a context manager.  Outside of the main thread signals cannot be caught, and
    nothing happens.

    Attributes:
      signal: the signal that came, or None.
    """

    def __init__(self):
        self.signal: signal.Signals | None = None
        self._saved_step: int | None = None
        self._may_raise: Callable[[], bool] = _always
        self._old_handlers = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._old_handlers = {s: signal.signal(s, self._note) for s in _SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def at_once(
        self, step: int, *, may_raise: Callable[[], bool] = _always
    ) -> Iterator[None]:
        """Lets a signal raise `Interrupted` at once, in work that nothing depends on.

        `step` is the one that is saved.  While `may_raise()` is false, a signal is only
        noted.
        """
        if may_raise():
            self.raise_if_noted(step)
        self._saved_step, self._may_raise = step, may_raise
        try:
            yield
        finally:
            self._saved_step, self._may_raise = None, _always

    def raise_if_noted(self, step: int) -> None:
        """Raises `Interrupted` if a signal came; call it when `step` is saved."""
        if self.signal is not None:
            raise Interrupted(
                f"stopped by {self.signal.name} after step {step}, which is saved; the "
                f"same command continues from there.",
                self.signal,
            )

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.signal = signal.Signals(number)
        if self._saved_step is not None and self._may_raise():
            self.raise_if_noted(self._saved_step)
        # Not print: the signal may have come in the middle of one.
        os.write(
            2,
            f"\n{self.signal.name}: finishing the running step and saving; a second "
            f"signal stops at once.\n".encode(),
        )
