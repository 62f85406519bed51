"""Windows and statistics are those of the pixels of the train split."""

import cv2
import numpy as np
import pytest

from tests.helpers.tiffs import CHANNELS, SIZE, config_of, noise, tiff, write_set
from yolact_jax import build
from yolact_jax.data.errors import DatasetError
from yolact_jax.tools.doctor.pixels import channel_findings, gray_findings


def test_percentiles_mean_and_deviation_are_those_of_all_pixels(many, tmp_path):
    root, images = many
    config = config_of(
        root, tmp_path, channels=CHANNELS, window_percentiles=(2.0, 98.0)
    )
    dataset = build.make_dataset(config)
    pixels, flat = dataset.pixels, images.reshape(-1, CHANNELS)
    for found, percent in ((pixels.low, 2.0), (pixels.high, 98.0)):
        wanted = np.percentile(flat, percent, axis=0, method="inverted_cdf")
        assert found == tuple(wanted)
    windowed = np.stack([example.image for example in dataset.source("train")])
    np.testing.assert_array_equal(
        windowed, pixels.scaled(images.reshape(-1, 60, 5)).reshape(windowed.shape)
    )
    np.testing.assert_allclose(pixels.mean, windowed.mean(axis=(0, 1, 2)), atol=1e-3)
    np.testing.assert_allclose(pixels.std, windowed.std(axis=(0, 1, 2)), atol=1e-3)
    # What a run records leaves nothing to measure, and says the same.
    closed = config.replace(pixels.fields())
    assert build.make_dataset(closed, ("validation",)).pixels == pixels


def test_rgb_needs_no_measure_and_gets_the_pixels_that_it_had(tmp_path):
    image = noise(3, np.uint8, SIZE)
    write_set(tmp_path / "set", {"a.png": cv2.imencode(".png", image)[1].tobytes()})
    dataset = build.make_dataset(config_of(tmp_path / "set", tmp_path))
    assert dataset.pixels.fields() == {
        "data.channels": 3,
        "data.window_low": (),
        "data.window_high": (),
        "data.window_percentiles": (),
        "data.channel_mean": (),
        "data.channel_std": (),
    }
    np.testing.assert_array_equal(dataset.source("train")[0].image[..., ::-1], image)


def test_a_set_of_other_channels_is_refused_with_every_file(many, tmp_path):
    with pytest.raises(DatasetError, match="channels is 4") as caught:
        build.make_dataset(config_of(many[0], tmp_path, channels=4))
    assert len(caught.value.problems) == 2 * 5  # In either split.


def test_a_channel_of_one_number_has_no_window(tmp_path):
    image = noise(2, np.uint16, SIZE)
    image[..., 1] = 7
    write_set(tmp_path / "set", {"a.tif": tiff(image, "pages")})
    config = config_of(
        tmp_path / "set", tmp_path, channels=2, window_percentiles=(1.0, 99.0)
    )
    with pytest.raises(DatasetError, match="Channel 2 of the train split has 7 at"):
        build.make_dataset(config)


def test_the_doctor_names_the_flags_for_deep_images_and_for_pages(tmp_path):
    pages = noise(5, np.uint16, SIZE) >> 4
    deep = cv2.imencode(".png", noise(1, np.uint16, SIZE) >> 6)[1].tobytes()
    write_set(tmp_path / "set", {"a.tif": tiff(pages, "pages"), "b.png": deep})
    source = build.make_dataset(config_of(tmp_path / "set", tmp_path)).source("train")
    found = {f.check: f.text for f in channel_findings("train", source)}
    found |= {f.check: f.text for f in gray_findings("train", source)}
    assert "1 TIFF files have 5 channels" in found["channels"]
    assert "--config.data.channels=5 shows it all" in found["channels"]
    assert "10 bits: 1, 12 bits: 1" in found["depth"]
    assert '--config.data.window_percentiles="(0.1, 99.9)"' in found["depth"]


def test_the_doctor_is_content_with_windows_and_all_channels(many, tmp_path):
    changes = {"channels": CHANNELS, "window_percentiles": (0.5, 99.5)}
    config = config_of(many[0], tmp_path, **changes)
    source = build.make_dataset(config).source("train")
    assert not list(channel_findings("train", source))
    (found,) = gray_findings("train", source)
    assert found.text.endswith("of 5 images go from 0 to 255 of 255.")
