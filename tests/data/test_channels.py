"""Files and arrays of any number of channels and 16 bits, and windows over them."""

import contextlib
import importlib
import io
import re
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.helpers.tiffs import LAYOUTS, noise, tiff
from yolact_jax.config import Config
from yolact_jax.data import images
from yolact_jax.data import tiff as tiff_lib
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.headers import read_header
from yolact_jax.data.images import decode_image, decode_values, read_image, read_values
from yolact_jax.data.pixels import Pixels, shown


def scaled_slowly(values, low, high):
    """One number after the other."""
    result = np.zeros(values.shape, np.uint8)
    for place in np.ndindex(*values.shape):
        start, end = low[place[-1]], high[place[-1]]
        share = (float(values[place]) - start) / (end - start)
        result[place] = round(min(max(share, 0.0), 1.0) * 255)
    return result


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [1, 2, 4, 5, 7])
def test_tiff_files_keep_every_number_of_every_channel(layout, channels, dtype):
    image = noise(channels, dtype)
    if channels == 1 and layout != "pages":
        return  # The same file.
    data = tiff(image, layout)
    found = decode_values(data, name="a", pixels=Pixels(channels))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, image)
    header = read_header(data, name="a")
    assert (header.height, header.width) == image.shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("once", [True, False])
def test_tiff_files_are_upright_or_as_stored(layout, orientation, once):
    image = noise(5, np.uint16)
    tags = [(274, "H", 1, orientation, once)]  # Of the first page only, or of all.
    data = tiff(image, layout, extratags=tags)
    stored = decode_values(data, name="a", orientation=1, pixels=Pixels(5))
    np.testing.assert_array_equal(stored, image)
    upright = decode_values(data, name="a", pixels=Pixels(5))
    # One channel in a PNG file, which OpenCV turns by the same field.
    exif = Image.Exif()
    exif[274] = orientation
    stream = io.BytesIO()
    gray = (image[..., 3] >> 8).astype(np.uint8)
    Image.fromarray(gray).save(stream, "PNG", exif=exif)
    expected = decode_image(stream.getvalue(), name="b")[..., 0]
    np.testing.assert_array_equal(upright[..., 3] >> 8, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_files_have_one_or_four_channels(dtype):
    image = noise(4, dtype)
    data = cv2.imencode(".png", image[..., [2, 1, 0, 3]])[1].tobytes()
    found = decode_values(data, name="a", pixels=Pixels(4))
    np.testing.assert_array_equal(found, image)
    gray = cv2.imencode(".png", image[..., 1])[1].tobytes()
    found = decode_values(gray, name="a", pixels=Pixels(1))
    np.testing.assert_array_equal(found, image[..., 1:2])


def test_three_pages_are_three_channels_and_others_show_the_first_by_default():
    image = noise(5, np.uint8)
    three = decode_image(tiff(image[..., :3], "pages"), name="a")
    np.testing.assert_array_equal(three, image[..., :3])
    first = decode_image(tiff(image, "pages"), name="a")
    np.testing.assert_array_equal(first, image[..., :1].repeat(3, axis=2))


@pytest.mark.parametrize(
    ("channels", "low", "high"),
    [
        (1, (100.0,), (4000.0,)),
        (3, (0, 5, 9), (255, 99, 700)),
        (5, (3,) * 5, (9,) * 5),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_windows_map_numbers_linearly_and_clip(channels, low, high, dtype):
    values = noise(channels, dtype) // (1 if dtype == np.uint8 else 9)
    found = Pixels(channels, low, high).scaled(values)
    assert found.dtype == np.uint8
    difference = found.astype(int) - scaled_slowly(values, low, high)
    assert np.abs(difference).max() <= 1
    assert (difference == 0).mean() > 0.99  # Halves may round either way.


def test_a_dark_file_of_16_bits_is_windowed_from_black_to_white():
    values = np.linspace(200, 3000, 11 * 17).round().astype(np.uint16).reshape(11, 17)
    data = cv2.imencode(".png", values)[1].tobytes()
    pixels = Pixels(3, (200.0,) * 3, (3000.0,) * 3)
    found = decode_image(data, name="a", pixels=pixels)
    assert (found.min(), found.max()) == (0, 255)
    assert abs(found.mean() - 127.5) < 1
    # By default, the upper 8 of the 12 bits that it uses.
    np.testing.assert_array_equal(decode_image(data, name="a")[..., 0], values >> 4)


def test_paths_arrays_and_pictures_of_pillow_are_read_alike(tmp_path):
    image = noise(5, np.uint16)
    (tmp_path / "a.tif").write_bytes(tiff(image, "pages"))
    pixels = Pixels(5, (10.0,) * 5, (50_000.0,) * 5)
    expected = pixels.scaled(image)
    for one in (tmp_path / "a.tif", image):
        np.testing.assert_array_equal(read_image(one, pixels=pixels), expected)
    gray = np.ascontiguousarray(image[..., 0])
    pillow = Image.fromarray(gray)
    for one in (pillow, gray, gray[..., None]):
        found = read_values(one, pixels=Pixels(1))
        np.testing.assert_array_equal(found[..., 0], gray)
        found = read_image(one)
        np.testing.assert_array_equal(found, (gray >> 8)[..., None].repeat(3, axis=2))


@pytest.mark.parametrize("mode", ["P", "CMYK", "HSV"])
def test_places_in_a_palette_and_other_colors_are_no_gray_values(mode):
    picture = Image.fromarray(noise(3, np.uint8)).convert(mode)
    for channels in (1, 4):
        with pytest.raises(ValueError, match=r"got uint8 \(\d+, \d+, 3\)"):
            read_image(picture, pixels=Pixels(channels))
    black = Image.fromarray(noise(1, np.uint8)[..., 0] > 99)
    assert black.mode == "1"
    found = read_image(black, pixels=Pixels(1))
    assert set(np.unique(found)) == {0, 255}


def bad_pages():
    stream = io.BytesIO()
    pages = [Image.fromarray(noise(1, np.uint8, (9, n))[..., 0]) for n in (9, 8)]
    pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:])
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "channels", "words"),
    [
        (tiff(noise(5, np.uint8), "pages"), 4, "a.tif: has 5 channels; .* is 4"),
        (tiff(noise(5, np.uint8), "samples"), 1, "a.tif: has 5 channels; .* is 1"),
        (tiff(noise(5, np.uint8), "planes"), 3, "a.tif: has 5 channels; .* is 3"),
        (cv2.imencode(".png", noise(3, np.uint8))[1].tobytes(), 1, "3 channels"),
        (cv2.imencode(".jpg", noise(3, np.uint8))[1].tobytes(), 6, "3 channels"),
        (bad_pages(), 2, r"different sizes .*: 9 x 8, 9 x 9"),
        (tiff(noise(5, np.uint8).astype(np.float32), "pages"), 5, "float32"),
        (tiff(noise(5, np.uint8), "samples")[:300], 5, "a.tif: .*(decoded|damaged)"),
    ],
)
def test_files_of_other_channels_are_one_sentence(data, channels, words):
    with pytest.raises(DatasetError, match=words) as caught:
        decode_values(data, name="a.tif", pixels=Pixels(channels))
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_damaged_files_of_many_channels_decode_or_are_named(layout):
    rng = np.random.default_rng(0)
    whole = np.frombuffer(tiff(noise(5, np.uint16), layout), np.uint8)
    for _ in range(60):
        data = whole[: rng.integers(8, len(whole) + 1)].copy()
        places = rng.integers(8, min(len(data), rng.choice([400, 1 << 20])) + 1, 3) - 1
        data[places] = rng.integers(0, 256, 3)
        with contextlib.suppress(DatasetError):
            found = decode_values(data.tobytes(), name="a", pixels=Pixels(5))
            assert found.dtype in (np.uint8, np.uint16)
            assert found.shape[2] == 5


def test_more_numbers_than_fit_are_not_decoded():
    data = bytearray(tiff(noise(5, np.uint8), "samples"))
    for tag in (256, 257):
        at = re.search(struct.pack("<H", tag) + rb"[\x03\x04]\0\x01\0\0\0", data)
        data[at.start() + 2 : at.start() + 12] = struct.pack("<HII", 4, 1, 13_000)
    with pytest.raises(DatasetError, match=r"13000 x 13000 .* of 5 channels"):
        decode_values(bytes(data), name="a", pixels=Pixels(5))


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    def missing(name):
        raise ImportError(name)

    data = tiff(noise(5, np.uint8), "samples")
    monkeypatch.setattr(tiff_lib.importlib, "import_module", missing)
    with pytest.raises(DatasetError, match=r"yolact_jax\[tiff\]"):
        decode_values(data, name="a", pixels=Pixels(5))


@pytest.mark.parametrize(
    "image",
    [noise(3, np.uint16), noise(5, np.uint16).astype(np.int32), noise(5, np.uint8)[0]],
)
def test_arrays_of_other_channels_are_one_sentence(image):
    with pytest.raises(ValueError, match=r"shape \[h, w, 5\]; got u?int"):
        read_values(image, pixels=Pixels(5))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_previews_show_files_of_any_channels(layout):
    image = noise(5, np.uint8)
    found = images.preview(tiff(image, layout), name="a")
    first = image[..., :1].repeat(3, axis=2) if layout == "pages" else image[..., :3]
    np.testing.assert_array_equal(found, first)


@pytest.mark.parametrize(("channels", "seen"), [(1, 1), (2, 1), (3, 3), (4, 3), (6, 3)])
def test_pictures_show_three_channels_or_gray(channels, seen):
    image = noise(channels, np.uint8)
    expected = image[..., :3] if seen == 3 else image[..., :1].repeat(3, axis=2)
    np.testing.assert_array_equal(shown(image), expected)


WINDOW = {"data.window_low": (1.0,) * 5, "data.window_high": (9.0,) * 5}
MANY = {"data.channels": 5}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data.channels": 0}, "channels is 0; it must be an integer greater than 0"),
        ({**MANY, "data.dataset": "shapes"}, "channels is 5; it must be 3 with"),
        (WINDOW, "one number for each of the 3 channels"),
        ({**MANY, **WINDOW, "data.window_high": ()}, "each must be \\(\\) or one"),
        ({**MANY, **WINDOW, "data.window_low": (9.0,) * 5}, "must be below that of"),
        ({"data.channel_mean": (1.0,) * 3}, "channel_std \\(\\); each must be"),
        ({"data.window_percentiles": (1.0,)}, "\\(\\) or two numbers"),
        ({"data.window_percentiles": (9.0, 1.0)}, "the smaller one first"),
        (
            {**MANY, **WINDOW, "data.window_percentiles": (1.0, 9.0)},
            "must be \\(\\) wi",
        ),
    ],
)
def test_windows_that_contradict_the_channels_are_one_sentence(changes, words):
    with pytest.raises(ValueError, match=words):
        Config().replace(changes)


def test_fields_and_pixels_say_the_same():
    pixels = Pixels(2, (1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0))
    assert Pixels.of(Config().replace(pixels.fields()).data) == pixels
    assert Config().replace(images.RGB.fields()) == Config()
    open_window = Config().replace({"data.window_percentiles": (1.0, 99.0)})
    with pytest.raises(ValueError, match="measured where a dataset is"):
        Pixels.of(open_window.data)
    assert importlib.import_module("tifffile")
