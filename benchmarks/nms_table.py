"""The table of `benchmarks/nms.py`: on the terminal, as CSV and as a plot."""

import csv
import itertools
import platform
from pathlib import Path

import jax

from benchmarks import timing

KEEP_ALL = "no suppression"
NUMPY = "NumPy greedy"
TORCH = "torchvision"
"""Variants that are drawn differently: what all share, and what is not JAX."""


def print_rows(rows: list[dict]) -> None:
    """Prints the rows of one case."""
    for row in rows:
        print(
            f"{row['classes']:>4} classes {row['boxes']:>6} boxes batch "
            f"{row['batch']:<3} {row['variant']:<15} {row['median_ms']:>9.2f} ms "
            f"(p90 {row['p90_ms']:>8.2f}, compile {row['compile_s']:>5.2f} s)  "
            f"agreement {row['agreement']:.3f}  share {row['share']}",
            flush=True,
        )


def results_name() -> str:
    """Names the results by device and versions."""
    device = timing.device_name()
    if device == "cpu":
        device += f"-{platform.machine()}"
    return f"nms-{device}-jax{jax.__version__}"


_KEY = ("source", "batch", "boxes", "classes", "top_k", "variant")


def merged(path: Path, rows: list[dict]) -> list[dict]:
    """Rows of an earlier run, with the new ones in place of those of the same case."""
    table = {}
    if path.exists():
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                row = {k: _parsed(v) for k, v in row.items()}
                table[tuple(row[k] for k in _KEY)] = row
    table |= {tuple(row[k] for k in _KEY): row for row in rows}
    return [table[key] for key in sorted(table, key=lambda k: k[:5])]


def _parsed(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def plot(path: Path, rows: list[dict]) -> None:
    """Draws time against boxes, a row of panels per batch, a column per classes."""
    from matplotlib.figure import Figure

    rows = [row for row in rows if row["source"] == rows[0]["source"]]
    classes, batches = (sorted({row[k] for row in rows}) for k in ("classes", "batch"))
    size = (4.2 * len(classes) + 1.6, 3.6 * len(batches))
    figure = Figure(figsize=size, layout="constrained")
    shape = (len(batches), len(classes))
    axes = figure.subplots(*shape, sharex=True, sharey=True, squeeze=False)
    for (i, batch), (j, count) in itertools.product(
        enumerate(batches), enumerate(classes)
    ):
        mine = [r for r in rows if (r["batch"], r["classes"]) == (batch, count)]
        _draw(axes[i, j], mine, f"{count} classes, batch {batch}")
    for axis in axes[:, 0]:
        axis.set_ylabel("median time, ms")
    for axis in axes[-1]:
        axis.set_xlabel("boxes")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center")
    figure.savefig(path, dpi=110)


def _draw(axis, rows: list[dict], title: str) -> None:
    """One line per variant."""
    # Those that are not JAX are dashed, and what all of JAX's share is dotted.
    styles = {KEEP_ALL: ":", NUMPY: "--", TORCH: "--"}
    for name in dict.fromkeys(row["variant"] for row in rows):
        points = [(r["boxes"], r["median_ms"]) for r in rows if r["variant"] == name]
        style = styles.get(name, "-")
        axis.plot(
            *zip(*sorted(points), strict=True), style, marker="o", ms=3, label=name
        )
    axis.set(xscale="log", yscale="log", title=title)
    axis.grid(alpha=0.3, which="both")
