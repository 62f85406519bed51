"""The parts of a report's page, from its numbers."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from yolact_jax.results.errors.tide import KINDS
from yolact_jax.results.report import html, plots
from yolact_jax.results.report.gallery import EXHIBITED, Exhibit
from yolact_jax.results.report.numbers import CONFUSION_SCORE

_PERCENT = ".1%"
_COLUMNS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
_ERRORS = {
    "classification": "right place, wrong class",
    "localization": "right class, overlap from 0.1 to 0.5",
    "both": "wrong class, and overlap from 0.1 to 0.5",
    "duplicate": "an object that a better score has found",
    "background": "overlaps nothing by 0.1",
    "missed": "objects that no detection is near",
}
_ORACLES = {
    "as it is": "",
    "crop": "the object's own box crops the mask",
    "leakage": "only the parts of the mask that touch the object stay",
    "localization failure": "masks let go of neighbors that they cover as well",
    "assembly": "least-squares best coefficients for the same prototypes",
}
_BOUNDS = {
    "resolution": "the objects themselves at the size of the prototypes",
    "linear": "the best combination of the network's prototypes",
}
_SIZES = {"all": "all", "s": "small", "m": "medium", "l": "large"}


def summary(numbers: Mapping[str, Any]) -> html.Markup:
    """The table of AP and AR."""
    rows = []
    for kind in ("box", "mask"):
        metrics = {n: numbers["metrics"][f"{kind}_{n}"] for n in _COLUMNS}
        rows.append({"": kind} | metrics | numbers[kind]["recalls"])
    formats = dict.fromkeys(rows[0], _PERCENT) | {"": ""}
    note = (
        "AP over IoU 0.50 to 0.95 by pycocotools; s, m, l are objects below 32² square "
        "pixels, between, and above 96². AR is recall with that many detections an "
        "image and class, or by size with all that count."
    )
    count = f"{numbers['images']:,} images, {numbers['objects']:,} objects."
    parts = [html.paragraph(count), html.table(rows, formats), html.paragraph(note)]
    return html.section("Average precision", *parts, anchor="ap")


def classes(numbers: Mapping[str, Any]) -> html.Markup:
    """The sortable table of classes."""
    formats = dict.fromkeys(
        ("box_AP", "box_AP50", "mask_AP", "mask_AP50", "precision", "recall"), _PERCENT
    ) | {"threshold": ".2f", "f1": ".3f"}
    note = (
        "The threshold is the score at which the masks of the class have the best F1 "
        "at IoU 0.5, with its precision and recall. A click on a column sorts."
    )
    table = html.table(numbers["classes"], formats, sortable=True)
    return html.section("Classes", table, html.paragraph(note), anchor="classes")


def curves(numbers: Mapping[str, Any]) -> html.Markup:
    """Precision over recall, and how well scores are calibrated."""
    errors = [numbers[kind]["calibration"]["error"] for kind in ("box", "mask")]
    shown = ["-" if e is None else f"{e:.3f}" for e in errors]
    note = (
        f"Expected calibration error: boxes {shown[0]}, masks {shown[1]}. Points above "
        f"the line are detections that are better than their scores say."
    )
    pair = html.fill(
        '<div class="pair">$a$b</div>',
        a=html.picture(plots.precision_recall(numbers), "precision over recall"),
        b=html.picture(plots.calibration(numbers), "precision over score"),
    )
    parts = [pair, html.paragraph(note)]
    return html.section("Precision, recall, calibration", *parts, anchor="curves")


def errors(numbers: Mapping[str, Any]) -> html.Markup:
    """What each of TIDE's kinds of error costs."""
    rows = [
        {
            "error": html.fill('<a href="#$kind">$kind</a>', kind=kind),
            "": _ERRORS[kind],
            **{
                f"{of} {column}": numbers[of]["tide"][kind][column]
                for of in ("box", "mask")
                for column in ("count", "alone", "in_turn")
            },
        }
        for kind in KINDS
    ]
    formats = {
        f"{k} {c}": _PERCENT for k in ("box", "mask") for c in ("alone", "in_turn")
    }
    shown = {
        kind: [_percent(numbers[kind]["tide"][name]["alone"]) for name in KINDS]
        for kind in ("box", "mask")
    }
    plot = plots.bars(list(KINDS), shown, "AP50 gained, percent")
    note = (
        "AP at IoU 0.5 gained if errors of one kind were corrected, alone, and in turn "
        "after all kinds above. The latter add up to what is missing to 100 %. "
        "Definitions: docs/errors.md."
    )
    parts = [
        html.picture(plot, "AP gained by kind of error"),
        html.table(rows, formats),
    ]
    return html.section("Errors", *parts, html.paragraph(note), anchor="errors")


def yolact(own: Mapping[str, Any] | None) -> html.Markup:
    """What the steps of mask assembly cost."""
    if own is None:
        return html.Markup("")
    base = own["budget"]["as it is"]
    rows = [
        {"step done right": name, "": text, "mask AP": ap, "gain": _minus(ap, base)}
        for name, text in _ORACLES.items()
        for ap in [own["budget"][name]]
    ]
    bounds = [
        {"bound": name, "": _BOUNDS[name]} | {_SIZES[s]: v for s, v in row.items()}
        for name, row in own["bounds"].items()
    ]
    formats = {"mask AP": _PERCENT, "gain": "+.1%", "failed": _PERCENT}
    formats |= dict.fromkeys(_SIZES.values(), _PERCENT)
    formats |= {"coefficient_distance": ".2f"}
    leaked = own["budget"]["leaked"]
    share = "-" if leaked is None else f"{leaked:.1%}"
    parts = [
        html.paragraph(
            f"Measured on {own['images']:,} images, by running the network."
        ),
        html.table(rows, formats),
        html.paragraph(f"Share of mask pixels on other objects: {share}."),
        html.fill("<h3>Bounds: AP of the objects themselves</h3>"),
        html.table(bounds, formats),
        html.fill("<h3>Neighbors of one class under one mask</h3>"),
        html.paragraph(
            "Pairs of which the uncropped mask of one covers more than half of both, "
            "by the distance of their centers in object sides, and by the number of "
            "objects of the class in the image."
        ),
        html.table(own["by_distance"], formats),
        html.table(own["by_crowding"], formats),
    ]
    return html.section("Errors of YOLACT's steps", *parts, anchor="yolact")


def confusion(numbers: Mapping[str, Any]) -> html.Markup:
    """Which class is taken for which."""
    plot = plots.confusion(numbers["mask"]["confusion"], numbers["class_names"])
    note = (
        f"Masks with a score of at least {CONFUSION_SCORE} and IoU 0.5; colors are "
        f"shares of a row. The last column are missed objects, the last row detections "
        f"of nothing."
    )
    parts = [html.picture(plot, "confusion matrix"), html.paragraph(note)]
    return html.section("Confusion", *parts, anchor="confusion")


def crowding(numbers: Mapping[str, Any]) -> html.Markup:
    """AP by number of objects in the image."""
    groups = {kind: numbers[kind]["crowding"] for kind in ("box", "mask")}
    names = [_span(g["objects_from"], g["objects_to"]) for g in groups["mask"]]
    values = {k: [_percent(g["AP"]) for g in rows] for k, rows in groups.items()}
    plot = plots.bars(names, values, "AP, percent")
    rows = [
        {"objects in the image": name, "images": b["images"], "objects": b["objects"]}
        | {"box AP": b["AP"], "mask AP": m["AP"]}
        for name, b, m in zip(names, groups["box"], groups["mask"], strict=True)
    ]
    table = html.table(rows, {"box AP": _PERCENT, "mask AP": _PERCENT})
    picture = html.picture(plot, "AP by number of objects")
    return html.section("Crowding", picture, table, anchor="crowding")


def gallery(exhibits: Sequence[Exhibit]) -> html.Markup:
    """The worst errors of each kind."""
    if not exhibits:
        return html.Markup("")
    parts: list[Any] = [
        html.paragraph(
            "The detection on the left, the objects of the data on the right."
        )
    ]
    for kind in EXHIBITED:
        figures = [
            html.figure(
                html.picture(e.jpeg, e.caption, kind="jpeg", css="cut"), e.caption
            )
            for e in exhibits
            if e.kind == kind
        ]
        if figures:
            template = '<h3 id="$anchor">$kind</h3><div class="gallery">$figures</div>'
            parts.append(
                html.fill(
                    template,
                    anchor=kind.replace(" ", "-"),
                    kind=kind,
                    figures=html.join(figures),
                )
            )
    return html.section("Gallery", *parts, anchor="gallery")


def about(facts: Mapping[str, Any], curves_png: bytes | None) -> html.Markup:
    """Training curves, config and versions of the run."""
    parts = [html.picture(curves_png, "training curves")] if curves_png else []
    for title, value in facts.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=2)
        parts.append(html.folded(title, html.fill("<pre>$text</pre>", text=text)))
    return html.section("The run", *parts, anchor="run")


def navigation() -> html.Markup:
    """Links to the sections."""
    links = ("ap", "errors", "yolact", "classes", "curves", "confusion", "crowding")
    parts = [
        html.fill('<a href="#$name">$name</a>', name=name)
        for name in (*links, "gallery", "run")
    ]
    return html.fill("<nav>$links</nav>", links=html.join(parts))


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _minus(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else value - base


def _span(first: int, last: int) -> str:
    if last < 0:
        return f"{first} or more"
    return str(first) if first == last else f"{first} to {last}"
