"""Losses and AP of a run as a picture."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolact_jax.files import replacing
from yolact_jax.run.metrics import read_rows

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
# Okabe and Ito's colors, which color-blind readers can tell apart.
_COLORS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
_PANEL_INCHES, _DOTS_PER_INCH = (6.4, 4.2), 150  # 960 pixels wide, as a phone is
_MOST_MARKED, _MOST_POINTS = 50, 300


def write_curves(workdir: str | Path) -> None:
    """Draws losses and AP over steps, from the run's metrics, to ``curves.png``."""
    with replacing(Path(workdir) / CURVES_FILE) as temporary:
        temporary.write_bytes(curves_png(workdir))


def curves_png(workdir: str | Path) -> bytes:
    """Draws losses and AP over steps, from the run's metrics.

    A value that was not finite leaves a gap; AP is drawn if there is any.
    """
    # Slow to import.  Without pyplot there is no global state, and no window system.
    from matplotlib.figure import Figure

    rows = read_rows(workdir)
    panels = {"Training loss": _lines(rows, _LOSSES)}
    precisions = _lines(rows, _PRECISIONS, factor=100)
    if precisions:
        panels["AP on the validation split, percent"] = precisions
    width, height = _PANEL_INCHES
    figure = Figure((width, len(panels) * height), layout="constrained")
    every_axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axes, (title, lines) in zip(every_axes, panels.items(), strict=True):
        _draw_panel(axes, title, lines)
    every_axes[0].set_yscale("log", nonpositive="mask")
    every_axes[0].yaxis.set_major_formatter("{x:g}")
    every_axes[-1].set_xlabel("step")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DOTS_PER_INCH)
    return file.getvalue()


def _lines(rows: Sequence[dict], names: dict[str, str], factor: float = 1) -> dict:
    """(steps, values) by name, for each that the rows have, in order of the steps.

    Of rows of one step, as from evaluating it again, the last counts.
    """
    lines = {}
    for name, key in names.items():
        known = {row["step"]: row[key] for row in rows if key in row}
        if known:
            steps, values = np.array(sorted(known.items()), float).T
            lines[name] = steps, factor * values
    return lines


def _draw_panel(axes: Any, title: str, lines: dict[str, tuple]) -> None:
    for (name, (steps, values)), color in zip(lines.items(), _COLORS, strict=False):
        if len(steps) > _MOST_POINTS:  # All of them faintly, and their course.
            axes.plot(steps, values, color=color, linewidth=0.5, alpha=0.25)
            steps, values = _averaged(steps), _averaged(values)
        marker = "o" if len(steps) <= _MOST_MARKED else None
        axes.plot(steps, values, color, label=name, marker=marker, markersize=4)
    axes.set_title(title, loc="left", fontweight="bold")
    axes.locator_params(axis="x", nbins=5, integer=True)
    axes.xaxis.set_major_formatter("{x:,.10g}")
    axes.grid(which="both", color="#e4e4e4", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if lines:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def _averaged(values: np.ndarray) -> np.ndarray:
    """Means of neighbors; nan where one of them is nan."""
    return np.array([part.mean() for part in np.array_split(values, _MOST_POINTS)])
