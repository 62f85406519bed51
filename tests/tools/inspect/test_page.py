"""A planted wrong label comes first, under a model that knows better."""

import csv

import numpy as np
import pytest

from yolact_jax.data.sources.shapes_builder import prepare_shapes
from yolact_jax.tools.inspect.losses import ImageLosses
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


def test_worst_objects_come_first(dataset, tmp_path):
    source = dataset.source("train")
    losses = []
    for place, example in enumerate(source):
        count = len(example.annotations)
        terms = np.full((count, 3), 0.5, np.float32)
        doubt = np.full(count, -0.5, np.float32)
        if place == 3:
            terms[-1], doubt[0] = 7.0, 0.9
        every = np.arange(count)
        losses.append(ImageLosses(example.image_id, every, terms, doubt, 0.1 * place))
    names = Names(["<b>bold</b>", *dataset.class_names[1:]], dataset.category_ids)
    path = write_pages(tmp_path, losses, lambda place: source[place], names)
    objects = list(csv.DictReader((tmp_path / "losses_objects.csv").open()))
    chosen = source[3].annotations
    assert len(objects) == sum(len(example.annotations) for example in source)
    assert int(objects[0]["annotation_id"]) == chosen.ids[-1]
    assert float(objects[0]["loss"]) == 21.0
    images = list(csv.DictReader((tmp_path / "losses_images.csv").open()))
    assert int(images[0]["image_id"]) == source[3].image_id
    page = path.read_text()
    first = page.index("<figcaption>")
    caption = page[first : page.index("</figcaption>")]
    assert f"annotation {chosen.ids[0]}," in caption
    assert "disagreement 0.90" in caption
    assert "<b>bold" not in page


def test_nothing_to_inspect_gives_a_page(tmp_path):
    path = write_pages(tmp_path, [], lambda place: None, Names([], []))
    assert "Nothing to show" in path.read_text()
