"""The plots of a report, as PNG."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

# Okabe and Ito's colors, which color-blind readers can tell apart.
COLORS = {"box": "#0072b2", "mask": "#d55e00"}
_OF_RUNS = {"first": "#9aa5ae", "second": "#009e73"}
_FAINT, _GRID = "#5c6770", "#e4e4e4"
_INCHES, _DOTS_PER_INCH = (6.4, 3.8), 110
_MOST_NAMED = 30


def _plot(draw: Callable[[Any], None], size: tuple[float, float] = _INCHES) -> bytes:
    # Slow to import.  Without pyplot there is no global state, and no window system.
    from matplotlib.figure import Figure

    figure = Figure(size, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    draw(axes)
    file = io.BytesIO()
    # Without the version of matplotlib the same numbers give the same bytes.
    metadata = {"Software": None}
    figure.savefig(file, format="png", dpi=_DOTS_PER_INCH, metadata=metadata)
    return file.getvalue()


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], float)


def precision_recall(numbers: Mapping[str, Any]) -> bytes:
    """Precision over recall of boxes and masks, at three overlaps."""
    styles = {"IoU 0.50": "-", "IoU 0.75": "--", "mean": ":"}

    def draw(axes) -> None:
        recalls = np.linspace(0, 1, 101)
        for kind, color in COLORS.items():
            for name, curve in numbers[kind]["curves"].items():
                label = f"{kind}, {name}"
                axes.plot(
                    recalls, _numbers(curve), styles[name], color=color, label=label
                )
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(frameon=False, fontsize="small")

    return _plot(draw)


def calibration(numbers: Mapping[str, Any]) -> bytes:
    """Share of right detections over score; a well calibrated model is on the line."""

    def draw(axes) -> None:
        axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=1)
        for kind, color in COLORS.items():
            bins = numbers[kind]["calibration"]
            sizes = 12 + 6 * np.log10(np.maximum(bins["count"], 1))
            scores, shares = _numbers(bins["score"]), _numbers(bins["precision"])
            axes.plot(scores, shares, color=color, label=kind)
            axes.scatter(scores, shares, sizes**1.3, color=color, alpha=0.7)
        axes.set(xlabel="score", ylabel="right at IoU 0.5", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(frameon=False)

    return _plot(draw)


def bars(
    names: Sequence[str], values: Mapping[str, Sequence[float | None]], label: str
) -> bytes:
    """Groups of bars beside each other, a color for each kind."""

    def draw(axes) -> None:
        places, width = np.arange(len(names)), 0.8 / max(len(values), 1)
        for number, (kind, heights) in enumerate(values.items()):
            offset = (number - (len(values) - 1) / 2) * width
            color = (COLORS | _OF_RUNS)[kind]
            drawn = axes.bar(places + offset, _numbers(heights), width, color=color)
            drawn.set_label(kind)
            texts = ["-" if h is None else f"{h:.1f}" for h in heights]
            axes.bar_label(drawn, texts, fontsize=7, color=_FAINT, padding=1)
        axes.set_xticks(places, names, fontsize="small")
        axes.set_ylabel(label)
        axes.grid(visible=False, axis="x")
        if len(values) > 1:
            axes.legend(frameon=False)

    return _plot(draw)


def confusion(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> bytes:
    """Shares of each true class by detected class; the last is the background."""
    counts = np.array(matrix, float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [*names, "background"]
    shown = len(names) <= _MOST_NAMED
    side = min(3.2 + 0.3 * len(names), 10) if shown else 9

    def draw(axes) -> None:
        axes.grid(visible=False)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set(xlabel="detected as", ylabel="is")
        if not shown:
            return
        short = [name if len(name) <= 14 else f"{name[:13]}…" for name in names]
        axes.set_xticks(range(len(names)), _literal(short), rotation=90, fontsize=8)
        axes.set_yticks(range(len(names)), _literal(short), fontsize=8)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if shares[row, column] > 0.5 else "black"
                text = f"{count:.0f}"
                axes.text(column, row, text, ha="center", va="center", color=color)

    return _plot(draw, (side, side))


def _literal(names: Sequence[str]) -> list[str]:
    """Names as matplotlib shows them without taking dollars for mathematics."""
    return [name.replace("$", r"\$") for name in names]
