import dataclasses

import cv2
import numpy as np
import pytest

from yolact_jax.config import Augment, InputFrame
from yolact_jax.data.augment import photometric
from yolact_jax.data.augment import sample as sample_lib
from yolact_jax.data.augment import view as view_lib
from yolact_jax.data.augment.photometric import ColorChange
from yolact_jax.data.augment.sample import NO_AUGMENTATION
from yolact_jax.data.sources.coco_builder import prepare_coco
from yolact_jax.data.sources.shapes import draw_shapes
from yolact_jax.data.sources.shapes_builder import prepare_shapes

SIZES = {
    "frame": InputFrame(96, 96),
    "mask_size": 48,
    "mask_target": "original",
    "max_objects": 10,
}


@pytest.fixture
def seven(coco, tmp_path):
    dataset = prepare_coco(data_dir=tmp_path / "records", **coco.arguments())
    return dataset.source("train")[1]


@pytest.fixture
def nine(coco, tmp_path):
    dataset = prepare_coco(data_dir=tmp_path / "records", **coco.arguments())
    return dataset.source("train")[0]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return prepare_shapes(
        data_dir=tmp_path_factory.mktemp("shapes"),
        num_train=8,
        num_validation=1,
        image_size=96,
        seed=0,
    ).source("train")


def sample(example, seed=0, options=NO_AUGMENTATION, **changes):
    rng = np.random.default_rng(seed)
    return sample_lib.training_sample(
        example, rng, options=options, **{**SIZES, **changes}
    )


def test_plain_sample_has_documented_shapes_and_values(seven):
    found = sample(seven)
    # The box without width is gone.
    assert found["labels"].tolist() == [1, 0, 1]
    assert found["images"].shape == (96, 96, 3)
    assert found["masks"].shape == (3, 48, 48)
    assert found["semantic_masks"].shape == (3, 24, 24)
    assert {name: found[name].dtype for name in found} == {
        "images": np.uint8,
        "boxes": np.float32,
        "labels": np.int32,
        "masks": np.uint8,
        "semantic_masks": np.uint8,
        "crowd": np.bool_,
        "image_ids": np.int64,
        "dropped": np.int32,
    }
    expected = np.array([5.5 / 60, 5.25 / 40, 25.2 / 60, 21 / 40], np.float32)
    np.testing.assert_allclose(found["boxes"][0], expected, rtol=1e-6)
    # The box that overshoots is cut at the border.
    assert found["boxes"][2].tolist() == [np.float32(40 / 60), 0.5, 1, 1]
    assert found["image_ids"] == 7
    assert found["dropped"] == 0
    # The lower right third of the image: rows 24.., columns 32...
    assert found["masks"][2][24:, 32:].all()
    assert found["masks"][2].sum() == 24 * 16


def test_crowds_come_last_and_are_flagged(nine):
    found = sample(dataclasses.replace(nine, annotations=reversed_order(nine)))
    assert found["crowd"].tolist() == [False, True]
    assert found["labels"].tolist() == [0, 1]
    assert found["masks"][1].sum() == pytest.approx(48 * 48 / 6, rel=0.05)


def reversed_order(example):
    """The same annotations, the crowd first."""
    old = example.annotations
    segmentations = dataclasses.replace(
        old.segmentations,
        rle_counts=old.segmentations.rle_counts[::-1],
        rle_was_compressed=old.segmentations.rle_was_compressed[::-1],
    )
    fields = ("ids", "labels", "boxes_xywh_px", "areas_px", "crowd")
    flipped = {name: getattr(old, name)[::-1] for name in fields}
    return dataclasses.replace(old, segmentations=segmentations, **flipped)


def test_largest_boxes_stay_and_crowds_go_first(seven, nine):
    # Areas on the image: 310, 1101 and 400 square pixels.
    found = sample(seven, max_objects=2)
    assert found["labels"].tolist() == [0, 1]
    assert found["boxes"][1, 0] == np.float32(40 / 60)
    assert found["dropped"] == 1
    found = sample(nine, max_objects=1)
    assert found["crowd"].tolist() == [False]
    assert found["dropped"] == 1


def test_same_generator_gives_the_same_sample(seven):
    first, again = (sample(seven, 3, Augment()) for _ in range(2))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    other = sample(seven, 4, Augment())
    assert (first["images"] != other["images"]).any()


def test_colors_do_not_change_the_geometry(seven):
    for seed in range(10):
        plain = sample(seven, seed, Augment(photometric=False))
        colored = sample(seven, seed, Augment())
        for name in ("boxes", "labels", "masks"):
            np.testing.assert_array_equal(plain[name], colored[name])


def test_masks_stay_on_their_objects(shapes):
    """Drawn pictures tell what a mask should be: the pixels of one colour."""
    agreements = []
    for index, example in enumerate(shapes):
        drawn = draw_shapes(0, index, image_size=96)
        # Paint every object in a colour of its own, and look for it afterwards.
        codes = np.zeros((96, 96, 3), np.uint8)
        for label, mask in enumerate(drawn.masks):
            codes[mask] = (40 * (label + 1), 0, 255)
        # Bypass the file: the image is looked up in the instance first.
        painted = dataclasses.replace(example)
        painted.__dict__["image"] = codes
        for seed in range(4):
            found = sample(painted, seed, Augment(photometric=False), mask_size=96)
            image = found["images"].astype(int)
            _, kept = sample_lib.choose_view(
                painted, np.random.default_rng(seed), Augment(), InputFrame(96, 96)
            )
            for owner, mask in zip(kept, found["masks"], strict=True):
                code = np.array([40 * (owner + 1), 0, 255])
                seen = np.abs(image - code).max(axis=-1) < 20
                union = (seen | mask.astype(bool)).sum()
                if union > 150:
                    agreements.append((seen & mask.astype(bool)).sum() / union)
    assert len(agreements) > 40
    # Blended colours along the outline belong to neither.
    assert np.median(agreements) > 0.85
    assert np.min(agreements) > 0.5


def test_masks_are_not_shifted(shapes):
    """The centre of a mask is the centre of its pixels, to a tenth of a pixel."""
    offsets = []
    for index, example in enumerate(shapes):
        drawn = draw_shapes(0, index, image_size=96)
        for seed in range(4):
            options = Augment(expand=False, crop=False, photometric=False)
            found = sample(example, seed, options, mask_size=32)
            flipped = np.random.default_rng(seed).random() < 0.5
            for mask, small in zip(drawn.masks, found["masks"], strict=True):
                mask = mask[:, ::-1] if flipped else mask
                offsets.append(center(small) * 3 - center(mask))
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.1


def center(mask):
    rows, columns = np.nonzero(mask)
    return np.array([rows.mean() + 0.5, columns.mean() + 0.5])


def test_mean_color_surrounds_an_expanded_image(seven):
    view = view_lib.View(-60, -40, 180, 120)
    drawn = sample_lib.render(seven.image, view, ColorChange(brightness=30.0), 90)
    border = np.rint(view_lib.MEAN_RGB)
    np.testing.assert_array_equal(drawn[:29], np.broadcast_to(border, (29, 90, 3)))
    assert (drawn[30:60, 30:60] != border).any()


def test_collate_pads_with_zeros(seven, nine):
    samples = [sample(seven), sample(nine)]
    batch = sample_lib.collate(samples, 5)
    assert batch["valid"].tolist() == [
        [True] * 3 + [False] * 2,
        [True] * 2 + [False] * 3,
    ]
    assert batch["masks"].shape == (2, 5, 48, 48)
    assert batch["image_ids"].tolist() == [7, 9]
    for name in ("boxes", "labels", "masks", "crowd"):
        assert batch[name].dtype == samples[0][name].dtype
        assert not batch[name][~batch["valid"]].any()
        np.testing.assert_array_equal(batch[name][0, :3], samples[0][name])
        np.testing.assert_array_equal(batch[name][1, :2], samples[1][name])
    np.testing.assert_array_equal(batch["images"][1], samples[1]["images"])


def test_colors_change_alike_before_and_after_resizing():
    """Shrunken views are coloured after resizing, which has fewer pixels."""
    picture = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    picture = cv2.resize(picture, (480, 360), interpolation=cv2.INTER_CUBIC)
    change = ColorChange(20.0, 0.8, 1.3, 10.0)
    for view in (
        view_lib.View(-50, -70, 900, 800, flip_x=True),
        view_lib.whole(360, 480),
    ):
        rows, columns = view.visible(360, 480)
        colored = photometric.apply(picture[rows, columns], change)
        at = (rows.start, columns.start)
        expected = view_lib.draw_view(colored, at, view, 100).astype(int)
        found = sample_lib.render(picture, view, change, 100)
        assert np.abs(found - expected).mean() < 0.7
        assert np.mean(np.abs(found - expected) > 4) < 0.01
