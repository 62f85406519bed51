import io

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from tests.helpers.label_folders import HEIGHT, WIDTH
from yolact_jax.data.errors import DatasetError

VOC_VOID = (224, 224, 192)


def numbered(*numbers):
    """Nested and touching objects with these numbers."""
    mask = np.zeros((HEIGHT, WIDTH), np.int64)
    places = (5, 20, 5, 30), (8, 12, 10, 14), (20, 35, 5, 30)
    for number, (y1, y2, x1, x2) in zip(numbers, places, strict=False):
        mask[y1:y2, x1:x2] = number
    return mask


def palette_png(numbers, colors=None):
    picture = Image.fromarray(numbers.astype(np.uint8), "L")
    picture = picture.convert("P")
    picture.putdata(numbers.astype(np.uint8).ravel().tolist())
    palette = np.random.default_rng(0).integers(0, 200, (256, 3))
    for index, color in (colors or {}).items():
        palette[index] = color
    picture.putpalette(palette.astype(np.uint8).ravel().tolist())
    return encoded(picture, "PNG")


def encoded(picture, file_format):
    stream = io.BytesIO()
    picture.save(stream, file_format)
    return stream.getvalue()


def found_masks(content):
    found = []
    for annotation in content["annotations"]:
        counts = annotation["segmentation"]["counts"].encode()
        found.append(coco_mask.decode({"size": [HEIGHT, WIDTH], "counts": counts}))
        assert annotation["area"] == found[-1].sum()
    return found


def assert_finds(folders, numbers, **options):
    content, skipped = folders.convert("png", **options)
    assert not skipped
    expected = [numbers == number for number in np.unique(numbers[numbers > 0])]
    assert len(content["annotations"]) == len(expected)
    for mask, wanted in zip(found_masks(content), expected, strict=True):
        np.testing.assert_array_equal(mask, wanted)


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".TIFF", ".bmp"])
def test_numbers_of_8_bits_are_objects(folders, suffix):
    folders.image("a.jpg")
    numbers = numbered(7, 200, 255)
    data = cv2.imencode(suffix.lower(), numbers.astype(np.uint8))[1].tobytes()
    folders.put(folders.labels / f"a{suffix}", data)
    assert_finds(folders, numbers)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_numbers_of_16_bits_are_objects(folders, suffix):
    folders.image("a.jpg")
    numbers = numbered(7, 300, 65535)
    data = cv2.imencode(suffix, numbers.astype(np.uint16))[1].tobytes()
    folders.put(folders.labels / f"a{suffix}", data)
    assert_finds(folders, numbers)


def test_every_pixel_may_be_an_object(folders):
    folders.image("a.jpg")
    numbers = np.ones((HEIGHT, WIDTH), np.uint8)
    folders.mask("a.png", numbers)
    assert_finds(folders, numbers)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_palettes_of_few_bits(folders, bits):
    folders.image("a.jpg")
    numbers = numbered(1, 2 if bits > 1 else 1, 3 if bits > 1 else 0)
    picture = Image.fromarray(numbers.astype(np.uint8)).convert("P")
    picture.putdata(numbers.ravel().tolist())
    picture.putpalette([0, 0, 0, 9, 9, 9, 9, 9, 9, 40, 50, 60])
    stream = io.BytesIO()
    picture.save(stream, "PNG", bits=bits)
    folders.put(folders.labels / "a.png", stream.getvalue())
    assert_finds(folders, numbers)


def test_palette_indices_are_objects_and_255_is_void(folders):
    folders.image("a.jpg", "b.jpg", "c.jpg")
    folders.put(folders.labels / "a.png", palette_png(numbered(1, 255, 2)))
    only_void = palette_png(numbered(255), {255: VOC_VOID})
    folders.put(folders.labels / "b.png", only_void)
    folders.put(folders.labels / "c.png", palette_png(numbered(255)))
    content, _ = folders.convert("png")
    assert [entry["image_id"] for entry in content["annotations"]] == [1, 1, 3]
    first, second, binary = found_masks(content)
    np.testing.assert_array_equal(first, numbered(1, 255, 2) == 1)
    np.testing.assert_array_equal(second, numbered(1, 255, 2) == 2)
    np.testing.assert_array_equal(binary, numbered(255) == 255)


def test_void_number_can_be_given(folders):
    folders.image("a.jpg")
    folders.mask("a.png", numbered(1, 255, 2).astype(np.uint8))
    assert len(folders.convert("png")[0]["annotations"]) == 3
    numbers = numbered(1, 255, 2)
    assert_finds(folders, np.where(numbers == 255, 0, numbers), void=255)


def test_colors_are_objects(folders):
    folders.image("a.jpg", "b.jpg")
    # As red + 256 green + 65536 blue, the order of OpenCV.
    numbers = numbered(200, 200 * 256, 200 * 65536 + 1)
    colors = np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], -1)
    folders.mask("a.png", colors.astype(np.uint8))
    with_void = np.where((numbers == 200)[..., None], VOC_VOID[::-1], colors)
    alpha = np.where(numbers == 200 * 256, 0, 255)[..., None]
    folders.mask("b.png", np.concatenate([with_void, alpha], -1).astype(np.uint8))
    content, _ = folders.convert("png")
    masks = found_masks(content)
    for mask, number in zip(masks[:3], (200 * 65536 + 1, 200 * 256, 200), strict=True):
        assert any((mask == (numbers == number)).all() for mask in masks[:3])
    assert [entry["image_id"] for entry in content["annotations"]] == [1, 1, 1, 2]
    np.testing.assert_array_equal(masks[3], numbers == 200 * 65536 + 1)


def test_folders_are_classes(folders):
    folders.image("a.jpg")
    folders.mask("dog/a.png", numbered(1, 2).astype(np.uint8))
    folders.mask("cat/a.png", numbered(1).astype(np.uint8))
    folders.mask("a.png", numbered(1).astype(np.uint8))
    content, _ = folders.convert("png", class_name="bird")
    names = {entry["id"]: entry["name"] for entry in content["categories"]}
    found = sorted(names[entry["category_id"]] for entry in content["annotations"])
    assert found == ["bird", "cat", "dog", "dog"]


def test_folders_that_the_images_have_too_are_no_classes(folders):
    folders.image("bear/00.jpg", "swan/00.jpg")
    folders.mask("bear/00.png", numbered(1).astype(np.uint8))
    folders.mask("swan/00.png", numbered(1, 2).astype(np.uint8))
    content, _ = folders.convert("png")
    assert content["categories"] == [{"id": 1, "name": "object"}]
    assert [entry["file_name"] for entry in content["images"]] == [
        "bear/00.jpg",
        "swan/00.jpg",
    ]
    assert [entry["image_id"] for entry in content["annotations"]] == [1, 2, 2]


def smoothed():
    ellipse = cv2.ellipse(
        np.zeros((400, 600), np.uint8), (300, 200), (200, 120), 30, 0, 360, 255, -1
    )
    return cv2.resize(ellipse, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def noise():
    shape = (HEIGHT, WIDTH, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


BAD_MASKS = {
    "is not a sound PNG file": b"abc",
    "is not a sound PNG file (image file is truncated": palette_png(noise()[..., 0])[
        :-200
    ],
    "is not a file": None,
    "has 60 x 40 pixels (height x width), but the image has 40 x 60": cv2.imencode(
        ".png", np.zeros((WIDTH, HEIGHT), np.uint8)
    )[1].tobytes(),
    "scattered pixels: is it a smoothed mask": cv2.imencode(".png", smoothed())[
        1
    ].tobytes(),
    "scattered pixels: is it a smoothed mask or": cv2.imencode(".png", noise())[
        1
    ].tobytes(),
    "is a picture of mode RGB with 16 bits": cv2.imencode(
        ".png", noise().astype(np.uint16) * 200
    )[1].tobytes(),
}


@pytest.mark.parametrize("message", BAD_MASKS)
def test_bad_mask_is_named_and_can_be_left_out(folders, message):
    folders.image("a.jpg", "b.jpg")
    if BAD_MASKS[message] is None:
        (folders.labels / "a.png").mkdir()
    else:
        folders.put(folders.labels / "a.png", BAD_MASKS[message])
    folders.mask("b.png", numbered(1).astype(np.uint8))
    with pytest.raises(DatasetError) as caught:
        folders.convert("png")
    (problem,) = caught.value.problems
    assert problem.startswith(f"{folders.labels / 'a.png'}: ")
    assert message in problem
    content, skipped = folders.convert("png", skip_bad=True)
    assert skipped == [problem]
    assert [entry["file_name"] for entry in content["images"]] == ["b.jpg"]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_size_is_compared_before_a_mask_is_decoded(folders):
    """12000 x 12000 pixels would take seconds and 144 MB."""
    folders.image("a.jpg")
    huge = Image.new("L", (12000, 12000))
    folders.put(folders.labels / "a.png", encoded(huge, "PNG")[:1000])
    with pytest.raises(DatasetError, match=r"has 12000 x 12000 pixels"):
        folders.convert("png")


def test_several_pictures_in_one_file_are_refused(folders):
    folders.image("a.jpg")
    page = Image.fromarray(numbered(1).astype(np.uint8))
    stream = io.BytesIO()
    page.save(stream, "TIFF", save_all=True, append_images=[page])
    folders.put(folders.labels / "a.tif", stream.getvalue())
    with pytest.raises(DatasetError, match=r"is a file of 2 pictures, not one"):
        folders.convert("png")


def test_other_pictures_among_masks_are_told(folders):
    folders.image("a.jpg", "b.jpg")
    folders.mask("a.png", numbered(1).astype(np.uint8))
    folders.put(folders.labels / "b.jpg", b"")
    with pytest.raises(DatasetError, match=r"b\.jpg: is no label file, whose name"):
        folders.convert("png")


def test_masks_among_images_are_refused(folders):
    folders.labels = folders.images
    with pytest.raises(DatasetError, match="masks and images need folders of their"):
        folders.convert("png")
