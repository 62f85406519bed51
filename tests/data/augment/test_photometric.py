import numpy as np
import pytest

from yolact_jax.data.augment import photometric
from yolact_jax.data.augment.photometric import ColorChange


def slow_hsv_change(image, saturation, hue_degrees):
    """The textbook hexcone, in float64, without clipping."""
    value, low = image.max(-1), image.min(-1)
    chroma = value - low
    red, green, blue = np.moveaxis(image, -1, 0)
    safe = np.maximum(chroma, 1e-12)
    hue = np.where(
        value == red,
        60 * (green - blue) / safe,
        np.where(
            value == green,
            60 * (blue - red) / safe + 120,
            60 * (red - green) / safe + 240,
        ),
    )
    hue = np.where(chroma == 0, 0, hue)
    sextant = (((hue + hue_degrees) % 360) / 60)[..., None]
    chroma = (chroma * saturation)[..., None]
    k = (np.array([5.0, 3.0, 1.0]) + sextant) % 6
    return value[..., None] - chroma * np.clip(np.minimum(k, 4 - k), 0, 1)


def slow_apply(image, change, contrast_first):
    image = image.astype(np.float64) + change.brightness
    if contrast_first:
        image = image * change.contrast
    image = slow_hsv_change(image, change.saturation, change.hue_degrees)
    if not contrast_first:
        image = image * change.contrast
    return np.rint(image)


def noise(low=40):
    rng = np.random.default_rng(0)
    image = rng.integers(low, 256, (90, 333, 3), np.uint8)
    image[:10] = image[:10, :, :1]
    return image


CHANGES = [
    ColorChange(),
    ColorChange(brightness=-31.5),
    ColorChange(contrast=1.45, brightness=12),
    ColorChange(saturation=0.5),
    ColorChange(saturation=1.5),
    ColorChange(hue_degrees=17.0),
    ColorChange(hue_degrees=-17.0),
    ColorChange(20.0, 1.5, 1.4, -9.0),
    ColorChange(20.0, 0.55, 1.4, 9.0),
]


@pytest.mark.parametrize("contrast_first", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_change_equals_the_slow_one_in_either_order(change, contrast_first):
    found = photometric.apply(noise(), change)
    assert found.dtype == np.uint8
    slow = slow_apply(noise(), change, contrast_first)
    assert np.abs(found - np.clip(slow, 0, 255)).max() <= 1


@pytest.mark.parametrize("change", CHANGES)
def test_change_without_clipping_equals_the_slow_one(change):
    found = photometric.apply(noise(), change, clip=False)
    assert found.dtype == np.int16
    assert np.abs(found - slow_apply(noise(), change, contrast_first=True)).max() <= 1


def test_nothing_is_clipped_on_the_way():
    """Bright pixels come back when contrast lowers what brightness had raised."""
    image = np.full((4, 4, 3), 250, np.uint8)
    image[..., 0] = 240
    change = ColorChange(30.0, 0.5, 1.0, 0.001)
    np.testing.assert_array_equal(
        photometric.apply(image, change)[0, 0], [135, 140, 140]
    )


def test_no_change_is_exact_and_input_is_left_alone():
    image, original = noise(0), noise(0)
    np.testing.assert_array_equal(photometric.apply(image, ColorChange()), original)
    photometric.apply(image, CHANGES[-1])
    np.testing.assert_array_equal(image, original)


def test_strips_do_not_show():
    """A tall image and its lower part alone get the same colours."""
    image = np.random.default_rng(1).integers(0, 256, (400, 200, 3), np.uint8)
    full = photometric.apply(image, CHANGES[-1])
    np.testing.assert_array_equal(
        full[150:], photometric.apply(image[150:], CHANGES[-1])
    )


def test_random_changes_have_the_documented_distribution():
    rng = np.random.default_rng(0)
    changes = [photometric.random_change(rng) for _ in range(4000)]
    ranges = {
        "brightness": (-32, 32, 0),
        "contrast": (0.5, 1.5, 1),
        "saturation": (0.5, 1.5, 1),
        "hue_degrees": (-18, 18, 0),
    }
    for name, (low, high, neutral) in ranges.items():
        values = np.array([getattr(change, name) for change in changes])
        fired = values[values != neutral]
        assert abs(len(fired) / 4000 - 0.5) < 0.04
        assert low <= fired.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < fired.max() <= high
        assert abs(fired.mean() - (low + high) / 2) < 0.03 * (high - low)
