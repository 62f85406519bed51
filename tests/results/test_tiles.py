"""Objects that are found tile by tile, with finders that are made up."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolact_jax.results.instances import Instances
from yolact_jax.results.tiles import check_tiling, in_tiles, tile_windows


def blobs(image, labels=None):
    """Finds what is connected and not black in an image; its red is the label."""
    count, parts = cv2.connectedComponents(image.any(-1).astype(np.uint8))
    masks = np.array([parts == n for n in range(1, count)], bool).reshape(
        -1, *parts.shape
    )
    boxes = []
    for mask in masks:
        ys, xs = np.nonzero(mask)
        boxes.append((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
    scores = [0.5 + mask.sum() / 1e5 for mask in masks]
    order = np.argsort(scores, kind="stable")[::-1]
    found = Instances(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array([image[mask][0, 0] for mask in masks], np.int32),
        masks,
        class_names=[str(n) for n in range(256)],
    )
    return found[order]


def find(images):
    for image, _ in images:
        yield blobs(image)


def tiled(*images, tile=100, overlap=0.2):
    return list(in_tiles(find, ((i, None) for i in images), tile, overlap))


def scene(seed, size=(260, 330), count=12):
    """Discs and bars that do not touch, some as long as two tiles."""
    rng = np.random.default_rng(seed)
    image = np.zeros((*size, 3), np.uint8)
    taken = np.zeros(size, np.uint8)
    for number in range(count):
        y, x = rng.integers(0, size[0]), rng.integers(0, size[1])
        drawn = np.zeros(size, np.uint8)
        if number % 3:
            cv2.circle(drawn, (int(x), int(y)), int(rng.integers(6, 30)), 1, -1)
        else:
            cv2.line(drawn, (int(x), int(y)), (int(x) + 150, int(y) + 20), 1, 9)
        near = cv2.dilate(drawn, np.ones((5, 5), np.uint8))
        if not (near & taken).any():
            taken |= near
            image[drawn > 0] = int(rng.integers(1, 5))
    return image


@given(
    st.integers(1, 300), st.integers(1, 300), st.integers(20, 120), st.floats(0, 0.8)
)
def test_tiles_cover_everything_with_the_overlap_asked_for(height, width, tile, share):
    windows = tile_windows((height, width), tile, share)
    seen = np.zeros((height, width), int)
    for rows, columns in windows:
        assert rows.stop - rows.start == min(tile, height)
        assert columns.stop - columns.start == min(tile, width)
        seen[rows, columns] += 1
    assert seen.min() == 1 or share > 0
    assert seen.all()
    starts = sorted({columns.start for _, columns in windows})
    for left, right in itertools.pairwise(starts):
        assert left + tile - right >= tile * share - 1


@pytest.mark.parametrize("seed", range(8))
def test_every_object_is_found_once_and_whole(seed):
    image = scene(seed)
    whole, (found,) = blobs(image), tiled(image)
    assert len(found) == len(whole) > 3

    def described(result):
        boxes = result.boxes_px.tolist()
        return sorted(zip(boxes, result.labels.tolist(), result.rles(), strict=True),
                      key=lambda entry: entry[0])  # fmt: skip

    assert described(found) == described(whole)
    assert (np.diff(found.scores) <= 0).all()


def test_without_overlap_four_pictures_in_one_give_what_they_give_alone():
    four = [scene(seed, (100, 100), 5) for seed in range(4)]
    image = np.block([[[four[0]], [four[1]]], [[four[2]], [four[3]]]])
    assert image.shape == (200, 200, 3)
    (found,) = tiled(image, overlap=0)
    alone = [blobs(one) for one in four]
    assert len(found) == sum(map(len, alone)) > 8
    shifts = [(0, 0), (100, 0), (0, 100), (100, 100)]
    boxes = [r.boxes_px + (*s, *s) for r, s in zip(alone, shifts, strict=True)]
    assert sorted(found.boxes_px.tolist()) == sorted(np.concatenate(boxes).tolist())
    assert sum(r.masks.sum() for r in alone) == found.masks.sum()


def test_one_tile_gives_what_the_picture_gives():
    image = scene(3, (80, 90), 6)
    whole, (found,) = blobs(image), tiled(image, tile=100)
    for name in ("boxes_px", "scores", "labels", "masks"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


def test_a_tile_that_sees_another_class_does_not_find_it_twice():
    image = np.zeros((60, 180, 3), np.uint8)
    image[20:40, 60:150] = 1

    def unsure(images):
        for number, (pixels, _) in enumerate(images):
            found = blobs(pixels)
            yield Instances(
                found.boxes_px, found.scores, found.labels + number, found.masks
            )

    (found,) = in_tiles(unsure, [(image, None)], 100, 0.2)
    assert len(found) == 1
    assert found.boxes_px.tolist() == [[60, 20, 150, 40]]
    assert found.masks[0].sum() == 20 * 90


def test_two_objects_of_one_tile_stay_two():
    """Where both are under one mask of the next tile."""
    image = np.zeros((60, 180, 3), np.uint8)
    mask = np.zeros((2, 60, 100), bool)
    mask[0, 10:30, 50:], mask[1, 30:45, 50:] = True, True

    def joined_in_the_second(images):
        for number, (_, _) in enumerate(images):
            masks = mask if number == 0 else mask[:, :, ::-1].any(0)[None]
            n = len(masks)
            yield Instances(
                np.zeros((n, 4), np.float32),
                np.linspace(0.9, 0.8, n, dtype=np.float32),
                np.zeros(n, np.int32),
                masks,
            )

    (found,) = in_tiles(joined_in_the_second, [(image, None)], 100, 0.2)
    assert len(found) == 2


def test_many_pictures_keep_their_order_image_and_source(tmp_path):
    images = [scene(seed, size, 6) for seed, size in enumerate([(90, 80), (250, 120)])]
    pairs = [(image, tmp_path / str(n)) for n, image in enumerate(images)]
    pairs.append((np.zeros((300, 10, 3), np.uint8), None))
    found = list(in_tiles(find, pairs, 100, 0.2))
    assert [f.source for f in found] == [path for _, path in pairs]
    for result, (image, _) in zip(found, pairs, strict=True):
        assert result.image is image
        assert result.masks.shape[1:] == image.shape[:2]
    assert len(found[2]) == 0
    assert found[2].boxes_px.shape == (0, 4)


def test_only_one_picture_is_opened_ahead():
    opened = []

    def pictures():
        for number in range(5):
            opened.append(number)
            yield scene(number, (150, 150), 3), None

    results = in_tiles(find, pictures(), 100, 0.2)
    next(results)
    assert opened == [0]


@pytest.mark.parametrize(
    ("tile", "overlap", "problem"),
    [
        (23, 0.2, "`tile` is 23 pixels, smaller than the smallest anchor .* least 24"),
        (0, 0.2, "`tile` is 0; it must be a whole number"),
        (64.5, 0.2, "`tile` is 64.5; it must be a whole number"),
        (True, 0.2, "`tile` is True; it must be a whole number"),
        (64, 1, "`overlap` is 1; it must be from 0 to 0.9"),
        (64, float("nan"), "`overlap` is nan; it must be from 0 to 0.9"),
        (64, -0.1, r"`overlap` is -0\.1; it must be from 0 to 0.9"),
    ],
)
def test_bad_tiles_are_one_sentence(tile, overlap, problem):
    with pytest.raises(ValueError, match=problem):
        check_tiling(tile, overlap, 24)
    check_tiling(24, 0, 24)
