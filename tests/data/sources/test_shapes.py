import numpy as np
import pytest

from yolact_jax.data.sources import shapes
from yolact_jax.data.sources.shapes import CLASS_NAMES, draw_shapes

DRAWN = [draw_shapes(0, index) for index in range(60)]


def test_same_seed_and_index_give_the_same_picture():
    for index in (0, 7):
        again = draw_shapes(0, index)
        np.testing.assert_array_equal(again.image, DRAWN[index].image)
        np.testing.assert_array_equal(again.masks, DRAWN[index].masks)
        np.testing.assert_array_equal(again.labels, DRAWN[index].labels)


def test_other_seed_or_index_gives_another_picture():
    assert (draw_shapes(1, 0).image != DRAWN[0].image).any()
    assert (DRAWN[1].image != DRAWN[0].image).any()


def test_boxes_are_tight_around_the_masks():
    for drawn in DRAWN:
        for mask, box in zip(drawn.masks, drawn.boxes_px, strict=True):
            rows, columns = np.nonzero(mask)
            expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert box.tolist() == expected


def test_no_pixel_belongs_to_two_objects():
    for drawn in DRAWN:
        assert drawn.masks.sum(axis=0).max() <= 1


def test_every_object_is_large_enough_to_be_seen():
    for drawn in DRAWN:
        assert 1 <= len(drawn.labels) <= 6
        assert drawn.masks.sum(axis=(1, 2)).min() >= 16


def test_all_classes_and_numbers_of_objects_occur():
    labels = np.concatenate([drawn.labels for drawn in DRAWN])
    assert set(labels.tolist()) == set(range(len(CLASS_NAMES)))
    assert {len(drawn.labels) for drawn in DRAWN} >= {1, 2, 3, 4, 5, 6}


def test_objects_stand_out_from_what_is_around_them():
    """The colour jumps across the outline of every object."""
    steps = []
    for drawn in DRAWN:
        image = drawn.image.astype(float)
        for mask in drawn.masks:
            inner = mask & np.roll(mask, 3, 1) & np.roll(mask, -3, 1)
            outer = ~(mask | np.roll(mask, 2, 1) | np.roll(mask, -2, 1))
            near = np.roll(mask, 4, 1) | np.roll(mask, -4, 1)
            if inner.any() and (outer & near).any():
                step = image[inner].mean(0) - image[outer & near].mean(0)
                steps.append(np.abs(step).max())
    assert len(steps) > 150
    assert np.median(steps) > 50
    assert np.mean(np.array(steps) > 20) > 0.9


def test_mask_is_where_the_picture_changed(monkeypatch):
    """Painting changes the pixels of the mask, and next to none beside it."""
    painted = []
    paint = shapes._paint

    def spy(image, distance, rng):
        before = image.copy()
        paint(image, distance, rng)
        painted.append((np.abs(image - before).max(axis=-1), distance))

    monkeypatch.setattr(shapes, "_paint", spy)
    for index in range(20):
        draw_shapes(0, index)
    assert len(painted) > 40
    for change, distance in painted:
        assert not change[distance > 0.5].any()
        assert (change[distance < 0] > 0).mean() > 0.99


@pytest.mark.parametrize("label", range(len(CLASS_NAMES)))
def test_no_shape_is_cut_off_by_its_window(label):
    """The window's borders inside the picture are outside of the shape."""
    rng = np.random.default_rng(label)
    for _ in range(100):
        outline = shapes._random_outline(rng, label, 100)
        rows, columns = outline.window
        inside = outline.distance < 0
        assert inside.any()
        assert rows.start == 0 or not inside[0].any()
        assert rows.stop == 100 or not inside[-1].any()
        assert columns.start == 0 or not inside[:, 0].any()
        assert columns.stop == 100 or not inside[:, -1].any()


def fill(label, **uniform):
    """Area of a shape of radius 0.4 in a picture of side 1."""
    size = 800
    centers = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    u, v = np.meshgrid(centers, centers)

    class Rng:
        def uniform(self, low, high):
            return (low + high) / 2

    return (shapes._DISTANCES[label](u, v, 0.4, Rng()) < 0).mean()


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("circle", np.pi * 0.16),
        ("rectangle", 4 * 0.16 * 0.625),
        # Three times the square root of 3 times the square of the inner radius.
        ("triangle", 3 * np.sqrt(3) * (0.4 * 0.575) ** 2),
        # Ten triangles from the centre to a tip and a notch, 36 degrees apart.
        ("star", 5 * 0.4 * 0.4 * 0.46 * np.sin(np.pi / 5)),
        ("ring", np.pi * (0.16 - (0.4 * 0.6) ** 2)),
    ],
)
def test_shapes_have_the_area_of_their_formula(name, area):
    assert fill(CLASS_NAMES.index(name)) == pytest.approx(area, rel=5e-3)


def test_rings_have_holes():
    drawn = next(d for d in DRAWN if CLASS_NAMES[d.labels[-1]] == "ring")
    x1, y1, x2, y2 = drawn.boxes_px[-1].astype(int)
    assert drawn.masks[-1][y1:y2, x1:x2].any()
    assert not drawn.masks[-1][(y1 + y2) // 2, (x1 + x2) // 2]


@pytest.mark.parametrize("size", [32, 200])
def test_other_sizes_work(size):
    drawn = draw_shapes(3, 5, image_size=size)
    assert drawn.image.shape == (size, size, 3)
    assert drawn.image.dtype == np.uint8
    assert drawn.masks.shape[1:] == (size, size)


def test_too_small_a_picture_is_refused():
    with pytest.raises(ValueError, match="`image_size` is 31; it must be at least 32"):
        draw_shapes(0, 0, image_size=31)
