"""Makes records of a COCO set, trains on them and evaluates them."""

import types

import numpy as np

from yolact_jax.config import Augment, InputFrame
from yolact_jax.data.augment.sample import training_sample
from yolact_jax.data.consistency import Tally
from yolact_jax.data.example import Example
from yolact_jax.data.records.dataset import coco_ground_truth
from yolact_jax.data.records.record import annotations_of
from yolact_jax.data.sources.coco_builder import record_makers
from yolact_jax.results.coco_ap import evaluate_coco


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
            example,
            rng,
            options=options,
            frame=InputFrame(32, 32),
            mask_size=8,
            max_objects=9,
            mask_target="center",
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
