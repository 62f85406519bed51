import contextlib
import io
import re
import struct
import subprocess
import sys
import textwrap
import zlib

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image

from yolact_jax.data.errors import DatasetError
from yolact_jax.data.headers import annotated_orientation, read_header
from yolact_jax.data.images import decode_image, significant_bits


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


def test_bytes_after_the_end_of_a_png_file_do_not_matter():
    image = quarters()
    data = png(np.ascontiguousarray(image[..., ::-1])) + bytes(100)
    np.testing.assert_array_equal(decode_image(data, name="a"), image)


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
    header = read_header(data, name="a")
    assert (header.height, header.width, header.orientation) == (16, 32, orientation)
    image = decode_image(data, name="a")
    assert image.shape == ((16, 32, 3) if orientation < 5 else (32, 16, 3))
    assert header.size(orientation) == image.shape[:2]
    assert_shows(image, UPRIGHT[orientation])
    # OpenCV knows the standard too.
    reference = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert_close(image, reference[..., ::-1])


def with_orientation(image, file_format, orientation):
    """Encodes with Pillow, the orientation where the format has it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    is_tiff = file_format == "TIFF"
    tags = {"tiffinfo": {0x0112: orientation}} if is_tiff else {"exif": exif}
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, file_format, **tags)
    return stream.getvalue()


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_every_format_is_upright_or_as_stored(file_format, orientation):
    data = with_orientation(quarters(), file_format, orientation)
    assert read_header(data, name="a").orientation == orientation
    assert_shows(decode_image(data, name="a"), UPRIGHT[orientation])
    assert_shows(decode_image(data, name="a", orientation=1), UPRIGHT[1])


# Stored (height, width), orientation of the file, stated size, the field of the json:
# orientation to apply, and whether the dataset tells.
RULE = [
    ((16, 32), 1, (16, 32), None, (1, True)),
    ((16, 32), 3, (16, 32), None, (3, False)),
    ((16, 32), 3, (16, 32), True, (3, True)),
    ((16, 32), 3, (16, 32), False, (1, True)),
    ((16, 32), 6, (16, 32), None, (1, True)),
    ((16, 32), 6, (32, 16), None, (6, True)),
    ((32, 32), 8, (32, 32), None, (8, False)),
    ((32, 32), 8, (32, 32), True, (8, True)),
    ((32, 32), 8, (32, 32), False, (1, True)),
]


@pytest.mark.parametrize(("stored", "turn", "stated", "applied", "expected"), RULE)
def test_field_then_size_then_upright(stored, turn, stated, applied, expected):
    header = read_header(jpeg(quarters(*stored), turn), name="a")
    assert annotated_orientation(header, stated, applied, name="a") == expected


@pytest.mark.parametrize(
    ("stated", "applied"), [((17, 32), None), ((16, 32), True), ((32, 16), False)]
)
def test_other_size_than_stated_is_an_error(stated, applied):
    header = read_header(jpeg(quarters(), 6), name="a.jpg")
    message = rf"a\.jpg: .* pixels .* state {stated[0]} x {stated[1]}\."
    with pytest.raises(DatasetError, match=message):
        annotated_orientation(header, stated, applied, name="a.jpg")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.replace(b"II*\0", b"XX*\0"),
        lambda data: data.replace(b"II*\0\x08", b"II*\0\xff"),
        lambda data: data.replace(b"\x12\x01\x03", b"\x12\x01\x07"),
    ],
)
def test_damaged_exif_counts_as_upright(damage):
    data = damage(jpeg(quarters(), 6))
    assert_shows(decode_image(data, name="a"), UPRIGHT[1])


@pytest.mark.parametrize("encode", [png, jpeg])
def test_orientations_never_change_pixels(encode):
    """Every orientation holds the pixels of the upright image, in another order."""
    data = encode(np.random.default_rng(0).integers(0, 255, (24, 40, 3), np.uint8))
    seen = [decode_image(data, name="a", orientation=turn) for turn in UPRIGHT]
    flat = [
        np.sort(image.reshape(-1, 3).astype(np.int64) @ (1, 256, 65536))
        for image in seen
    ]
    assert all((other == flat[0]).all() for other in flat)
    assert len({image.tobytes() + bytes(image.shape) for image in seen}) == 8


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_images_of_more_than_8_bits_use_the_whole_range(suffix, bits):
    image = quarters()
    deep = image[..., ::-1].astype(np.uint16) << (bits - 8)
    deep += np.uint16((1 << (bits - 8)) - 1)  # Lower bits make no difference.
    data = cv2.imencode(suffix, deep)[1].tobytes()
    np.testing.assert_array_equal(decode_image(data, name="a"), image)
    assert significant_bits(data, name="a") == bits


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".bmp", ".webp", ".ppm"])
def test_images_of_8_bits_stay_as_dark_as_they_are(suffix):
    image = quarters() // 32
    data = cv2.imencode(suffix, image[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 101])[1]
    np.testing.assert_array_equal(decode_image(data.tobytes(), name="a"), image)
    assert significant_bits(data.tobytes(), name="a") == 8


def claiming(suffix, side):
    """A file of a few hundred bytes whose header says that it is `side` square."""
    data = bytearray(
        cv2.imencode(suffix, np.full((8, 8, 3), 99, np.uint8))[1].tobytes()
    )
    if suffix == ".jpg":
        place = data.index(b"\xff\xc0") + 5
        data[place : place + 4] = struct.pack(">HH", side, side)
    elif suffix == ".png":
        data[16:24] = struct.pack(">II", side, side)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif suffix == ".bmp":
        data[18:26] = struct.pack("<ii", side, side)
    else:
        for tag in (256, 257):  # Width and height, whichever integer type they have.
            at = re.search(struct.pack("<H", tag) + rb"[\x03\x04]\0\x01\0\0\0", data)
            data[at.start() + 2 : at.start() + 12] = struct.pack("<HII", 4, 1, side)
    return bytes(data)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tiff"])
def test_size_is_believed_before_pixels_are_decoded(suffix, memory_limited):
    """Within 100 MB more than the imports need; the claim would take 2.7 GB."""
    data = claiming(suffix, 30_000)
    assert len(data) < 2000
    done = memory_limited(
        f"""
        from yolact_jax.data.images import decode_image
        decode_image({data!r}, name="huge{suffix}")
        """
    )
    assert f"huge{suffix}: the file says that it has 30000 x 30000" in done.stderr
    assert "178956970" in done.stderr


def test_jpeg_of_fewer_bytes_than_its_pixels_need_is_not_decoded(memory_limited):
    done = memory_limited(
        f"""
        from yolact_jax.data.images import decode_image
        decode_image({claiming(".jpg", 12_000)!r}, name="a.jpg")
        """
    )
    assert "a.jpg: the JPEG file is damaged or truncated" in done.stderr


def test_uniform_jpeg_has_enough_bytes():
    data = cv2.imencode(
        ".jpg",
        np.zeros((4000, 4000), np.uint8),
        [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_OPTIMIZE, 1],
    )[1]
    assert not decode_image(data.tobytes(), name="a").any()


def test_limit_can_be_chosen():
    data = png(quarters())
    assert decode_image(data, name="a", max_pixels=512).shape == (16, 32, 3)
    with pytest.raises(DatasetError, match=r"^a: .* 16 x 32 .* limit is 511 pixels"):
        decode_image(data, name="a", max_pixels=511)


@pytest.fixture
def memory_limited():
    """Runs code with 100 MB of address space more than its imports took."""

    def run(code):
        start = """
        import resource, cv2, simplejpeg, yolact_jax.data.images
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize() + 100_000_000
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        """
        program = textwrap.dedent(start) + textwrap.dedent(code)
        return subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tiff", ".webp"])
def test_mutated_files_decode_or_are_named(suffix):
    """Whatever happens to bytes, there is an image or a sentence."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (24, 40, 3), np.uint8)
    whole = np.frombuffer(cv2.imencode(suffix, image)[1], np.uint8)
    for _ in range(60):
        data = whole[: rng.integers(1, len(whole) + 1)].copy()
        places = rng.integers(0, min(len(data), rng.choice([64, len(data)])), 4)
        data[places] = rng.integers(0, 256, 4)
        with contextlib.suppress(DatasetError):
            decoded = decode_image(data.tobytes(), name="a", max_pixels=1_000_000)
            assert decoded.dtype == np.uint8
            assert decoded.ndim == 3
