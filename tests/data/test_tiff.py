"""TIFF files that say how their samples are stored and meant, read as RGB."""

import contextlib
import io
import itertools

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from tests.helpers.tiffs import noise, tiff
from yolact_jax.data.errors import DatasetError
from yolact_jax.data.images import decode_image, decode_values, preview, read_image
from yolact_jax.data.pixels import Pixels


def encoded(image, meaning="rgb", planes="contig", **options):
    stored = np.moveaxis(image, -1, 0) if planes == "separate" else image
    stream = io.BytesIO()
    tifffile.imwrite(
        stream,
        np.ascontiguousarray(stored),
        photometric=meaning,
        planarconfig=planes,
        **options,
    )
    return stream.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("samples", [3, 4])
def test_rgb_is_read_as_it_was_written(samples, planes, dtype):
    image = noise(samples, dtype, (48, 64))
    options = itertools.product(
        ["rgb"] if samples == 4 else ["rgb", "minisblack"],
        [None, (32, 32)],
        [None, "deflate"],
        ["unspecified", "unassalpha", "assocalpha"] if samples == 4 else [None],
    )
    for meaning, tile, compression, extra in options:
        data = encoded(
            image,
            meaning,
            planes,
            tile=tile,
            compression=compression,
            extrasamples=[extra] if extra else None,
        )
        found = decode_values(data, name="a")
        np.testing.assert_array_equal(found, image[..., :3])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_rgb_is_upright_or_as_stored(samples, dtype, planes, orientation):
    image = noise(samples, dtype)
    data = encoded(image, "rgb", planes, extratags=[(274, "H", 1, orientation, True)])
    stored = decode_values(data, name="a", orientation=1)
    np.testing.assert_array_equal(stored, image[..., :3])
    exif = Image.Exif()
    exif[274] = orientation
    stream = io.BytesIO()
    Image.fromarray((image[..., 0] >> (8 * image.itemsize - 8)).astype(np.uint8)).save(
        stream, "PNG", exif=exif
    )
    upright = np.asarray(ImageOps.exif_transpose(Image.open(stream)))
    found = decode_image(data, name="a")[..., 0]
    np.testing.assert_array_equal(found, upright)


def test_opacity_is_dropped_from_every_format(tmp_path):
    image = Image.fromarray(noise(4, np.uint8), "RGBA")
    for suffix in (".png", ".tif"):
        image.save(tmp_path / f"a{suffix}")
        found = read_image(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(found, np.asarray(image)[..., :3])


def test_four_grays_are_no_rgb():
    for planes in ("contig", "separate"):
        data = encoded(noise(4, np.uint8), "minisblack", planes)
        with pytest.raises(DatasetError, match=r"has 4 channels; .*channels is 3"):
            decode_image(data, name="a")
        assert preview(data, name="a").shape == (11, 17, 3)


def test_pages_of_planes_keep_every_number():
    image = noise(6, np.uint16)
    pages = np.stack([np.moveaxis(image[..., i : i + 3], -1, 0) for i in (0, 3)])
    stream = io.BytesIO()
    tifffile.imwrite(stream, pages, photometric="rgb", planarconfig="separate")
    found = decode_values(stream.getvalue(), name="a", pixels=Pixels(6))
    np.testing.assert_array_equal(found, image)
    first = decode_values(stream.getvalue(), name="a")
    np.testing.assert_array_equal(first, image[..., :3])


@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "int32", "uint32", "float16", "float32", "float64"]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_other_numbers_are_one_sentence(dtype, channels, capfd):
    layout = "pages" if channels == 1 else "samples"
    data = tiff(np.ones((4, 5, channels), dtype), layout)
    for door in (decode_image, preview):
        with pytest.raises(DatasetError, match=f"a: has numbers of type {dtype}; they"):
            door(data, name="a")
    with pytest.raises(DatasetError, match=f"a: has numbers of type {dtype}; they"):
        decode_values(data, name="a", pixels=Pixels(channels))
    assert not capfd.readouterr().err


@pytest.mark.parametrize("order", "<>")
def test_big_tiff_is_named(order, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise(3, np.uint8), bigtiff=True, byteorder=order)
    for door in (lambda: read_image(path), lambda: preview(path.read_bytes(), name="")):
        with pytest.raises(DatasetError, match="is a BigTIFF file, which cannot"):
            door()


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_damaged_files_decode_or_are_named(samples, planes):
    rng = np.random.default_rng(0)
    whole = np.frombuffer(encoded(noise(samples, np.uint8), "rgb", planes), np.uint8)
    for _ in range(100):
        data = whole[: rng.integers(8, len(whole) + 1)].copy()
        places = rng.integers(8, min(len(data), rng.choice([400, 1 << 20])) + 1, 3) - 1
        data[places] = rng.integers(0, 256, 3)
        with contextlib.suppress(DatasetError):
            assert decode_image(data.tobytes(), name="a").shape[2] == 3
        with contextlib.suppress(DatasetError):
            preview(data.tobytes(), name="a")
