"""Whatever a json file holds, it is refused in sentences, or it works to the end."""

import copy
import json
import random
import types

import numpy as np
import pytest

from yolact_jax.config import Augment
from yolact_jax.data.augment.sample import training_sample
from yolact_jax.data.consistency import Tally
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.example import Example
from yolact_jax.data.records.dataset import coco_ground_truth
from yolact_jax.data.records.record import annotations_of
from yolact_jax.data.sources.coco_builder import record_makers
from yolact_jax.data.sources.coco_json import read_coco
from yolact_jax.results.coco_ap import evaluate_coco

NUMBERS = (
    *(0, -0.0, 1, -1, 0.5, 7, 39.999, 60, 61, 6000, 6001, 1e9, -1e9, 1e-300, 1e308),
    *(2**31 - 1, -(2**31), 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**100),
    *(10**400, -(10**400), float("nan"), float("inf"), -float("inf"), 65_536),
)
TEXTS = (
    *("", "x", "7", "../nine.jpg", "/etc/hostname", "nine.jpg", "nul\0", "\ud800"),
    *("x" * 5000, "ünï", "0" * 50, "oo", "a\\b", ".", "..", "C:nine.jpg", "PPYo1"),
)
CONTAINERS = (
    *([], {}, [[]], [[], []], [None], [0] * 5000, {"size": [40, 60], "counts": []}),
    *({"size": [40, 60], "counts": [2400]}, {"size": [60, 40], "counts": [2400]}),
    *({"size": [40, 60], "counts": [2**32, 2400 - 2**32]}, {"counts": "0"}),
    *([[1e5, 1e5] * 3], [[-5999, 5999, 5999, -5999, 0, 0]], [[1, 2] * 3000]),
)


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value] if depth % 2 else {"a": value}
    return value


def places(value, found=None):
    """(container, key) of everything inside a json value."""
    found = [] if found is None else found
    items = {dict: dict.items, list: enumerate}.get(type(value))
    for key, inner in items(value) if items else ():
        found.append((value, key))
        places(inner, found)
    return found


def mutate(content, rng):
    """Changes one place by type, size, nesting or number of entries."""
    container, key = rng.choice(places(content))
    kind = rng.randrange(8)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, list):
        container.append(copy.deepcopy(container[key]))
    elif kind == 2:
        container[key] = nested(rng.choice((1, 2, 50, 51, 400)))
    elif kind == 3:
        container[key] = rng.choice((None, True, False))
    elif kind == 4:
        container[key] = rng.choice(TEXTS)
    elif kind == 5:
        container[key] = copy.deepcopy(rng.choice(CONTAINERS))
    elif kind == 6 and type(container[key]) in (int, float):
        container[key] *= rng.choice((-1, 0.5, 3, 100, 2**33, 1e15))
    else:
        container[key] = rng.choice(NUMBERS)


def damaged(text, rng):
    """The file as it is written: mostly sound, else cut, changed or encoded oddly."""
    data = text.encode(errors="replace")
    at = rng.randrange(len(data))
    return rng.choice(
        [data] * 12
        + [data[:at], data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]]
        + [text.encode(encoding, "replace") for encoding in ("utf-16", "utf-8-sig")]
    )


def works_to_the_end(coco_set):
    """Makes records, trains on and evaluates what was accepted."""
    examples, rng = [], np.random.default_rng(0)
    for make in record_makers(coco_set):
        record = make()
        size = {name: record[name] for name in ("image_id", "height", "width")}
        assert all(-(2**63) <= value < 2**63 for value in size.values())
        assert len(record["file_name"].encode()) < 256
        example = Example(
            file_name=record["file_name"],
            image_bytes=record["image"].read(),
            annotations=annotations_of(record),
            **size,
        )
        options = Augment()
        sample = training_sample(
            example, rng, options=options, input_size=32, mask_size=8, max_objects=9
        )
        assert np.isfinite(sample["boxes"]).all()
        Tally().add(example.annotations)
        examples.append(example)
    category_ids, names = zip(*coco_set.categories, strict=True)

    class Source(types.SimpleNamespace):
        def __iter__(self):
            return iter(examples)

    truth = coco_ground_truth(Source(category_ids=category_ids, class_names=names))
    accepted = [e for entries in coco_set.annotations.values() for e in entries]
    by_id = {entry["id"]: entry for entry in truth["annotations"]}
    for entry in accepted:  # Nothing was changed on the way.
        rebuilt = by_id[entry["id"]]
        np.testing.assert_array_equal(rebuilt["bbox"], np.array(entry["bbox"], float))
        assert rebuilt["area"] == float(entry["area"])
        if isinstance(entry["segmentation"], list):
            assert rebuilt["segmentation"] == entry["segmentation"]
    evaluate_coco(truth, [], [])


def check_mutations(coco, seed, count):
    rng, accepted = random.Random(seed), 0
    for _ in range(count):
        content = copy.deepcopy(coco.content)
        for _ in range(rng.choice((1, 1, 2, 4))):
            mutate(content, rng)
        coco.file.write_bytes(damaged(json.dumps(content), rng))
        problems = []
        try:
            skip_bad = bool(rng.randrange(2))
            works_to_the_end(read_coco(coco.file, coco.images, skip_bad=skip_bad))
            accepted += 1
        except DatasetError as error:
            problems = error.problems
        for problem in problems:
            assert problem.endswith(".")
            assert len(problem) < 2000
    # Neither all nor nothing is refused, so that both ways are tried.
    assert count / 10 < accepted < count * 9 / 10


def test_mutations_are_refused_in_sentences_or_work_to_the_end(coco):
    check_mutations(coco, seed=0, count=250)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_many_mutations_are_refused_in_sentences_or_work_to_the_end(coco, seed):
    check_mutations(coco, seed, count=300)
