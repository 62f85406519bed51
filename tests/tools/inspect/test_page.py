"""A planted wrong label comes first, under a model that knows better."""

import csv
import dataclasses
import re

import jax
import numpy as np
import pytest

from tests.helpers.scenes import INPUT_SIZE, MASK_SIZE, rectangles
from yolact_jax.data.sources.shapes_builder import prepare_shapes
from yolact_jax.losses.per_object import ObjectLosses, Unlabeled
from yolact_jax.tools.inspect import losses
from yolact_jax.tools.inspect.losses import ImageLosses, contradictions
from yolact_jax.tools.inspect.page import Names, write_pages


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return prepare_shapes(
        data_dir=tmp_path_factory.mktemp("records"),
        num_train=6,
        num_validation=2,
        image_size=64,
        seed=0,
    )


def captions(page, title):
    """What is written under the pictures of a gallery, in their order."""
    section = page[page.index(f"<h2>{title}</h2>") :]
    section = section[: section.index("</section>")]
    return re.findall("<figcaption>(.*?)</figcaption>", section, re.DOTALL)


def test_worst_objects_come_first(dataset, tmp_path):
    source = dataset.source("train")
    every_image = []
    for place, example in enumerate(source):
        count = len(example.annotations)
        terms = np.full((count, 3), 0.5, np.float32)
        doubt, likely = np.full(count, -2.5, np.float32), np.zeros(count, int)
        background = np.full(count, 0.1, np.float32)
        box = np.zeros(4, np.float32)
        if place == 3:
            terms[-1] = 7.0
        if place == 4:
            doubt[0], likely[0] = 1.5, 3
        if place == 5:
            background[0], box = 0.9, np.array([8, 8, 40, 30], np.float32)
        every, score = np.arange(count), 0.1 * (place == 5)
        every_image.append(
            ImageLosses(
                *(example.image_id, every, np.ones(count, bool), terms, doubt, likely),
                *(background, score, 2, box),
            )
        )
    names = Names(["<b>bold</b>", *dataset.class_names[1:]], dataset.category_ids)
    path = write_pages(tmp_path, every_image, lambda place: source[place], names)
    objects = list(csv.DictReader((tmp_path / "losses_objects.csv").open()))
    chosen = source[3].annotations
    assert len(objects) == sum(len(example.annotations) for example in source)
    assert int(objects[0]["annotation_id"]) == chosen.ids[-1]
    assert float(objects[0]["loss"]) == 21.0
    images = list(csv.DictReader((tmp_path / "losses_images.csv").open()))
    assert int(images[0]["image_id"]) == source[3].image_id
    (missing,) = (row for row in images if float(row["unlabeled"]))
    assert missing["likely_class"] == dataset.class_names[2]
    assert [float(missing[k]) for k in ("x", "y", "width", "height")] == [8, 8, 32, 22]
    page = path.read_text()
    wrong = source[4].annotations
    caption = captions(page, "Wrong class")[0]
    assert f"annotation {wrong.ids[0]}," in caption
    assert f"; {dataset.class_names[3]} has +1.5 in log-probability" in caption
    first = captions(page, "Wrong outline")[0]
    assert f"annotation {chosen.ids[-1]}," in first
    assert (
        f"annotation {source[5].annotations.ids[0]},"
        in captions(page, "Nothing there")[0]
    )
    assert captions(page, "Missing label") == [
        f"{dataset.class_names[2]} 0.10, image {source[5].image_id}"
    ]
    assert "<b>bold" not in page


def test_objects_without_anchors_are_in_no_list(dataset, tmp_path):
    source = dataset.source("train")
    example = next(e for e in source if len(e.annotations) > 1)
    every, count = np.arange(len(example.annotations)), len(example.annotations)
    zeros, terms = np.zeros(count, np.float32), np.ones((count, 3), np.float32)
    terms[0] = 0
    image = ImageLosses(
        *(example.image_id, every, every > 0, terms, zeros - 2, every % 3, zeros + 0.1)
    )
    names = Names(dataset.class_names, dataset.category_ids)
    page = write_pages(tmp_path, [image], lambda place: example, names).read_text()
    *known, last = csv.DictReader((tmp_path / "losses_objects.csv").open())
    assert int(last["annotation_id"]) == example.annotations.ids[0]
    assert {value for value in [*last.values()][3:]} == {""}
    assert all(float(row["loss"]) == 3 for row in known)
    (row,) = csv.DictReader((tmp_path / "losses_images.csv").open())
    assert (int(row["objects"]), float(row["mean_loss"])) == (count, 3.0)
    assert "no anchor belongs: 1." in page
    for title in ("Wrong class", "Wrong outline", "Nothing there"):
        shown = " ".join(captions(page, title))
        assert [f"annotation {i}," in shown for i in example.annotations.ids] == [
            i > 0 for i in every
        ]


def test_one_class_is_never_wrong(dataset, tmp_path):
    example = dataset.source("train")[0]
    labels = np.zeros(len(example.annotations), np.int32)
    annotations = dataclasses.replace(example.annotations, labels=labels)
    example = dataclasses.replace(example, annotations=annotations)
    every, doubt = np.arange(len(labels)), contradictions(labels, np.zeros((9, 1)))
    terms, background = np.ones((len(labels), 3), np.float32), 0.1 * every
    image = ImageLosses(
        *(example.image_id, every, every >= 0, terms, *doubt, background, 0.5)
    )
    names = Names(["nucleus"], [1])
    page = write_pages(tmp_path, [image], lambda place: example, names).read_text()
    assert "Wrong class" not in page
    assert "log-probability" not in page
    assert captions(page, "Wrong outline")[0].startswith("nucleus; background 0.")
    for row in csv.DictReader((tmp_path / "losses_objects.csv").open()):
        assert (row["contradicted"], row["likely_class"]) == ("", "")
        assert float(row["loss"]) == 3


def test_views_without_anchors_do_not_count():
    matched = np.array([[True, True, False], [True, False, False]])
    losses_of = np.where(matched, [[1.0, 4.0, 0.0], [3.0, 9.0, 0.0]], 0.0)
    evidence = np.stack([-losses_of, -2 * losses_of], axis=2)
    unlabeled = Unlabeled(np.array([0.3, 0.9]), np.arange(2), np.eye(2, 4))
    views = ObjectLosses(
        *(matched, losses_of, losses_of, losses_of, evidence, losses_of, unlabeled)
    )
    mean = losses.mean_of_views(views)
    np.testing.assert_array_equal(mean.matched, [True, True, False])
    np.testing.assert_allclose(mean.background, [2, 4, 0])
    np.testing.assert_allclose(mean.evidence, [[-2, -4], [-4, -8], [0, 0]])
    assert mean.unlabeled.score == 0.3


def test_contradictions_agree_with_a_loop():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, 40)
    evidence = generator.normal(size=(45, 4)).astype(np.float32)
    scores, likely = contradictions(labels, evidence)
    for row, label in enumerate(labels):
        others = {c: evidence[row, c] for c in range(4) if c != label}
        assert likely[row] == max(others, key=lambda c: others[c])
        assert scores[row] == max(others.values()) - evidence[row, label]
    scores, likely = contradictions(np.zeros(3, int), np.zeros((3, 1)))
    assert np.isneginf(scores).all()
    assert (likely == 0).all()


@pytest.mark.parametrize("sideways", [False, True])
@pytest.mark.parametrize("upside_down", [False, True])
def test_flipped_objects_are_where_their_pixels_are(sideways, upside_down):
    batch = jax.tree.map(lambda x: x[0], rectangles([3], seed=1))
    found = losses._flipped(batch, sideways, upside_down)
    masks = np.asarray(found.masks, bool)
    for slot in range(3):
        rows, columns = np.nonzero(masks[slot])
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(found.boxes[slot], np.array(box) / MASK_SIZE)
        middle = (INPUT_SIZE * np.asarray(found.boxes[slot])).astype(int)
        pixels = found.images[middle[1] : middle[3], middle[0] : middle[2]]
        assert (pixels[..., batch.labels[slot]] == 255).mean() > 0.6
    assert (sideways or upside_down) != np.array_equal(found.images, batch.images)


def test_nothing_to_inspect_gives_a_page(tmp_path):
    path = write_pages(tmp_path, [], lambda place: None, Names([], []))
    assert "Nothing to show" in path.read_text()
    heads = [(tmp_path / f"losses_{k}.csv").read_text() for k in ("objects", "images")]
    assert heads == [
        "image_id,annotation_id,class,loss,box,classification,mask,background,"
        "contradicted,likely_class\n",
        "image_id,objects,mean_loss,worst_loss,unlabeled,likely_class,x,y,width,"
        "height\n",
    ]
