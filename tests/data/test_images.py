import struct

import cv2
import numpy as np
import pytest
import simplejpeg

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.exif import jpeg_orientation, oriented
from yolact_jax.data.images import decode_image


def quarters(height=16, width=32):
    """Red, green, blue and grey quarters, so that every orientation shows."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (200, 30, 30)
    image[: height // 2, width // 2 :] = (30, 200, 30)
    image[height // 2 :, : width // 2] = (30, 30, 200)
    image[height // 2 :, width // 2 :] = (120, 120, 120)
    return image


def png(image):
    return cv2.imencode(".png", image)[1].tobytes()


def jpeg(image, orientation=None, order="<"):
    data = simplejpeg.encode_jpeg(image, quality=98, colorsubsampling="444")
    if orientation is None:
        return data
    mark = {"<": b"II", ">": b"MM"}[order]
    tiff = mark + struct.pack(order + "HIH", 42, 8, 1)
    tiff += struct.pack(order + "HHIHHI", 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def assert_close(found, expected):
    assert found.dtype == np.uint8
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected.astype(int)).mean() < 3


def test_jpeg_and_png_decode_to_rgb():
    image = quarters()
    assert_close(decode_image(jpeg(image), name="a"), image)
    bgr = np.ascontiguousarray(image[..., ::-1])
    np.testing.assert_array_equal(decode_image(png(bgr), name="a"), image)


def test_grayscale_becomes_three_equal_channels():
    gray = quarters()[..., 1]
    expected = np.repeat(gray[..., None], 3, axis=2)
    np.testing.assert_array_equal(decode_image(png(gray), name="a"), expected)
    encoded = simplejpeg.encode_jpeg(
        np.ascontiguousarray(gray[..., None]), colorspace="GRAY", quality=98
    )
    assert_close(decode_image(encoded, name="a"), expected)


def test_transparency_is_dropped():
    image = quarters()
    bgra = np.dstack([image[..., ::-1], np.full(image.shape[:2], 7, np.uint8)])
    np.testing.assert_array_equal(decode_image(png(bgra), name="a"), image)


def test_sixteen_bit_png_keeps_its_upper_bits():
    image = quarters()
    deep = image[..., ::-1].astype(np.uint16) * 256 + 17
    np.testing.assert_array_equal(decode_image(png(deep), name="a"), image)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("encode", [png, jpeg])
def test_truncated_file_is_named(encode, keep):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    data = encode(noise)
    with pytest.raises(DatasetError, match=r"^cut\.img: .* (damaged|truncated)"):
        decode_image(data[: int(len(data) * keep)], name="cut.img")


@pytest.mark.parametrize("data", [b"", b"GIF?", b"<html>not found</html>"])
def test_what_is_no_image_is_named(data):
    with pytest.raises(DatasetError, match=r"page\.jpg: the file is not an image"):
        decode_image(data, name="page.jpg")


# What a viewer shows of `quarters` stored with each orientation: the names of the
# quarters in reading order, by the EXIF standard's table.
UPRIGHT = {
    1: "RGBX",
    2: "GRXB",
    3: "XBGR",
    4: "BXRG",
    5: "RBGX",
    6: "BRXG",
    7: "XGBR",
    8: "GXRB",
}
COLORS = {
    "R": (200, 30, 30),
    "G": (30, 200, 30),
    "B": (30, 30, 200),
    "X": (120, 120, 120),
}


def assert_shows(image, names):
    height, width = image.shape[:2]
    rows, columns = (height // 4, 3 * height // 4), (width // 4, 3 * width // 4)
    points = [image[row, column] for row in rows for column in columns]
    for point, name in zip(points, names, strict=True):
        assert np.abs(point.astype(int) - COLORS[name]).max() < 20


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_photograph_is_turned_upright(orientation, order):
    data = jpeg(quarters(), orientation, order)
    assert jpeg_orientation(data) == orientation
    image = decode_image(data, name="a")
    assert image.shape == ((16, 32, 3) if orientation < 5 else (32, 16, 3))
    assert_shows(image, UPRIGHT[orientation])
    # OpenCV knows the standard too.
    reference = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert_close(image, reference[..., ::-1])


@pytest.mark.parametrize("orientation", [2, 6])
def test_pixels_are_taken_as_stored_if_they_have_the_stated_size(orientation):
    data = jpeg(quarters(), orientation)
    assert_shows(decode_image(data, name="a", expected_size=(16, 32)), UPRIGHT[1])


def test_pixels_are_turned_if_only_that_gives_the_stated_size():
    data = jpeg(quarters(), 6)
    assert_shows(decode_image(data, name="a", expected_size=(32, 16)), UPRIGHT[6])


def test_other_size_than_stated_is_an_error():
    with pytest.raises(DatasetError, match=r"a\.jpg: .* 16 x 32 .* state 17 x 32"):
        decode_image(jpeg(quarters()), name="a.jpg", expected_size=(17, 32))


@pytest.mark.parametrize(
    "damage", [lambda d: d[:30], lambda d: d.replace(b"II*\0", b"XX*\0"), lambda d: b""]
)
def test_damaged_exif_counts_as_upright(damage):
    assert jpeg_orientation(damage(jpeg(quarters(), 6))) == 1


def test_orientations_are_undone_by_their_inverse():
    image = quarters()
    inverse = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
    for orientation, back in inverse.items():
        there_and_back = oriented(oriented(image, orientation), back)
        np.testing.assert_array_equal(there_and_back, image)
