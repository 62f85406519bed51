"""Samples of several images: pictures painted by object tell what must be where."""

import dataclasses

import numpy as np
import pytest

from tests.data.test_pipeline import assert_equal, take
from yolact_jax.config import Augment, InputFrame
from yolact_jax.data.augment import sample as sample_lib
from yolact_jax.data.augment import view as view_lib
from yolact_jax.data.augment import views
from yolact_jax.data.augment.copy_paste import copy_paste, uncovered
from yolact_jax.data.augment.mixing import mixed_sample
from yolact_jax.data.augment.mosaic import mosaic, window_view
from yolact_jax.data.augment.sample import NO_AUGMENTATION
from yolact_jax.data.augment.views import random_jitter
from yolact_jax.data.sources.shapes import draw_shapes
from yolact_jax.data.sources.shapes_builder import prepare_shapes

SIDE = 96
FRAME = InputFrame(SIDE, SIDE)
SIZES = {"frame": FRAME, "mask_size": SIDE, "mask_target": "original"}
MIRROR = dataclasses.replace(NO_AUGMENTATION, mirror=True)
ALL = Augment(
    large_scale_jitter=True, copy_paste_probability=0.5, mosaic_probability=0.5
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return prepare_shapes(
        data_dir=tmp_path_factory.mktemp("shapes"),
        num_train=12,
        num_validation=1,
        image_size=SIDE,
        seed=0,
    ).source("train")


def color_of(number):
    """Colours that differ by 50 in some channel; none is near the mean colour."""
    return np.array([number % 6 * 50, number // 6 * 50, 255])


@pytest.fixture
def painted(source):
    """Examples whose objects have a number as their label, and its colour."""
    found = []
    for index, example in enumerate(source):
        drawn = draw_shapes(0, index, image_size=SIDE)
        labels = np.arange(len(drawn.labels), dtype=np.int32) + index % 4 * 6
        picture = np.zeros((SIDE, SIDE, 3), np.uint8)
        for label, mask in zip(labels, drawn.masks, strict=True):
            picture[mask] = color_of(label)
        annotations = dataclasses.replace(example.annotations, labels=labels)
        example = dataclasses.replace(example, annotations=annotations)
        # Bypass the file: the image is looked up in the instance first.
        example.__dict__["image"] = picture
        assert len(labels) <= 6
        found.append(example)
    return found


def agreements(sample):
    """IoU of each mask with the pixels of its colour, where these are many."""
    image = sample["images"].astype(int)
    for label, mask in zip(sample["labels"], sample["masks"], strict=True):
        seen = np.abs(image - color_of(label)).max(axis=-1) < 20
        union = seen | mask.astype(bool)
        if union.sum() > 150:
            yield (seen & mask.astype(bool)).sum() / union.sum()


def boxes_hold_masks(sample):
    """No mask reaches out of its box by more than a pixel."""
    for box, mask in zip(sample["boxes"], sample["masks"], strict=True):
        x1, y1, x2, y2 = (box * SIDE + [-1, -1, 1, 1]).round().astype(int)
        outside = mask.copy()
        outside[max(y1, 0) : y2, max(x1, 0) : x2] = 0
        assert not outside.any()


def test_mosaic_masks_are_where_their_objects_are(painted):
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        examples = [painted[(seed + i) % 12] for i in range(4)]
        sample = mosaic(examples, rng, options=MIRROR, **SIZES)
        boxes_hold_masks(sample)
        found += agreements(sample)
    assert len(found) > 30
    assert np.median(found) > 0.85
    assert np.min(found) > 0.5


def test_mosaic_shows_every_image_in_its_quarter(painted):
    """With one colour per image, quarters are of one colour each: no gap, no border."""
    colors = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)]
    for seed in range(8):
        rng = np.random.default_rng(seed)
        examples = []
        for color, example in zip(colors, painted[:4], strict=True):
            example = dataclasses.replace(example)
            example.__dict__["image"] = np.full((SIDE, SIDE, 3), color, np.uint8)
            examples.append(example)
        image = mosaic(examples, rng, options=MIRROR, **SIZES)["images"].astype(int)
        corners = image[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert np.abs(corners - colors).max() <= 1
        exact = [(np.abs(image - color).max(axis=-1) <= 1) for color in colors]
        # Views have whole pixels of the image: a line of mean colour may show.
        assert np.sum(exact) > SIDE**2 - 4 * SIDE
        for place in exact:
            rows, columns = np.flatnonzero(place.any(1)), np.flatnonzero(place.any(0))
            assert place.sum() >= 0.95 * len(rows) * len(columns)
            assert SIDE // 4 - 2 <= len(rows) <= 3 * SIDE // 4 + 2


@pytest.mark.parametrize("mirror", [False, True])
def test_window_shows_only_what_is_in_the_image(source, mirror):
    options = dataclasses.replace(NO_AUGMENTATION, mirror=mirror)
    window = (0.3, 0.0, 1.0, 0.45)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        view = window_view(source[0], window, rng, options)
        assert view.width == view.height
        corners = np.array([[0, 0], [SIDE, SIDE]], float)
        shown = np.sort(view.points(corners), axis=0)
        # Up to the rounding to whole pixels of the image.
        slack = 1.5 / view.width
        assert (shown[0] <= np.array(window[:2]) + slack).all()
        assert (shown[1] >= np.array(window[2:]) - slack).all()


def test_pasted_objects_cover_what_is_below(painted):
    found = []
    for seed in range(24):
        first, second = painted[seed % 12], painted[(seed + 1) % 12]
        rng = np.random.default_rng(seed)
        sample = copy_paste(first, second, rng, options=MIRROR, **SIZES)
        boxes_hold_masks(sample)
        is_pasted = np.isin(sample["labels"], second.annotations.labels)
        below = sample["masks"][~is_pasted].any(axis=0)
        above = sample["masks"][is_pasted].any(axis=0)
        assert not (below & above).any()
        assert np.all(np.diff(is_pasted.astype(int)) >= 0), "pasted ones come last"
        found += agreements(sample)
    assert len(found) > 40
    assert np.median(found) > 0.95
    assert np.min(found) > 0.5


def test_some_but_not_all_objects_are_pasted(painted):
    counts = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        sample = copy_paste(
            painted[0], painted[1], rng, options=NO_AUGMENTATION, **SIZES
        )
        counts.append(
            int(np.isin(sample["labels"], painted[1].annotations.labels).sum())
        )
    all_of_them = len(painted[1].annotations)
    assert {0, all_of_them} <= set(counts) or len(set(counts)) > 2
    assert 0.3 < np.mean(counts) / all_of_them < 0.7


def test_cover_cuts_masks_and_boxes():
    masks = np.zeros((3, 10, 10), np.uint8)
    masks[0, 2:6, 1:9] = 1  # Loses its right half.
    masks[1, 7:9, 6:8] = 1  # Disappears.
    cover = np.zeros((10, 10), bool)
    cover[:, 5:] = True
    # The first box is a bit wider than its mask, as annotated ones are; the third
    # annotation never had a pixel, and stays.
    boxes = [[0.05, 0.2, 0.95, 0.6], [0.6, 0.7, 0.8, 0.9], [0.31, 0.3, 0.32, 0.31]]
    truth = {
        "boxes": np.array(boxes, np.float32),
        "labels": np.array([4, 5, 6], np.int32),
        "masks": masks,
        "crowd": np.zeros(3, bool),
        "image_ids": np.int64(1),
    }
    cut = uncovered(truth, masks, cover, {"masks": cover.astype(np.uint8)})
    assert cut["labels"].tolist() == [4, 6]
    np.testing.assert_allclose(
        cut["boxes"], [[0.05, 0.2, 0.55, 0.6], [0.31, 0.3, 0.32, 0.31]], rtol=1e-6
    )
    assert cut["masks"][0].sum() == 4 * 4
    assert not cut["masks"][0][:, 5:].any()


def test_jitter_neither_stretches_nor_loses_the_image():
    whole = view_lib.whole(60, 100)
    scales = []
    for seed in range(300):
        view = random_jitter(whole, np.random.default_rng(seed))
        assert view.width == view.height
        scales.append(100 / view.width)
        if view.width >= 100:  # All of the image is there,
            assert view.left <= 0 <= 100 <= view.left + view.width
            assert view.top <= 0 <= 60 <= view.top + view.height
        else:  # or nothing but the image, along its longer side.
            assert 0 <= view.left <= view.left + view.width <= 100
    assert min(scales) < 0.2
    assert max(scales) > 1.8
    assert 0.1 <= min(scales) <= max(scales) <= 2.05
    assert 0.9 < np.mean(scales) < 1.2  # Uniform between 0.1 and 2.


def test_jitter_takes_the_place_of_expand_and_crop(source):
    options = Augment(large_scale_jitter=True, mirror=False)
    for seed in range(20):
        first, second = (np.random.default_rng(seed) for _ in range(2))
        view = views.random_view(source[0], first, options)
        assert view == random_jitter(view_lib.whole(SIDE, SIDE), second)


def sample(
    source, seed=0, options=ALL, max_objects=9, mask_size=24, mask_target="original"
):
    return mixed_sample(
        source[0],
        np.random.default_rng(seed),
        others=source,
        options=options,
        frame=FRAME,
        mask_size=mask_size,
        mask_target=mask_target,
        max_objects=max_objects,
    )


def test_nothing_changes_when_all_is_off(source):
    for seed in range(3):
        expected = sample_lib.training_sample(
            source[0],
            np.random.default_rng(seed),
            options=Augment(),
            frame=FRAME,
            mask_size=24,
            mask_target="original",
            max_objects=9,
        )
        assert_equal([expected], [sample(source, seed, Augment())])


@pytest.mark.parametrize("target", ["original", "center", "coverage"])
def test_mixed_samples_have_the_fields_of_others(source, target):
    plain = sample(source, 0, Augment(), mask_target=target)
    for seed in range(12):
        mixed = sample(source, seed, mask_target=target)
        assert (mixed["masks"] <= 1).all()
        assert mixed.keys() == plain.keys()
        assert {n: mixed[n].dtype for n in mixed} == {n: plain[n].dtype for n in plain}
        assert mixed["images"].shape == (SIDE, SIDE, 3)
        assert mixed["image_ids"] == source[0].image_id
        assert len(mixed["labels"])
        assert not mixed["crowd"].all()
        boxes = mixed["boxes"]
        assert ((boxes >= 0) & (boxes <= 1)).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()


@pytest.mark.parametrize(
    "changes", [{"copy_paste_probability": 1.0}, {"mosaic_probability": 1.0}]
)
def test_what_mixing_leaves_of_an_object_is_not_learned_if_it_is_too_small(
    source, changes
):
    def areas(min_object_px):
        options = Augment(min_object_px=min_object_px, **changes)
        mixed = [sample(source, seed, options, 99) for seed in range(25)]
        assert all(len(one["labels"]) for one in mixed)
        boxes = np.concatenate([one["boxes"] for one in mixed])
        return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) * SIDE**2

    assert areas(0).min() < 200
    assert areas(200).min() >= 200 * (1 - 1e-5)


def test_largest_objects_of_a_mosaic_stay_and_the_rest_is_counted(source):
    options = dataclasses.replace(NO_AUGMENTATION, mosaic_probability=1.0)
    for seed in range(5):
        everything = sample(source, seed, options, max_objects=99)
        few = sample(source, seed, options, max_objects=2)
        count = len(everything["labels"])
        assert everything["dropped"] == 0
        assert few["dropped"] == max(count - 2, 0)
        areas = [
            np.sort((s["boxes"][:, 2:] - s["boxes"][:, :2]).prod(axis=1))
            for s in (everything, few)
        ]
        np.testing.assert_array_equal(areas[0][-2:], areas[1])


@pytest.mark.long
def test_mixed_batches_depend_on_seed_and_step_only(source):
    options = {"augment": ALL}
    batches = take(source, 6, **options)
    assert_equal(batches, take(source, 6, num_threads=3, **options))
    assert_equal(batches, take(source, 6, num_workers=2, **options))
    assert_equal(batches[4:], take(source, 2, start_step=4, **options))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"photometric": False},
        {"mosaic_probability": 1.0},
        {"copy_paste_probability": 1.0},
    ],
)
def test_colors_that_are_not_clipped_go_beyond_a_byte(changes, source):
    def pictures(clip):
        options = Augment(**changes, clip_colors=clip)
        for seed in range(12):
            rng = np.random.default_rng(seed)
            yield mixed_sample(
                source[0], rng, others=source, options=options, max_objects=9, **SIZES
            )["images"]

    clipped, free = (np.stack([*pictures(clip)]) for clip in (True, False))
    assert (clipped.dtype, free.dtype) == (np.uint8, np.int16)
    # Rounded before resizing or after it.
    assert np.abs(np.clip(free, 0, 255) - clipped.astype(int)).mean() < 0.7
    goes_beyond = free.min() < 0 and free.max() > 255
    assert goes_beyond == changes.get("photometric", True)
