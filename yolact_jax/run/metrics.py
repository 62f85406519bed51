"""The rows of ``metrics.jsonl``."""

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import BinaryIO, cast

import numpy as np

from yolact_jax.files import replacing

_LOGGER = logging.getLogger(__name__)
METRICS_FILE = "metrics.jsonl"
_LARGEST_STEP = 2**63


def append_row(
    workdir: str | Path, step: int, values: dict[str, float]
) -> dict[str, float | None]:
    """Appends one row to the run's ``metrics.jsonl``, and returns it.

    Args:
      workdir: folder of the run.
      step: training step the values belong to.
      values: numbers; what is not finite becomes null, as JSON has no nan.
    """
    row: dict[str, float | None] = {"step": step}
    for name, value in values.items():
        row[name] = float(value) if np.isfinite(value) else None
    with open(Path(workdir) / METRICS_FILE, "ab+") as file:
        # Behind a line that a killed process has cut short comes a new one.
        if file.seek(0, os.SEEK_END) and _last_byte(file) != b"\n":
            file.write(b"\n")
        file.write(json.dumps(row).encode() + b"\n")
    return row


def step_of(row: Mapping[str, float | None]) -> int:
    """The step of a row, which every row has."""
    return int(cast("float", row["step"]))


def read_rows(workdir: str | Path) -> list[dict[str, float | None]]:
    """Reads the rows of ``metrics.jsonl``; warns of other lines."""
    return [row for _, row in _lines(workdir) if row is not None]


def keep_rows(workdir: str | Path, step: int, *, evaluates: bool) -> int:
    """Removes and counts the rows that a stopped run wrote after its last checkpoint.

    Lines that are no rows stay, except for a last one that was cut short.

    Args:
      workdir: folder of the run.
      step: of the checkpoint; rows of later steps will be written again.
      evaluates: whether the run will evaluate this step, and so write its row again.
    """

    def stays(row: dict | None) -> bool:
        if row is None or row["step"] < step:
            return True
        return row["step"] == step and not (evaluates and "eval/mask_AP" in row)

    lines = _lines(workdir)
    kept = [line + b"\n" for line, row in lines if stays(row)]
    path = Path(workdir) / METRICS_FILE
    if path.is_file():
        with replacing(path) as temporary:
            temporary.write_bytes(b"".join(kept))
    return len(lines) - len(kept)


def _lines(workdir: str | Path) -> list[tuple[bytes, dict | None]]:
    """Each line with its row, None if it has none; without a last one cut short."""
    path = Path(workdir) / METRICS_FILE
    *whole, last = path.read_bytes().split(b"\n") if path.is_file() else [b""]
    lines = [(line, _row_of(line)) for line in (*whole, last)]
    if lines[-1][1] is None:
        lines.pop()
    odd = [str(number) for number, (_, row) in enumerate(lines, 1) if row is None]
    if odd:
        _LOGGER.warning(
            "%s: %d lines are no rows of metrics and are not used: %s.",
            path,
            len(odd),
            ", ".join(odd[:5]) + (" and more" if len(odd) > 5 else ""),
        )
    return lines


def _row_of(line: bytes) -> dict[str, float | None] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return None
    if not all(type(v) in (int, float, NoneType) for v in row.values()):
        return None
    if abs(row["step"]) >= _LARGEST_STEP:
        return None
    return {name: v if name == "step" else _finite(v) for name, v in row.items()}


def _finite(value: float | None) -> float | None:
    """None for what is not finite, or no float; JSON has no bound on integers."""
    try:
        return value if value is not None and math.isfinite(value) else None
    except OverflowError:
        return None


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def average(window: Sequence[dict[str, float]]) -> dict[str, float]:
    """Averages the values of several steps."""
    return {name: float(np.mean([v[name] for v in window])) for name in window[0]}
