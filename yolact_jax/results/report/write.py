"""Writes a report: one page, one json, and tables."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolact_jax.files import replacing, write_json
from yolact_jax.results.report import html, sections
from yolact_jax.results.report.gallery import ReadImage, make_gallery
from yolact_jax.results.report.numbers import Evaluated, measure, plain
from yolact_jax.results.report.tables import all_tables, write_csv

_LOGGER = logging.getLogger(__name__)
REPORT_FOLDER = "report"
PAGE_FILE, NUMBERS_FILE = "index.html", "numbers.json"


def write_report(
    folder: str | Path,
    evaluated: Evaluated,
    metrics: Mapping[str, float],
    *,
    title: str,
    facts: Mapping[str, Any],
    read_image: ReadImage | None = None,
    own: Mapping[str, Any] | None = None,
    curves_png: bytes | None = None,
) -> Path:
    """Writes ``index.html``, ``numbers.json`` and CSV files into a folder.

    Args:
      folder: created if missing; files of an earlier report are replaced.
      evaluated: objects and detections.
      metrics: of `evaluate_coco`.
      title: of the page.
      facts: what to say of the run: title -> text, or what JSON can hold.
      read_image: for the gallery, which is left out without it.
      own: numbers of YOLACT's own errors, from `errors.run.measure_masks`.
      curves_png: a picture of the training curves.

    Returns:
      The path of the page.
    """
    folder = Path(folder)
    numbers = {"metrics": plain(dict(metrics))} | measure(evaluated)
    numbers["yolact"] = plain(own)
    exhibits = make_gallery(evaluated, read_image) if read_image else []
    body = html.join(
        [
            sections.navigation(),
            sections.summary(numbers),
            sections.errors(numbers),
            sections.yolact(numbers["yolact"]),
            sections.classes(numbers),
            sections.curves(numbers),
            sections.confusion(numbers),
            sections.crowding(numbers),
            sections.gallery(exhibits),
            sections.about(facts, curves_png),
        ]
    )
    for table in all_tables(evaluated, numbers):
        write_csv(folder / table.name, table.columns, table.rows)
    write_json(folder / NUMBERS_FILE, numbers, indent=1)
    write_page(folder / PAGE_FILE, html.page(title, body))
    _LOGGER.info("Report: %s", folder / PAGE_FILE)
    return folder / PAGE_FILE


def write_page(path: Path, page: str) -> None:
    """Writes a page, completely or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")
