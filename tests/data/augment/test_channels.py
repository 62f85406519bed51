"""Other channels than RGB go through the same views, in groups of three."""

import dataclasses

import numpy as np
import pytest

from tests.helpers.tiffs import noise
from yolact_jax.config import Augment, Data
from yolact_jax.data.augment import photometric
from yolact_jax.data.augment.sample import render, render_randomly
from yolact_jax.data.augment.view import View, whole
from yolact_jax.data.pixels import Pixels
from yolact_jax.ops.resize import resize_valid

VIEWS = [
    View(0, 0, 30, 20),
    View(3, 2, 20, 10, flip_x=True),
    View(-7, -9, 50, 44, flip_y=True),
]
CHANGE = photometric.ColorChange(-20.0, 1.3, 0.7, 9.0)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("channels", [1, 2, 4, 5, 6])
@pytest.mark.parametrize("change", [None, CHANGE])
@pytest.mark.parametrize("clip", [True, False])
def test_each_channel_is_drawn_as_a_gray_picture_of_it(view, channels, change, clip):
    image = noise(channels, np.uint8, (20, 30))
    mean = tuple(20.0 + 30 * i for i in range(channels))
    found = render(image, view, change, 24, clip=clip, mean=mean)
    assert found.shape == (24, 24, channels)
    assert found.dtype == (np.uint8 if clip else np.int16)
    plain = change and dataclasses.replace(change, saturation=1.0, hue_degrees=0.0)
    for channel in range(channels):
        gray = image[..., channel : channel + 1].repeat(3, axis=2)
        around = (mean[channel],) * 3
        alone = render(gray, view, plain, 24, clip=clip, mean=around)
        np.testing.assert_array_equal(found[..., channel], alone[..., 1])


def test_the_mean_of_each_channel_is_around_the_image():
    image = np.full((10, 10, 5), 200, np.uint8)
    mean = (10.0, 60.4, 90.0, 130.0, 170.6)
    found = render(image, View(-30, -30, 70, 70), None, 14, mean=mean)
    assert found[0, 0].tolist() == [10, 60, 90, 130, 171]
    assert found[7, 7].tolist() == [200] * 5


def test_random_draws_do_not_depend_on_the_channels():
    """A picture of five channels takes as many numbers as one of three."""

    class Shown:
        pixels = Pixels(5, mean=(9.0,) * 5)
        image = noise(5, np.uint8, (20, 30))

    rng, twin = np.random.default_rng(3), np.random.default_rng(3)
    found = render_randomly(Shown(), VIEWS[0], rng, Augment(), 24)
    change = photometric.random_change(twin)
    assert rng.random() == twin.random()
    expected = render(Shown.image, VIEWS[0], change, 24)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [(20, 30), (31, 17)])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_training_and_inference_put_any_channels_on_the_frame_alike(size, channels):
    image = noise(channels, np.uint8, size)
    mean = tuple(20.4 + 30 * i for i in range(channels))
    fields = {"channels": channels, "channel_mean": mean, "resize": "letterbox"}
    fields |= {"channel_std": (50.0,) * channels, "input_size": (32, 36)}
    frame = Data(**fields).frame
    drawn = render(image, whole(*size, frame), None, frame.size, mean=mean)
    found = resize_valid(image, np.array(size, np.int32), frame)
    assert found.shape == drawn.shape == (32, 36, channels)
    assert np.abs(np.asarray(found) - drawn).max() <= 1
    corner = np.round(mean).tolist()
    assert drawn[-1, -1].tolist() == np.asarray(found)[-1, -1].tolist() == corner
