"""Speed, waiting for data, and time left of a run."""

import contextlib
import time
from collections.abc import Iterator

_FIRST_ESTIMATE_SECONDS = 30.0


class Progress:
    """Measures the speed between two progress lines, and writes the line."""

    def __init__(self, num_steps: int, batch_size: int):
        self._num_steps = num_steps
        self._batch_size = batch_size
        self._last: tuple[int, float] | None = None
        self._waited = 0.0
        self._is_estimated = False

    def restart(self, step: int) -> None:
        """Restarts the clock after compilation or another pause."""
        self._last, self._waited = (step, time.perf_counter()), 0.0

    def first_estimate(self, step: int) -> str | None:
        """Estimates once, before the first line, how long a slow run will take.

        Returns None unless half a minute has passed since the restart.
        """
        if self._last is None or self._is_estimated:
            return None
        first, start = self._last
        seconds = time.perf_counter() - start
        if step <= first or seconds < _FIRST_ESTIMATE_SECONDS:
            return None
        self._is_estimated = True
        left = (self._num_steps - step) * seconds / (step - first)
        return f"step {step}/{self._num_steps}  ETA {_duration(left)}"

    @contextlib.contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """Counts the time within as waiting for data."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    def measure(self, step: int) -> dict[str, float]:
        """Measures the time since the last call or restart.

        Returns:
          ``train/images_per_second``, ``train/data_wait``, the share of the time that
          the loop waited for the next batch, and ``train/eta_seconds``; all nan the
          first time.
        """
        last_step, last_time = self._last or (step, time.perf_counter())
        seconds = time.perf_counter() - last_time
        done = step - last_step
        self._is_estimated |= done > 0
        per_step = seconds / done if done else float("nan")
        values = {
            "train/images_per_second": self._batch_size / per_step,
            "train/data_wait": self._waited / seconds if done else float("nan"),
            "train/eta_seconds": (self._num_steps - step) * per_step,
        }
        self.restart(step)
        return values

    def line(self, step: int, values: dict[str, float], total_skipped: int) -> str:
        """Writes the progress line after `step` steps.

        Args:
          step: steps done.
          values: averages, `measure`, and ``train/learning_rate``.
          total_skipped: skipped updates of the whole run.
        """
        return (
            f"step {step}/{self._num_steps}  loss {values['train/loss']:.3f} "
            f"(box {values['train/box']:.3f}, class {values['train/class']:.3f}, "
            f"mask {values['train/mask']:.3f}, "
            f"semantic {values['train/semantic']:.3f})  "
            f"lr {values['train/learning_rate']:.1e}  "
            f"{values['train/images_per_second']:.1f} images/s  "
            f"{values['train/data_wait']:.0%} waiting for data  "
            f"ETA {_duration(values['train/eta_seconds'])}"
            + (f"  {total_skipped} updates SKIPPED so far" if total_skipped else "")
        )


def _duration(seconds: float) -> str:
    if seconds != seconds:
        return "unknown"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
