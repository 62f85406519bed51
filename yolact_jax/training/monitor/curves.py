"""The course of a run as a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from yolact_jax.results.draw import image_grid, write_picture
from yolact_jax.run.metrics import read_rows
from yolact_jax.training.monitor.charts import Line, draw_chart

CURVES_FILE = "curves.png"
_LOSSES = {
    "total": "train/loss",
    "box": "train/box",
    "class": "train/class",
    "mask": "train/mask",
    "semantic": "train/semantic",
    "mask IoU": "train/mask_iou",
}
_PRECISIONS = {
    "mask AP": "eval/mask_AP",
    "mask AP50": "eval/mask_AP50",
    "box AP": "eval/box_AP",
    "box AP50": "eval/box_AP50",
}


def write_curves(workdir: str | Path) -> None:
    """Draws losses and AP over steps, from the run's metrics, to ``curves.png``."""
    rows = read_rows(workdir)
    panels = [draw_chart("Training loss", _lines(rows, _LOSSES), log_y=True)]
    precisions = _lines(rows, _PRECISIONS, factor=100)
    if precisions:
        panels.append(draw_chart("AP on the validation split, percent", precisions))
    write_picture(Path(workdir) / CURVES_FILE, image_grid(panels, 2))


def _lines(rows: Sequence[dict], names: dict[str, str], factor: float = 1) -> list:
    """A line for each name that the rows have."""
    lines = []
    for name, key in names.items():
        known = [(row["step"], row[key]) for row in rows if key in row]
        if known:
            # A null is a value that was not finite.
            steps, values = np.array(known, float).T
            lines.append(Line(name, steps, factor * values))
    return lines
