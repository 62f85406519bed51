"""Reports of random and degenerate sets: numbers by pycocotools, text escaped."""

import csv
import html.parser
import json

import numpy as np
import pytest

from tests.helpers.coco_scenes import BOXES, SIDE, make_annotation, make_truth
from tests.helpers.error_scenes import CATEGORIES, random_dataset, result
from tests.results.errors.test_matches import evaluated as by_pycocotools
from yolact_jax.results.coco_ap import evaluate_coco
from yolact_jax.results.report import compare
from yolact_jax.results.report.numbers import Evaluated, measure
from yolact_jax.results.report.write import write_report

NASTY = '<script>alert("x")</script> & $name =1+1'


class Text(html.parser.HTMLParser):
    """Collects tags, links and text of a page; a browser would see the same."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words, self.ids, self.links, self.sources = [], [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        attrs = dict(attrs)
        self.ids.append(attrs.get("id"))
        self.links.append(attrs.get("href"))
        self.sources.append(attrs.get("src"))

    def handle_data(self, data):
        self.words.append(data)


def evaluation(truth, boxes, masks):
    ids = [image["id"] for image in truth["images"]]
    return Evaluated(truth, {"box": boxes, "mask": masks}, ids, 100)


def report_of(folder, truth, boxes, masks, **options):
    metrics = evaluate_coco(truth, boxes, masks)
    generator = np.random.default_rng(0)
    page = write_report(
        folder,
        evaluation(truth, boxes, masks),
        metrics,
        title=f"Report {NASTY}",
        facts={"Config": {"a": NASTY}},
        read_image=lambda _: generator.integers(0, 255, (SIDE, SIDE, 3), np.uint8),
        **options,
    )
    return page.read_text(), json.loads((folder / "numbers.json").read_text())


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    data = random_dataset(3)
    return (*report_of(folder, *data), folder, data)


def test_numbers_are_those_of_pycocotools(whole):
    _, numbers, folder, (truth, boxes, masks) = whole
    for kind, results in (("box", boxes), ("mask", masks)):
        for most in (1, 10, 100):
            theirs = by_pycocotools(truth, results, kind, most).eval
            recall = theirs["recall"][:, :, 0, 0]
            expected = recall[recall > -1].mean()
            assert numbers[kind]["recalls"][f"AR{most}"] == pytest.approx(expected)
        precision = theirs["precision"][:, :, :, 0, 0]
        assert numbers[kind]["AP50"] == pytest.approx(precision[0].mean())
        for name, curve in (
            ("IoU 0.50", precision[0].mean(axis=1)),
            ("IoU 0.75", precision[5].mean(axis=1)),
            ("mean", precision.mean(axis=(0, 2))),
        ):
            assert numbers[kind]["curves"][name] == pytest.approx(curve)
        for label, row in enumerate(rows_of(folder / "classes.csv")):
            expected = precision[:, :, label].mean()
            assert float(row[f"{kind}_AP"]) == pytest.approx(expected)
            assert row["class"] == CATEGORIES[label][1]
    metrics = {
        f"{row['kind']}_{row['metric']}": row["value"]
        for row in rows_of(folder / "metrics.csv")
    }
    expected = evaluate_coco(truth, boxes, masks)
    for name, value in expected.items():
        assert float(metrics[name] or "nan") == pytest.approx(value, nan_ok=True)


def test_sizes_are_those_of_pycocotools(whole):
    page, numbers, folder, (truth, boxes, masks) = whole
    rows = rows_of(folder / "sizes.csv")
    names = ["all classes", *(name for _, name in CATEGORIES)]
    for kind, results in (("box", boxes), ("mask", masks)):
        theirs = by_pycocotools(truth, results, kind).eval
        for place, size in enumerate(("all", "s", "m", "l")):
            precision = theirs["precision"][..., place, 0]
            recall = theirs["recall"][..., place, 0]
            chosen = [r for r in rows if (r["kind"], r["size"]) == (kind, size)]
            assert [r["class"] for r in chosen] == names
            for label, row in enumerate(chosen, start=-1):
                of_class = slice(None) if label < 0 else slice(label, label + 1)
                for name, values in (
                    ("AP", precision[:, :, of_class]),
                    ("AP50", precision[:1, :, of_class]),
                    ("AR", recall[:, of_class]),
                ):
                    known = values[values > -1]
                    if len(known):
                        assert float(row[name]) == pytest.approx(known.mean())
                    else:
                        assert row[name] == ""
            if size != "all":
                found = numbers[kind]["recalls"][f"AR{size}"]
                assert found == pytest.approx(float(chosen[0]["AR"]))
            areas = [a["area"] for a in truth["annotations"] if not a["iscrowd"]]
            low, high = {"s": (0, 1024), "m": (1024, 9216)}.get(size, (0, 1e9))
            low = 9216 if size == "l" else low
            expected = sum(low <= area <= high for area in areas)
            assert int(chosen[0]["objects"]) == expected
    assert len({row["AR"] for row in rows}) > 10
    assert "<th>ARs</th>" in page


def test_tables_add_up(whole):
    _, numbers, folder, (truth, _, masks) = whole
    detections = rows_of(folder / "detections.csv")
    images = rows_of(folder / "images.csv")
    objects = [a for a in truth["annotations"] if not a["iscrowd"]]
    assert len(detections) == len(masks) == sum(int(i["detections"]) for i in images)
    assert numbers["objects"] == len(objects) == sum(int(i["objects"]) for i in images)
    for kind, row in numbers["mask"]["tide"].items():
        assert row["count"] == sum(int(image[kind]) for image in images)
        if kind != "missed":
            assert row["count"] == sum(d["error"] == kind for d in detections)
    confused = rows_of(folder / "confusion.csv")
    named = [r for r in confused if r["kind"] == "mask" and r["true"] != "(background)"]
    assert sum(int(row["count"]) for row in named) == len(objects)


def test_page_stands_alone_and_all_links_lead_somewhere(whole):
    page, *_ = whole
    text = Text(page)
    assert not [s for s in text.sources if s and not s.startswith("data:image/")]
    assert sum(bool(s) for s in text.sources) > 10
    known = {f"#{name}" for name in text.ids if name}
    wanted = {"#errors", "#classes", "#localization", "#missed"}
    assert wanted <= {link for link in text.links if link} & known


def test_texts_are_escaped(tmp_path):
    truth = make_truth(
        [make_annotation(BOXES[0]), make_annotation(BOXES[1], category_id=9)],
        categories=((7, NASTY), (9, "=1+1")),
    )
    pair = result(BOXES[0], 0.9, category_id=9)
    page, _ = report_of(tmp_path, truth, *([entry] for entry in pair))
    text = Text(page)
    assert text.tags.count("script") == 1
    assert sum(NASTY in word for word in text.words) >= 2
    assert rows_of(tmp_path / "classes.csv")[1]["class"] == "'=1+1"


HEADS = {
    "metrics": "kind,metric,value",
    "classes": "class,objects,detections,box_AP,box_AP50,mask_AP,mask_AP50,threshold,"
    "f1,precision,recall",
    "sizes": "kind,size,class,objects,AP,AP50,AR",
    "images": "image_id,file_name,objects,detections,hit,ignored,classification,"
    "localization,both,duplicate,background,missed",
    "detections": "image_id,class,score,error,overlap",
    "errors": "kind,error,count,alone,in_turn",
    "precision_recall": "kind,curve,recall,precision",
    "confusion": "kind,true,detected,count",
}


@pytest.mark.parametrize(
    ("num_images", "empty"),
    [(1, {"detections", "confusion"}), (0, {"images", "detections", "confusion"})],
)
def test_tables_without_rows_have_columns(tmp_path, num_images, empty):
    report_of(tmp_path, make_truth([], num_images=num_images), [], [])
    texts = {path.stem: path.read_text() for path in tmp_path.glob("*.csv")}
    assert {name: text.split("\n")[0] for name, text in texts.items()} == HEADS
    assert {name for name, text in texts.items() if text.count("\n") == 1} == empty


MANY = [(x, y, x + 6, y + 6) for x in range(0, 150, 7) for y in range(0, 160, 7)][:500]


@pytest.mark.parametrize(
    ("truths", "found", "options"),
    [
        ([], [], {"num_images": 0}),
        ([], [], {}),
        ([], [BOXES[0]], {}),
        ([BOXES[0]], [], {}),
        ([BOXES[0]], [BOXES[0]], {}),
        (MANY, MANY[:100], {}),
    ],
    ids=["no images", "nothing", "no objects", "no detections", "one", "500 objects"],
)
def test_degenerate_sets_give_a_report(tmp_path, truths, found, options):
    truth = make_truth([make_annotation(box) for box in truths], **options)
    pairs = [result(box, 0.5) for box in found]
    boxes, masks = ([pair[i] for pair in pairs] for i in (0, 1))
    page, numbers = report_of(tmp_path, truth, boxes, masks)
    assert numbers["objects"] == len(truths)
    assert "</html>" in page
    assert numbers["mask"]["tide"]["missed"]["count"] == len(truths) - len(
        found if truths else []
    )


def test_crowds_only_give_a_report(tmp_path):
    truth = make_truth([make_annotation(BOXES[1], crowd=1)])
    pair = result(BOXES[1], 0.5)
    _, numbers = report_of(tmp_path, truth, *([entry] for entry in pair))
    assert numbers["objects"] == 0
    assert all(row["count"] == 0 for row in numbers["mask"]["tide"].values())


def test_comparison_has_each_class_and_marks_sure_differences(tmp_path):
    truth, boxes, masks = random_dataset(4, num_images=20)
    better = [m | {"score": 1.0} for m in masks]
    first = evaluation(truth, boxes, masks)
    second = evaluation(truth, boxes, better)
    rows = compare.compare(first, second)
    assert [row["class"] for row in rows] == 2 * ["all classes", "dog", "cat", "cow"]
    assert all(row["difference"] == 0 for row in rows if row["kind"] == "box")
    for row in rows:
        assert row["difference"] == pytest.approx(row["second"] - row["first"])
    whole = measure(first)["classes"]
    assert [row["mask_AP"] for row in whole] == [row["first"] for row in rows[5:]]
    path = compare.write_comparison(tmp_path, (first, second), (NASTY, "b"))
    text = Text(path.read_text())
    assert text.tags.count("script") == 1
    assert len(rows_of(tmp_path / "comparison.csv")) == 8
    half = dict(truth, images=truth["images"][:10])
    with pytest.raises(ValueError, match=r"different images \(20 and 10\)"):
        compare.compare(first, evaluation(half, [], []))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bbox": [0, 0, 5, 5]}, "different annotations"),
        ({"category_id": 9}, "different annotations"),
        ({"iscrowd": 1}, "different annotations"),
        ({"id": 77}, None),
    ],
)
def test_only_evaluations_of_equal_objects_are_compared(change, words):
    truth, boxes, masks = random_dataset(5)
    first = truth["annotations"][0] | {"category_id": 7, "iscrowd": 0}
    rest = truth["annotations"][1:]
    pair = [
        evaluation(truth | {"annotations": [entry, *rest]}, boxes, masks)
        for entry in (first, first | change)
    ]
    if words is None:
        assert compare.compare(*pair)
    else:
        with pytest.raises(ValueError, match=words):
            compare.compare(*pair)


def test_only_evaluations_of_equal_category_ids_are_compared():
    truth, boxes, masks = random_dataset(5)
    others = [{"id": i + 10, "name": name} for i, name in CATEGORIES]
    pair = [
        evaluation(truth | {"categories": c}, boxes, masks)
        for c in (truth["categories"], others)
    ]
    with pytest.raises(ValueError, match="different classes"):
        compare.compare(*pair)
