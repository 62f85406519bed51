"""Metrics of a run: lines on the terminal, and rows in ``metrics.jsonl``."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from yolact_jax.training.step import StepMetrics

METRICS_FILE = "metrics.jsonl"


def append_row(
    workdir: str | Path, step: int, values: dict[str, float]
) -> dict[str, float | None]:
    """Appends one row to the run's ``metrics.jsonl``.

    Args:
      workdir: folder of the run.
      step: training step the values belong to.
      values: numbers; what is not finite becomes null, as JSON has no nan.

    Returns:
      The row that was written.
    """
    row = {"step": step}
    for name, value in values.items():
        row[name] = float(value) if np.isfinite(value) else None
    with open(Path(workdir) / METRICS_FILE, "a") as file:
        file.write(json.dumps(row) + "\n")
    return row


def average(window: Sequence[StepMetrics]) -> dict[str, float]:
    """Averages the metrics of several steps, named as in ``metrics.jsonl``."""
    stacked = jax.tree.map(lambda *x: np.mean(x), *jax.device_get(list(window)))
    losses = stacked.losses
    terms = {
        "train/loss": losses.total,
        "train/box": losses.box,
        "train/class": losses.classification,
        "train/mask": losses.mask,
        "train/semantic": losses.semantic,
        "train/grad_norm": stacked.grad_norm,
        "train/skipped": stacked.skipped,
    }
    if losses.mask_iou is not None:
        terms["train/mask_iou"] = losses.mask_iou
    return terms


class Progress:
    """Measures speed, and words the progress line.

    Attributes:
      images_per_second: speed since the previous line.
    """

    def __init__(self, num_steps: int, batch_size: int):
        """Starts the clock at the first call of `line`.

        Args:
          num_steps: steps of the whole run.
          batch_size: images per step.
        """
        self._num_steps = num_steps
        self._batch_size = batch_size
        self._last: tuple[int, float] | None = None
        self.images_per_second = float("nan")

    def restart(self, step: int) -> None:
        """Restarts the clock after a pause that is not training, or compilation."""
        self._last = (step, time.perf_counter())

    def line(self, step: int, values: dict[str, float], learning_rate: float) -> str:
        """Words the state of the run after `step` steps."""
        now = time.perf_counter()
        last_step, last_time = self._last
        seconds_per_step = (now - last_time) / max(step - last_step, 1)
        self._last = (step, now)
        self.images_per_second = self._batch_size / seconds_per_step
        remaining = (self._num_steps - step) * seconds_per_step
        skipped = values["train/skipped"]
        return (
            f"step {step}/{self._num_steps}  loss {values['train/loss']:.3f} "
            f"(box {values['train/box']:.3f}, class {values['train/class']:.3f}, "
            f"mask {values['train/mask']:.3f}, "
            f"semantic {values['train/semantic']:.3f})  lr {learning_rate:.1e}  "
            f"{self.images_per_second:.1f} images/s  ETA {_duration(remaining)}"
            + (f"  SKIPPED {skipped:.0%} of updates: not finite" if skipped else "")
        )


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
