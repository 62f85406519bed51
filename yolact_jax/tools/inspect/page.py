"""The page and the tables of what a model finds hardest."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

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
    """A row for each object, worst first; those without anchors are last.

    Args:
      losses: of each image.
      read: from the place of an image among them to its example.
      names: of the classes.
    """
    rows = []
    for place, image in enumerate(losses):
        annotations = read(place).annotations
        for slot, index in enumerate(image.annotation.tolist()):
            rows.append(
                {
                    "image_id": image.image_id,
                    "annotation_id": int(annotations.ids[index]),
                    "class": names.class_names[int(annotations.labels[index])],
                    **_measured(image, slot, names),
                    "place": place,
                    "index": index,
                }
            )
    return sorted(rows, key=lambda row: (row["loss"] is None, -(row["loss"] or 0)))


def _measured(image: ImageLosses, slot: int, names: Names) -> dict[str, Any]:
    """What the model says of an object, or None."""
    if not image.matched[slot]:
        return dict.fromkeys(_MEASURED)
    terms, single = image.losses[slot].tolist(), len(names.class_names) == 1
    return {
        "loss": float(image.losses[slot].sum()),
        **dict(zip(_TERMS, terms, strict=True)),
        "background": float(image.background[slot]),
        "contradicted": None if single else float(image.contradicted[slot]),
        "likely_class": None if single else names.class_names[image.likely[slot]],
    }


def image_rows(losses: Sequence[ImageLosses], names: Names) -> list[dict[str, Any]]:
    """A row for each image, the one with the worst object first."""
    rows = []
    for image in losses:
        totals = image.losses[image.matched].sum(axis=1)
        x1, y1, x2, y2 = image.unlabeled_px.round(1).tolist()
        found = image.unlabeled > 0
        rows.append(
            {
                "image_id": image.image_id,
                "objects": len(image.annotation),
                "mean_loss": float(totals.mean()) if len(totals) else None,
                "worst_loss": float(totals.max(initial=0.0)),
                "unlabeled": image.unlabeled,
                "likely_class": names.class_names[image.unlabeled_label]
                if found
                else None,
                **{"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1},
            }
        )
    return sorted(rows, key=lambda row: -row["worst_loss"])


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
      The path of the page, which shows the `SHOWN` worst of each kind.
    """
    rows = object_rows(losses, read, names)
    write_csv(folder / "losses_objects.csv", _OBJECT_COLUMNS, rows)
    write_csv(folder / "losses_images.csv", _IMAGE_COLUMNS, image_rows(losses, names))
    known = [row for row in rows if row["loss"] is not None]
    galleries = [
        _gallery(title, note, sorted(known, key=lambda row: -worst(row)), read, names)
        for title, note, worst in _RANKINGS[len(names.class_names) == 1 :]
    ]
    unknown = _unmatched(len(rows) - len(known))
    body = html.join([*unknown, *galleries, _unlabeled(losses, read, names)])
    path = folder / "inspect.html"
    write_page(path, html.page("What the model does not believe", body))
    return path


_MEASURED = ("loss", *_TERMS, "background", "contradicted", "likely_class")
_OBJECT_COLUMNS = ("image_id", "annotation_id", "class", *_MEASURED)
_IMAGE_COLUMNS = (
    *("image_id", "objects", "mean_loss", "worst_loss"),
    *("unlabeled", "likely_class", "x", "y", "width", "height"),
)
# The first is for several classes.
_RANKINGS: list[tuple[str, str, Callable[[dict[str, Any]], float]]] = [
    (
        "Wrong class",
        "The model is surest of another class. The object is on the left, all labels "
        "around it on the right.",
        lambda row: row["contradicted"],
    ),
    (
        "Wrong outline",
        "Box and mask fit worst, by their losses, weighted as in training.",
        lambda row: row["box"] + row["mask"],
    ),
    (
        "Nothing there",
        "The model sees the background.",
        lambda row: row["background"],
    ),
]


def _unmatched(count: int) -> list[html.Markup]:
    """Says how many objects are in no ranking, if any are."""
    if not count:
        return []
    text = (
        f"Objects to which no anchor belongs: {count}. The model learns nothing of "
        f"them, so they are in no list here; in losses_objects.csv they are last, "
        f"with empty cells."
    )
    return [html.paragraph(text)]


def _gallery(
    title: str,
    note: str,
    rows: Sequence[dict[str, Any]],
    read: Callable[[int], Example],
    names: Names,
) -> html.Markup:
    figures = []
    for row in rows[:SHOWN]:
        example = read(row["place"])
        masks = _masks(example, names)
        figures.append(_figure(example, masks[row["index"]], masks, _caption(row)))
    return html.section(title, html.paragraph(note), _grid(figures))


def _caption(row: dict[str, Any]) -> str:
    other = ""
    if row["likely_class"] is not None:
        odds = f"{row['contradicted']:+.1f}"
        other = f"{row['likely_class']} has {odds} in log-probability, "
    return (
        f"{row['class']}; {other}background {row['background']:.2f}, loss "
        f"{row['loss']:.1f} (box {row['box']:.1f}, class "
        f"{row['classification']:.1f}, mask {row['mask']:.1f}), annotation "
        f"{row['annotation_id']}, image {row['image_id']}"
    )


def _unlabeled(
    losses: Sequence[ImageLosses], read: Callable[[int], Example], names: Names
) -> html.Markup:
    """The likeliest objects that no label is near."""
    order = sorted(range(len(losses)), key=lambda place: -losses[place].unlabeled)
    figures = []
    for place in order[:SHOWN]:
        image = losses[place]
        if image.unlabeled <= 0:
            break
        example = read(place)
        box = np.zeros((example.height, example.width), bool)
        x1, y1, x2, y2 = image.unlabeled_px.round().astype(int)
        box[y1:y2, x1:x2] = True
        name = names.class_names[image.unlabeled_label]
        caption = f"{name} {image.unlabeled:.2f}, image {image.image_id}"
        figures.append(_figure(example, box, _masks(example, names), caption))
    note = "The box that looks most like an object, and overlaps no label much."
    return html.section("Missing label", html.paragraph(note), _grid(figures))


def _grid(figures: Sequence[html.Markup]) -> html.Markup:
    if not figures:
        return html.paragraph("Nothing to show.")
    return html.fill('<div class="gallery">$parts</div>', parts=html.join(figures))


def _masks(example: Example, names: Names) -> list[np.ndarray]:
    entries = annotation_entries(example, tuple(names.category_ids))
    return [rle.decode(truth_rle(e, (example.height, example.width))) for e in entries]


def _figure(
    example: Example, one: np.ndarray, every: Sequence[np.ndarray], caption: str
) -> html.Markup:
    """A mask on the left, all labels around it on the right."""
    jpeg = cut_out(example.picture, one, [one], every)
    return html.figure(html.picture(jpeg, caption, kind="jpeg", css="cut"), caption)
