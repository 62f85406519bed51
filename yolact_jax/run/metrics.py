"""The rows of ``metrics.jsonl``."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from yolact_jax.files import replacing

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


def read_rows(workdir: str | Path) -> list[dict[str, float | None]]:
    """Reads the rows of ``metrics.jsonl``; a line that was cut short is left out."""
    path = Path(workdir) / METRICS_FILE
    rows = []
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def keep_rows(workdir: str | Path, step: int, *, evaluated: bool) -> int:
    """Takes back the rows that a stopped run wrote after its last checkpoint.

    Args:
      workdir: folder of the run.
      step: of the checkpoint; what was trained after it is going to come again.
      evaluated: whether the evaluation at this step is complete, and its row stays.

    Returns:
      The number of rows taken away.
    """
    rows = read_rows(workdir)
    kept = [
        row
        for row in rows
        if row["step"] < step
        or (row["step"] == step and (evaluated or "eval/mask_AP" not in row))
    ]
    path = Path(workdir) / METRICS_FILE
    if path.is_file():
        with replacing(path) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in kept))
    return len(rows) - len(kept)


def average(window: Sequence[dict[str, float]]) -> dict[str, float]:
    """Averages the values of several steps."""
    return {name: float(np.mean([v[name] for v in window])) for name in window[0]}
