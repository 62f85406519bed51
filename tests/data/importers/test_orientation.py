"""Photos that viewers turn: what was labeled and what is trained on are the same."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.helpers.label_folders import mask_shape, png, shape
from yolact_jax.config import InputFrame
from yolact_jax.data.augment.sample import NO_AUGMENTATION
from yolact_jax.data.pipeline import training_batches
from yolact_jax.data.sources.coco_builder import prepare_coco

# How to store an upright image so that a viewer turns it back, by EXIF orientation.
STORED = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: np.rot90(image, -1),
}
X1, Y1, X2, Y2 = 8, 16, 48, 40


def upright(height, width):
    image = np.full((height, width, 3), 40, np.uint8)
    image[Y1:Y2, X1:X2] = (250, 60, 60)
    return image


def photo(image, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    stored = np.ascontiguousarray(STORED[orientation](image))
    Image.fromarray(stored).save(stream, "JPEG", quality=95, exif=exif)
    return stream.getvalue()


def overlap(folders):
    """IoU of the mask and the red object, in a training batch."""
    source = prepare_coco(
        data_dir=folders.root / "records",
        train_annotations=folders.out,
        train_images=folders.images,
        validation_annotations=None,
        validation_images=None,
    ).source("train")
    size = {"frame": InputFrame(96, 96), "mask_size": 96, "max_objects": 2}
    with training_batches(
        source,
        batch_size=1,
        augment=NO_AUGMENTATION,
        mask_target="center",
        seed=0,
        num_workers=0,
        **size,
    ) as batches:
        batch = next(batches)
    red = batch["images"][0, ..., 0] > 150
    mask = batch["masks"][0, 0] > 0
    return (mask & red).sum() / (mask | red).sum()


def label(folders, source, image):
    """Writes labels of the upright image; returns options of the conversion."""
    height, width = image.shape[:2]
    corners = [(X1, Y1), (X2, Y1), (X2, Y2), (X1, Y2)]
    numbers = (image[..., 0] > 150).astype(np.uint8)
    if source == "yolo":
        values = " ".join(f"{x / width} {y / height}" for x, y in corners)
        folders.text("a.txt", f"0 {values}")
        return {"classes": ["red"]}
    if source == "png":
        folders.mask("a.png", numbers)
        return {}
    crop = numbers[Y1:Y2, X1:X2]
    shapes = {
        "labelme": shape("red", corners),
        "mask": mask_shape("red", (X1, Y1), crop),
    }
    folders.labelme("a.json", shapes[source], imageHeight=height, imageWidth=width)
    return {}


CASES = [("labelme", (96, 128), turn) for turn in STORED] + [
    (source, (96, 96), turn)
    for source in ("labelme", "mask", "yolo", "png")
    for turn in (2, 3, 4, 6, 8)
]


@pytest.mark.parametrize(("source", "size", "orientation"), CASES)
def test_upright_labels_lie_on_their_objects(folders, source, size, orientation):
    image = upright(*size)
    folders.put(folders.images / "a.jpg", photo(image, orientation))
    options = label(folders, source, image)
    content, _ = folders.convert(source.replace("mask", "labelme"), **options)
    (entry,) = content["images"]
    assert (entry["height"], entry["width"]) == size
    assert entry.get("exif_orientation_applied") == (None if orientation == 1 else True)
    assert overlap(folders) > 0.95


def test_labels_of_the_stored_size_are_about_stored_pixels(folders):
    image = upright(96, 128)
    folders.put(folders.images / "a.jpg", photo(image, 6))
    stored = STORED[6](image)
    folders.put(folders.labels / "a.png", png((stored[..., 0] > 150).astype(np.uint8)))
    (entry,) = folders.convert("png")[0]["images"]
    assert (entry["height"], entry["width"]) == (128, 96)
    assert entry["exif_orientation_applied"] is False
    assert overlap(folders) > 0.95
