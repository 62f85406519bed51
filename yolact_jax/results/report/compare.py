"""Two evaluations of the same images side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolact_jax.results.errors import images, tide
from yolact_jax.results.errors.precision import class_precision, mean_of_known
from yolact_jax.results.report import html, plots
from yolact_jax.results.report.numbers import ALL_CLASSES, KINDS, Evaluated, plain
from yolact_jax.results.report.tables import write_csv
from yolact_jax.results.report.write import write_page

COMPARISON_PAGE, COMPARISON_TABLE = "comparison.html", "comparison.csv"
_COLUMNS = ("kind", "class", "first", "second", "difference", "low", "high")


def compare(first: Evaluated, second: Evaluated) -> list[dict[str, Any]]:
    """Compares AP, over IoU 0.50 to 0.95, of each class.

    Returns:
      For boxes and masks, for all classes and then for each: `kind`, `class`, `first`,
      `second`, `difference`, and `low` and `high`, its 95 % bootstrap interval over
      images; None where a class has no objects.

    Raises:
      ValueError: if classes, images or objects differ.
    """
    for what, values in (
        ("classes", [e.classes for e in (first, second)]),
        ("images", [sorted(e.image_ids) for e in (first, second)]),
        ("annotations", [e.fingerprint for e in (first, second)]),
    ):
        if values[0] != values[1]:
            shown = [v if isinstance(v, str) else len(v) for v in values]
            raise ValueError(
                f"the two runs were evaluated on different {what} ({shown[0]} and "
                f"{shown[1]}), so that their AP cannot be compared; evaluate both on "
                f"the same data."
            )
    return [row for kind in KINDS for row in _of_kind(kind, first, second)]


def _of_kind(kind, first: Evaluated, second: Evaluated) -> list[dict[str, Any]]:
    pair = first.matches[kind], second.matches[kind]
    found = images.bootstrap_differences(*pair)
    columns = []
    for matches in pair:
        classes = class_precision(matches).mean(axis=1)
        columns.append([*classes, mean_of_known(classes)])
    rows = [
        {"kind": kind, "class": name, "first": columns[0][i], "second": columns[1][i]}
        | {key: values[i] for key, values in found.items()}
        for i, name in enumerate([*first.names, ALL_CLASSES])
    ]
    return plain([rows[-1], *rows[:-1]])


def write_comparison(
    folder: str | Path, evaluated: Sequence[Evaluated], names: Sequence[str]
) -> Path:
    """Writes ``comparison.html`` and ``comparison.csv`` into a folder.

    Args:
      folder: created if missing; files of an earlier comparison are replaced.
      evaluated: the two evaluations.
      names: what to call them.

    Returns:
      The path of the page.
    """
    folder = Path(folder)
    rows = compare(*evaluated)
    write_csv(folder / COMPARISON_TABLE, _COLUMNS, rows)
    sections = [html.paragraph(f"First: {names[0]}. Second: {names[1]}.")]
    for kind in KINDS:
        shown = [_shown(row) for row in rows if row["kind"] == kind]
        sections.append(
            html.section(
                f"AP of {kind}es" if kind == "box" else f"AP of {kind}s",
                html.table(shown, _FORMATS, sortable=True),
                _errors_plot(evaluated, kind),
            )
        )
    note = (
        "AP over IoU 0.50 to 0.95. The interval holds 95 % of the differences when the "
        "images are drawn anew, 200 times, the same for both; one without 0 is marked."
    )
    body = html.join([*sections, html.paragraph(note)])
    path = folder / COMPARISON_PAGE
    write_page(path, html.page("Comparison of two runs", body))
    return path


_FORMATS: dict[str, str] = {
    **dict.fromkeys(("first", "second"), ".1%"),
    **dict.fromkeys(("difference", "low", "high"), "+.1%"),
}


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the page: without the kind, and with a word where AP differs surely."""
    cells = {key: value for key, value in row.items() if key != "kind"}
    sure = row["low"] is not None and (row["low"] > 0 or row["high"] < 0)
    word = "better" if sure and row["difference"] > 0 else "worse" if sure else ""
    return cells | {"second is": word}


def _errors_plot(evaluated: Sequence[Evaluated], kind) -> html.Markup:
    """What each kind of error costs in both."""
    gains = {
        name: [100 * row["alone"] for row in tide.budget(e.errors[kind]).values()]
        for name, e in zip(("first", "second"), evaluated, strict=True)
    }
    plot = plots.bars(tide.KINDS, plain(gains), "AP50 gained, percent")
    return html.picture(plot, "AP gained by correcting each kind of error")
