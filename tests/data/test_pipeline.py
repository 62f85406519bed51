import dataclasses

import numpy as np
import pytest

from yolact_jax.config import Augment, InputFrame
from yolact_jax.data import pipeline
from yolact_jax.data.augment.sample import NO_AUGMENTATION
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.pipeline import training_batches
from yolact_jax.data.selection import images_to_train_on
from yolact_jax.data.sources.coco_builder import prepare_coco
from yolact_jax.data.sources.shapes_builder import prepare_shapes
from yolact_jax.structures import Batch

ARGUMENTS = {
    "batch_size": 3,
    "frame": InputFrame(48, 48),
    "mask_size": 16,
    "mask_target": "original",
    "max_objects": 4,
    "augment": Augment(),
    "seed": 11,
    "num_workers": 0,
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return prepare_shapes(
        data_dir=tmp_path_factory.mktemp("shapes"),
        num_train=10,
        num_validation=1,
        image_size=48,
        seed=0,
    ).source("train")


def take(source, count, **changes):
    with training_batches(source, **{**ARGUMENTS, **changes}) as batches:
        return [next(batches) for _ in range(count)]


def assert_equal(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_batch_has_the_fields_shapes_and_dtypes_of_the_structure(source):
    (batch,) = take(source, 1)
    fields = [field.name for field in dataclasses.fields(Batch)]
    assert set(batch) == {*fields, "image_ids", "dropped"}
    assert {name: (batch[name].shape, batch[name].dtype) for name in batch} == {
        "images": ((3, 48, 48, 3), np.uint8),
        "boxes": ((3, 4, 4), np.float32),
        "labels": ((3, 4), np.int32),
        "masks": ((3, 4, 16, 16), np.uint8),
        "semantic_masks": ((3, 4, 8, 8), np.uint8),
        "valid": ((3, 4), np.bool_),
        "crowd": ((3, 4), np.bool_),
        "image_ids": ((3,), np.int64),
        "dropped": ((3,), np.int32),
    }
    assert batch["valid"].any(axis=1).all()
    assert set(np.unique(batch["masks"])) == {0, 1}


def test_center_targets_leave_the_semantic_loss_the_same_masks(source):
    (batch,) = take(source, 1, mask_target="center")
    assert "semantic_masks" not in batch
    assert batch["masks"].shape == (3, 4, 16, 16)
    (original,) = take(source, 1)
    assert (batch["masks"] != original["masks"]).any()
    np.testing.assert_array_equal(batch["images"], original["images"])


def test_coverage_targets_are_shares_of_cells(source):
    (batch,) = take(source, 1, mask_target="coverage")
    assert "semantic_masks" not in batch
    masks = batch["masks"]
    assert masks.dtype == np.float16
    assert ((masks > 0) & (masks < 1)).any()
    (center,) = take(source, 1, mask_target="center")
    inside = center["masks"].astype(bool)
    assert masks[inside].min() > 0
    assert masks[~inside].max() < 1


def test_batches_do_not_depend_on_threads(source):
    assert_equal(take(source, 6, num_threads=1), take(source, 6, num_threads=4))


@pytest.mark.long
@pytest.mark.parametrize("target", ["original", "coverage"])
def test_batches_do_not_depend_on_workers(source, target):
    alone, shared = (take(source, 6, mask_target=target, num_workers=n) for n in (0, 2))
    assert_equal(alone, shared)


@pytest.mark.parametrize("start", [1, 4, 7])
def test_resuming_gives_the_batches_that_would_have_come(source, start):
    """Also in a later epoch: ten images are three batches and a bit."""
    assert_equal(take(source, 9)[start:], take(source, 9 - start, start_step=start))


@pytest.mark.long
def test_resuming_with_workers_gives_the_same(source):
    expected = take(source, 8)[5:]
    assert_equal(expected, take(source, 3, start_step=5, num_workers=2))


@pytest.mark.slow
def test_epoch_is_the_same_for_any_workers_and_start(tmp_path):
    """A whole epoch and a bit of the next: no worker count divides it."""
    shapes = prepare_shapes(
        data_dir=tmp_path, num_train=22, num_validation=1, image_size=48, seed=0
    )
    source = shapes.source("train")
    epoch = take(source, 9)
    for num_workers in (1, 3):
        assert_equal(epoch, take(source, 9, num_workers=num_workers))
        for start in range(1, 9, 3):
            resumed = take(source, 9 - start, start_step=start, num_workers=num_workers)
            assert_equal(epoch[start:], resumed)
    for start in range(9):
        assert_equal(epoch[start:], take(source, 9 - start, start_step=start))


def test_seed_changes_order_and_augmentation(source):
    first, second = take(source, 3), take(source, 3, seed=12)
    assert any(
        (a["image_ids"] != b["image_ids"]).any()
        for a, b in zip(first, second, strict=True)
    )


def test_every_epoch_has_every_image_once_in_another_order(source):
    ids = np.concatenate([batch["image_ids"] for batch in take(source, 20)])
    epochs = ids.reshape(6, 10)
    for epoch in epochs:
        assert sorted(epoch) == list(range(1, 11))
    assert any((epoch != epochs[0]).any() for epoch in epochs)


def test_same_image_is_augmented_differently_in_another_epoch(source):
    batches = take(source, 20)
    images = {}
    for batch in batches:
        for image_id, image in zip(batch["image_ids"], batch["images"], strict=True):
            images.setdefault(image_id, []).append(image)
    for first, *others in images.values():
        assert any((first != other).any() for other in others)


@pytest.mark.parametrize("num_processes", [2, 3])
def test_processes_load_the_rows_of_one_batch(source, num_processes):
    whole = take(source, 4, batch_size=6)
    parts = [
        take(source, 4, batch_size=6, process_index=i, process_count=num_processes)
        for i in range(num_processes)
    ]
    for batch, *shares in zip(whole, *parts, strict=True):
        for name in batch:
            together = np.concatenate([share[name] for share in shares])
            np.testing.assert_array_equal(batch[name], together)


def test_unaugmented_batch_is_the_picture_itself(source):
    (batch,) = take(source, 1, augment=NO_AUGMENTATION)
    for image_id, image in zip(batch["image_ids"], batch["images"], strict=True):
        np.testing.assert_array_equal(image, source[int(image_id) - 1].image)


def test_images_without_objects_are_left_out(coco, tmp_path):
    dataset = prepare_coco(data_dir=tmp_path / "records", **coco.arguments())
    batches = take(dataset.source("train"), 6, augment=NO_AUGMENTATION)
    ids = {int(image_id) for batch in batches for image_id in batch["image_ids"]}
    assert ids == {7, 9}


def test_no_objects_at_all_is_an_error(coco, tmp_path):
    coco.content["annotations"] = coco.content["annotations"][3:4]
    coco.write()
    dataset = prepare_coco(data_dir=tmp_path / "records", **coco.arguments())
    with pytest.raises(DatasetError, match="has an object to train on"):
        training_batches(dataset.source("train"), **ARGUMENTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "`batch_size` is 0; it must be at least 1"),
        ({"max_objects": -1}, "`max_objects` is -1; it must be at least 1"),
        ({"frame": InputFrame(0, 9)}, "`frame` is 0; it must be at least 1"),
        ({"mask_size": 0}, "`mask_size` is 0; it must be at least 1"),
        ({"process_count": 0}, "`process_count` is 0; it must be at least 1"),
        ({"start_step": -1}, "`start_step` is -1; it must be at least 0"),
        ({"num_workers": -1}, "`num_workers` is -1; it must be at least 0"),
        (
            {"process_index": 2, "process_count": 2},
            r"`process_index` is 2; with `process_count` 2 it must be in 0\.\.1",
        ),
        (
            {"process_count": 2},
            "`batch_size` is 3; it must be a multiple of `process_count`, 2",
        ),
    ],
)
def test_bad_argument_is_named(source, change, message):
    with pytest.raises(ValueError, match=message):
        training_batches(source, **{**ARGUMENTS, **change})


def test_annotations_without_a_slot_are_counted_and_told_once(source, monkeypatch):
    told = []
    monkeypatch.setattr(
        pipeline._LOGGER, "warning", lambda text, *values: told.append(text % values)
    )
    arguments = {**ARGUMENTS, "max_objects": 1, "augment": NO_AUGMENTATION}
    most = {e.image_id: int((~e.annotations.crowd).sum()) - 1 for e in source}
    expected = 0
    with training_batches(source, **arguments) as batches:
        for _ in range(4):
            batch = next(batches)
            for image_id, dropped in zip(
                batch["image_ids"], batch["dropped"], strict=True
            ):
                assert dropped == most[int(image_id)]
                expected += int(dropped)
        assert batches.num_dropped == expected > 3
    (message,) = told
    assert "more annotations than the 1 slots of max_objects" in message


def test_closed_batches_say_so(source):
    batches = training_batches(source, **ARGUMENTS)
    next(batches)
    batches.close()
    batches.close()
    with pytest.raises(ValueError, match="were closed"):
        next(batches)


def empty_share(source, share, seed=0):
    chosen = images_to_train_on(source, share, seed)
    empty = int((source.num_objects[chosen] == 0).sum())
    return len(chosen) - empty, empty


class Counted:
    """Twelve images, of which five have objects."""

    num_objects = np.array([0, 2, 0, 0, 1, 0, 3, 0, 1, 0, 0, 1])


@pytest.mark.parametrize(
    ("share", "empty"), [(0.0, 0), (0.1, 1), (0.5, 5), (0.58, 7), (0.9, 7), (1.0, 7)]
)
def test_images_without_objects_are_at_most_a_share(share, empty):
    # 1 of 6 is the nearest to a tenth.
    assert empty_share(Counted, share) == (5, empty)


def test_the_seed_chooses_which_images_without_objects_are_kept():
    first, again, other = (
        images_to_train_on(Counted, 0.3, seed).tolist() for seed in (0, 0, 1)
    )
    assert first == again != other


def test_an_image_without_objects_reaches_the_batch(coco, tmp_path):
    dataset = prepare_coco(data_dir=tmp_path / "records", **coco.arguments())
    batches = take(dataset.source("train"), 4, negative_share=1.0)
    rows = {
        int(image_id): valid
        for batch in batches
        for image_id, valid in zip(batch["image_ids"], batch["valid"], strict=True)
    }
    assert rows.keys() == {9, 7, 300}
    assert not rows[300].any()
