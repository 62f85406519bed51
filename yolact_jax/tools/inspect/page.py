"""The page and the tables of what a model finds hardest."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from yolact_jax.data import rle
from yolact_jax.data.example import Example
from yolact_jax.data.records.dataset import annotation_entries
from yolact_jax.results.errors.scenes import truth_rle
from yolact_jax.results.report import html
from yolact_jax.results.report.gallery import cut_out
from yolact_jax.results.report.tables import write_csv
from yolact_jax.results.report.write import write_page
from yolact_jax.tools.inspect.losses import ImageLosses

SHOWN = 100
_TERMS = ("box", "classification", "mask")


@dataclasses.dataclass(frozen=True)
class Names:
    """What labels are called.

    Attributes:
      class_names: name of each label.
      category_ids: id of each label in the annotation file.
    """

    class_names: Sequence[str]
    category_ids: Sequence[int]


def object_rows(
    losses: Sequence[ImageLosses], read: Callable[[int], Example], names: Names
) -> list[dict[str, Any]]:
    """A row for each object, worst first.

    Args:
      losses: of each image.
      read: from the place of an image among them to its example.
      names: of the classes.
    """
    rows = []
    for place, image in enumerate(losses):
        annotations = read(place).annotations
        for index, terms, disagreement in zip(
            image.annotation.tolist(), image.losses, image.disagreement, strict=True
        ):
            rows.append(
                {
                    "image_id": image.image_id,
                    "annotation_id": int(annotations.ids[index]),
                    "class": names.class_names[int(annotations.labels[index])],
                    "loss": float(terms.sum()),
                    **{t: float(v) for t, v in zip(_TERMS, terms, strict=True)},
                    "disagreement": float(disagreement),
                    "place": place,
                    "index": index,
                }
            )
    return sorted(rows, key=lambda row: -row["loss"])


def image_rows(losses: Sequence[ImageLosses]) -> list[dict[str, Any]]:
    """A row for each image, the one with the worst object first."""
    rows = [
        {
            "image_id": image.image_id,
            "objects": len(image.annotation),
            "mean_loss": float(image.losses.sum(axis=1).mean())
            if len(image.annotation)
            else None,
            "unlabeled": image.unlabeled,
            "worst": image.worst,
        }
        for image in losses
    ]
    return sorted(rows, key=lambda row: -row["worst"])


def write_pages(
    folder: Path,
    losses: Sequence[ImageLosses],
    read: Callable[[int], Example],
    names: Names,
) -> Path:
    """Writes ``inspect.html``, ``losses_objects.csv`` and ``losses_images.csv``.

    Args:
      folder: created if missing; files of an earlier call are replaced.
      losses: of each image.
      read: from the place of an image among them to its example.
      names: of the classes.

    Returns:
      The path of the page, which shows the `SHOWN` worst objects of both orders.
    """
    rows = object_rows(losses, read, names)
    hidden = ("place", "index")
    tables = {
        "losses_objects.csv": [
            {k: v for k, v in row.items() if k not in hidden} for row in rows
        ],
        "losses_images.csv": image_rows(losses),
    }
    for name, table in tables.items():
        write_csv(folder / name, table)
    contradicted = sorted(rows, key=lambda row: -row["disagreement"])
    missing = [row for row in tables["losses_images.csv"] if row["unlabeled"] > 0]
    missing = sorted(missing, key=lambda row: -row["unlabeled"])[:SHOWN]
    body = html.join(
        [
            html.paragraph(_NOTE),
            _gallery("Contradicted labels", contradicted, read, names),
            _gallery("Hardest objects", rows, read, names),
            html.section(
                "Images that may lack a label",
                html.table(missing, dict.fromkeys(_LOSSES, ".2f"), sortable=True),
            ),
        ]
    )
    path = folder / "inspect.html"
    write_page(path, html.page("What the model fits worst", body))
    return path


_LOSSES = ("mean_loss", "unlabeled", "worst")
_NOTE = (
    "Labels are contradicted where the model is surest of another class; wrong classes "
    "show there. Losses are those of box, classification and mask, weighted as in "
    "training; wrong outlines show there. The object is on the left, all labels around "
    "it on the right."
)


def _gallery(
    title: str,
    rows: Sequence[dict[str, Any]],
    read: Callable[[int], Example],
    names: Names,
) -> html.Markup:
    figures = [_figure(row, read(row["place"]), names) for row in rows[:SHOWN]]
    parts = html.fill('<div class="gallery">$parts</div>', parts=html.join(figures))
    return html.section(title, parts)


def _figure(row: dict[str, Any], example: Example, names: Names) -> html.Markup:
    entries = annotation_entries(example, tuple(names.category_ids))
    size = example.height, example.width
    masks = [rle.decode(truth_rle(e, size)) for e in entries]
    own = masks[row["index"]]
    jpeg = cut_out(example.picture, own, [own], masks)
    caption = (
        f"{row['class']}, disagreement {row['disagreement']:.2f}, loss "
        f"{row['loss']:.1f} (box {row['box']:.1f}, class "
        f"{row['classification']:.1f}, mask {row['mask']:.1f}), annotation "
        f"{row['annotation_id']}, image {row['image_id']}"
    )
    return html.figure(html.picture(jpeg, caption, kind="jpeg", css="cut"), caption)
